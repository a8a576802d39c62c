"""What can be asked without asking a model anything, and how the server says no."""

from __future__ import annotations

from live_server import LiveServer, succeeded
from prometheus_client.parser import text_string_to_metric_families


def test_models_are_listed_by_name(server: LiveServer) -> None:
    listed = succeeded(server.get("/v1/models"))
    (entry,) = listed["data"]
    meta = entry["meta"]
    assert listed["object"] == "list"
    assert (entry["id"], entry["object"], entry["status"]) == ("tiny", "model", "loaded")
    assert (meta["n_ctx"], meta["n_vocab"], meta["architecture"]) == (2048, 268, "llama")
    assert succeeded(server.get("/v1/models/tiny")) == entry
    assert server.get("/v1/models/..%2f..%2fetc%2fpasswd").status_code == 404


def test_health_slots_and_metrics(server: LiveServer) -> None:
    assert succeeded(server.get("/health")) == {"status": "ok"}
    server.chat()
    slots = succeeded(server.get("/slots"))
    assert [slot["id"] for slot in slots] == [0, 1, 2, 3] and not any(slot["is_processing"] for slot in slots)
    families = {family.name: family for family in text_string_to_metric_families(server.get("/metrics").text)}
    tokens = {sample.labels["kind"]: sample.value for sample in families["subbyte_tokens"].samples}
    assert tokens["generated"] >= 8 and tokens["prompt"] > 0
    assert families["subbyte_running"].samples[0].value == 0
    requests = {tuple(sample.labels.values()): sample.value for sample in families["subbyte_requests"].samples}
    assert requests["/v1/chat/completions", "200"] >= 1


def test_what_there_is_not_is_said_in_openais_form(server: LiveServer) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405),
        ("POST", "/v2/../etc", 404),
    ):  # fmt: skip
        response = server.http.request(method, path)
        error = response.json()["error"]
        assert response.status_code == status and error.keys() == {"message", "type", "param", "code"}
