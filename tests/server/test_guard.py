"""Who is let in: Host, Origin, preflight requests and keys, and where the server listens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_server import GREEDY, LiveServer, live_server
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from subbyte.runtime.server.guard import guarded
from subbyte.runtime.server.settings import ServerSettings


@pytest.fixture(scope="module")
def locked(tiny_path: Path) -> Iterator[LiveServer]:
    with live_server({"tiny": tiny_path}, api_keys=("secret", "schlüssel"), hosts=("box.lan",)) as running:
        yield running


def guard(**settings: object) -> TestClient:
    """Asks a guard alone."""
    return TestClient(guarded(PlainTextResponse("let in"), ServerSettings(**settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200), ("127.0.0.1", 200), ("127.8.9.1:80", 200), ("[::1]:80", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403),
        ("evil.example:127", 403), ("2130706433", 403), ("localhost:x", 403), ("\xff", 403), ("[", 403),
    ],
)  # fmt: skip
def test_only_known_hosts_are_answered(server: LiveServer, host: str, status: int) -> None:
    headers = {"Host": host.format(port=server.port).encode("latin-1")}
    response = server.get("/v1/models", headers=headers)
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"host": "0.0.0.0", "api_keys": ["k"]}, "any.example", 200),
        ({"host": "0.0.0.0", "open": True}, "10.1.2.3", 200),
        ({"host": "::", "open": True}, "[fe80::1]:8080", 200), ({"host": "0.0.0.0", "open": True}, "evil.example", 403),
        ({"host": "0.0.0.0", "open": True, "hosts": ["box"]}, "box:80", 200), ({"hosts": ["*"]}, "any.example", 200),
        ({"host": "10.0.0.1", "api_keys": ["k"]}, "10.0.0.1", 200),
        ({"host": "10.0.0.1", "api_keys": ["k"]}, "10.0.0.2", 403),
    ],
)  # fmt: skip
def test_names_that_can_be_rebound_need_a_key(settings: dict[str, object], host: str, status: int) -> None:
    response = guard(**settings).get("/", headers={"Host": host, "x-api-key": "k"})
    assert response.status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200), ("http://127.0.0.1", 200), ("https://[::1]:8", 200), ("http://testserver", 200),
        ("https://good.example", 200), ("https://good.example.evil", 403), ("https://evil.example", 403), ("null", 403),
        ("", 403), ("http://[", 403), ("file://", 403), ("http://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403), ("http://evil.example#localhost", 403), ("\xff", 403),
        ("//localhost@evil", 403),
    ],
)  # fmt: skip
def test_only_known_origins_are_answered(origin: str, status: int) -> None:
    client = guard(hosts=["testserver"], origins=["https://good.example"])
    response = client.post("/", headers={"Origin": origin.encode("latin-1")})
    assert response.status_code == status
    shared = response.headers.get("access-control-allow-origin")
    assert shared == (origin if status == 200 and origin != "http://testserver" else None)


def test_preflight_requests_are_answered_without_a_key(locked: LiveServer) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, status in (("http://localhost:3000", 200), ("https://evil.example", 400)):
        response = locked.http.options("/v1/chat/completions", headers={**asked, "Origin": origin, "Authorization": ""})
        assert response.status_code == status
        assert (response.headers.get("access-control-allow-origin") == origin) == (status == 200)
        if status == 200:
            assert "authorization" in response.headers["access-control-allow-headers"]
    everywhere = guard(origins=["*"], hosts=["testserver"])
    response = everywhere.get("/", headers={"Origin": "https://any.example"})
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer secret"}, 200), ({"Authorization": "bearer  secret"}, 200),
        ({"x-api-key": "secret"}, 200), ({"Authorization": b"Bearer " + "schlüssel".encode()}, 200),
        ({"Authorization": "Basic x", "x-api-key": "secret"}, 200),
        ({}, 401), ({"Authorization": "Bearer"}, 401), ({"Authorization": "secret"}, 401), ({"x-api-key": ""}, 401),
        ({"Authorization": "Bearer secre"}, 401), ({"Authorization": "Bearer secret2"}, 401),
        ({"x-api-key": b"\xff"}, 401),
    ],
    ids=str,
)  # fmt: skip
def test_keys(locked: LiveServer, headers: dict[str, str | bytes], status: int) -> None:
    for ask in (
        lambda: locked.http.get("/v1/models", headers={"Authorization": "", **headers}),
        lambda: locked.http.post("/tokenize", json={"content": "a"}, headers={"Authorization": "", **headers}),
    ):
        response = ask()
        assert response.status_code == status
        if status == 401:
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
    assert locked.http.get("/health", headers={"Authorization": ""}).status_code == 200


def test_a_key_is_asked_for_before_anything_else(locked: LiveServer) -> None:
    for path in ("/nothing", "/v1/chat/completions", "/metrics", "/slots", "/health/", "/Health"):
        assert locked.http.post(path, json=GREEDY, headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "no API key"), ({"host": "::"}, "no API key"), ({"host": "box.lan"}, "no API key"),
        ({"host": "127.0.0.1.evil"}, "no API key"), ({"host": ""}, "no API key"), ({"api_keys": [""]}, "key is empty"),
        ({"host": "0.0.0.0", "api_keys": ["a", ""]}, "key is empty"),
    ],
    ids=str,
)  # fmt: skip
def test_listening_elsewhere_without_a_key_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerSettings(**settings)  # type: ignore[arg-type]
