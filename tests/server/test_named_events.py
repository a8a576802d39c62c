"""Streams whose events have names, over HTTP: OpenAI's responses and Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from live_server import LiveServer, live_server, succeeded

LONG = [{"role": "user", "content": "x" * 2000}]
HI = [{"role": "user", "content": "the thing"}]
MESSAGE = {"messages": HI, "max_tokens": 4, "temperature": 0}
RESPONSE = {"input": "the thing", "max_output_tokens": 4, "temperature": 0}


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Each event's name and data."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def begun(stack: ExitStack, server: LiveServer, path: str, body: dict[str, Any]) -> Iterator[str]:
    """The lines of a stream, until the stack is left."""
    response = stack.enter_context(server.http.stream("POST", path, json={**body, "stream": True}))
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    return response.iter_lines()


def stream(server: LiveServer, path: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
    with ExitStack() as stack:
        return list(events(begun(stack, server, path, body)))


def test_a_response_is_that_of_a_chat(server: LiveServer) -> None:
    text = server.chat(max_tokens=4)["choices"][0]["message"]["content"]
    whole = succeeded(server.post("/v1/responses", RESPONSE))
    assert whole["output"][0]["content"][0]["text"] == text and whole["status"] == "incomplete"
    found = stream(server, "/v1/responses", RESPONSE)
    assert all(name == data["type"] for name, data in found) and found[-1][0] == "response.incomplete"
    assert found[-1][1]["response"]["output"][0]["content"] == whole["output"][0]["content"]


def test_a_message_is_that_of_a_chat(server: LiveServer) -> None:
    text = server.chat(max_tokens=4)["choices"][0]["message"]["content"]
    whole = succeeded(server.post("/v1/messages?beta=true", MESSAGE, headers={"anthropic-version": "2023-06-01"}))
    assert whole["content"] == [{"type": "text", "text": text}] and whole["stop_reason"] == "max_tokens"
    found = stream(server, "/v1/messages", MESSAGE)
    assert "".join(data["delta"]["text"] for name, data in found if name == "content_block_delta") == text
    read = succeeded(server.post("/v1/messages/count_tokens", {"messages": HI}))["input_tokens"]
    assert found[0][1]["message"]["usage"]["input_tokens"] == read


def test_signs_of_life_while_nothing_comes(tiny_path: Path) -> None:
    with live_server({"tiny": tiny_path}, tick_seconds=0.02) as server:
        with ExitStack() as stack:
            with server.held():
                coming = events(begun(stack, server, "/v1/messages", MESSAGE))
                assert [next(coming)[0] for _ in range(3)] == ["message_start", "ping", "ping"]
            assert [name for name, _ in coming][-1] == "message_stop"
        with ExitStack() as stack:
            with server.held():
                lines = begun(stack, server, "/v1/responses", RESPONSE)
                assert next(line for line in lines if line.startswith(": "))
            assert list(events(lines))[-1][0] == "response.incomplete"


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/v1/messages", {**MESSAGE, "model": "claude"}, 404, "not_found_error"),
        ("/v1/messages", {"messages": HI}, 400, "invalid_request_error"),
        (
            "/v1/messages",
            {**MESSAGE, "messages": LONG},
            400,
            "invalid_request_error",
        ),
        ("/v1/messages/count_tokens", [], 400, "invalid_request_error"),
        ("/v1/responses", {**RESPONSE, "model": "gpt-5"}, 404, "invalid_request_error"),
        ("/v1/responses", {**RESPONSE, "stream": "yes"}, 400, "invalid_request_error"),
    ],
)
def test_errors_are_in_the_form_of_the_api(server: LiveServer, path: str, body: Any, status: int, kind: str) -> None:
    response = server.post(path, body)
    assert response.status_code == status and response.json()["error"]["type"] == kind
    assert (response.json().get("type") == "error") == path.startswith("/v1/messages")
