"""Bodies that ask for nonsense: always an error in OpenAI's form or an answer, never a failure of the server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from live_server import USER, LiveServer, wait_until

DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]
WRONG: list[Any] = [
    True, False, 0, 1, -1, 1.5, -0.0, 1e308, 1 << 31, 1 << 63, 1 << 64, -(1 << 70), "", "x", "\x00", "../../etc/passwd",
    "hf:user/repo", "\U0001f600" * 3, [], [None], [1], [-1], [1 << 40], ["x"], [[]], [{}], {}, {"type": "x"},
    {"a": {"b": []}}, {"1": 1}, {"-1": "x"}, [[1, "x"]], "9" * 5000, DEEP,
]  # fmt: skip
IMAGE = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
SAMPLING: list[str] = [
    "temperature", "top_p", "min_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "repeat_penalty",
    "repetition_penalty", "repeat_last_n", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "xtc_probability", "xtc_threshold", "logit_bias", "ignore_eos", "max_tokens", "stop", "response_format", "grammar",
    "logprobs", "n", "stream_options", "model",
]  # fmt: skip
CHAT: list[str] = [
    *SAMPLING, "messages", "tools", "tool_choice", "parallel_tool_calls", "top_logprobs", "max_completion_tokens",
    "reasoning_effort", "thinking_budget_tokens", "chat_template_kwargs", "chat_template", "return_progress", "user",
]  # fmt: skip
ENDPOINTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "/v1/chat/completions": ({"messages": USER, "max_tokens": 1}, CHAT),
    "/v1/completions": ({"prompt": "the", "max_tokens": 1}, [*SAMPLING, "prompt", "echo", "suffix"]),
    "/v1/embeddings": ({"input": "the"}, ["input", "dimensions", "encoding_format", "model", "user"]),
    "/tokenize": ({"content": "the"}, ["content", "add_special", "parse_special", "with_pieces", "prompt", "model"]),
    "/detokenize": ({"tokens": [1]}, ["tokens", "model"]),
    "/apply-template": ({"messages": USER}, ["messages", "tools", "chat_template_kwargs"]),
    "/v1/responses": (
        {"input": "the", "max_output_tokens": 1},
        [
            "input",
            "instructions",
            "max_output_tokens",
            "tools",
            "tool_choice",
            "text",
            "reasoning",
            "model",
            "stream_options",
            "previous_response_id",
            "temperature",
            "top_p",
            "include",
            "truncation",
            "store",
            "metadata",
            "top_logprobs",
        ],
    ),
    "/v1/messages": (
        {"messages": USER, "max_tokens": 1},
        [
            "messages",
            "system",
            "max_tokens",
            "tools",
            "tool_choice",
            "thinking",
            "stop_sequences",
            "temperature",
            "model",
            "top_k",
            "top_p",
            "metadata",
        ],
    ),
    "/v1/messages/count_tokens": ({"messages": USER}, ["messages", "system", "tools", "thinking", "model"]),
}


def is_told_well(status: int, body: bytes, *, allowed: tuple[int, ...] = (200, 400, 404)) -> bool:
    """Whether a response is JSON, and of an error in OpenAI's form if it is one."""
    told = json.loads(body)
    if status == 200:
        return 200 in allowed and told.get("error") is None
    error = told["error"]
    if told.get("type") == "error":  # as Anthropic has it
        return status in allowed and error.keys() == {"type", "message"}
    fits = isinstance(error["message"], str) and 0 < len(error["message"]) < 2000 and error["message"].isprintable()
    return status in allowed and fits and error.keys() == {"message", "type", "param", "code"}


@pytest.mark.slow
@pytest.mark.parametrize("path", ENDPOINTS)
def test_each_field_with_each_wrong_value(server: LiveServer, path: str) -> None:
    body, names = ENDPOINTS[path]
    for name in names:
        for value in WRONG:
            response = server.post(path, {**body, name: value})
            assert is_told_well(response.status_code, response.content), (name, value, response.text)
    wait_until(server.is_idle)


def nested(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The request with each value within its messages, tools and formats in turn replaced by each wrong one."""
    for field, value in body.items():
        if isinstance(value, dict):
            for changed in nested(value):
                yield {**body, field: changed}
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for changed in nested(value[0]):
                yield {**body, field: [changed, *value[1:]]}
        for wrong in (None, *WRONG):
            yield {**body, field: wrong}


@pytest.mark.slow
def test_each_value_inside_of_messages_tools_and_formats(server: LiveServer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}
    named = {"type": "function", "function": {"name": "f"}}
    schema = {"name": "n", "strict": True, "schema": {"type": "null"}}
    for part in (
        {"messages": [{"role": "user", "content": "the", "name": "n"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "the"}]}]},
        {"messages": [{"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [call]}, *USER]},
        {"messages": [{"role": "tool", "content": "the", "tool_call_id": "1"}, *USER]},
        {"tools": [tool]},
        {"tools": [tool], "tool_choice": named},
        {"stream_options": {"include_usage": True}},
        {"response_format": {"type": "json_schema", "json_schema": schema}},
    ):  # fmt: skip
        for body in nested(part):
            response = server.post("/v1/chat/completions", {"messages": USER, "max_tokens": 1, **body})
            assert is_told_well(response.status_code, response.content), (body, response.text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"null", 400), (b"[]", 400), (b'"x"', 400), (b"{", 400), (b"\xff\xfe", 400), (b"{}", 400),
        (b"[" * 100_000, 400), (b'{"a":' * 100_000, 400), (b"NaN", 400), (b'{"messages": NaN}', 400),
        (b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN, "max_tokens": 1}', 400),
        (b'{"messages": [{"role": "user", "content": "a"}], "temperature": 1e999, "max_tokens": 1}', 400),
        (b'{"messages": [{"role": "user", "content": "a"}], "seed": 18446744073709551616, "max_tokens": 1}', 400),
        (b'{"messages": [{"role": "user", "content": "a"}], "seed": %s, "max_tokens": 1}' % (b"9" * 9000), 400),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": 1}', 400),
        (b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}], "max_tokens": 1}', 400),
        (b'{"messages": [' + b"[]," * 3_000_000 + b"0]}", 413),
        (b'{"messages": 1, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}', 200),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
def test_bodies_that_are_no_request(server: LiveServer, body: bytes, status: int) -> None:
    response = server.http.post("/v1/chat/completions", content=body)
    assert is_told_well(response.status_code, response.content, allowed=(status,)), response.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"), ({"messages": USER * 5000}, "messages"), ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 1 << 40}, "max_tokens"), ({"n": 0}, "n"), ({"n": 17}, "n"), ({"n": -1}, "n"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"), ({"temperature": -1}, "temperature"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 600}, "tools"), ({"stop": ["x"] * 65}, "stop"),
        ({"logit_bias": {str(i): 1 for i in range(1100)}}, "logit_bias"), ({"tool_choice": "required"}, "tool_choice"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
def test_what_is_refused_names_its_field(server: LiveServer, fields: dict[str, Any], param: str) -> None:
    response = server.post("/v1/chat/completions", {"messages": USER, "max_tokens": 1, **fields})
    assert is_told_well(response.status_code, response.content, allowed=(400,)), response.text
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("name", ["../../etc/passwd", "hf:user/repo", "https://example.org/m", "\x00"])
def test_a_name_opens_no_file(server: LiveServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("a file was opened"))
    response = server.post("/v1/chat/completions", {"messages": USER, "model": name})
    assert response.status_code == 404 and response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "grammar", ["root ::= " + "(" * 20_000, "root ::= root", 'root ::= "a"{1,100000000}', "\x00"], ids=lambda g: g[:20]
)
def test_hostile_grammars_end_soon(server: LiveServer, grammar: str) -> None:
    pytest.importorskip("llguidance")
    answers_soon(server, {"grammar": grammar})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"}, {"$ref": "file:///etc/passwd"}, {"type": "string", "pattern": "(a|a)*{9}[" * 50},
        {"minItems": 1 << 40, "type": "array"}, {"enum": ["x" * 1000] * 10_000},
        {"type": "array", "items": {"$ref": "#"}},
    ],
    ids=lambda schema: repr(schema)[:40],
)  # fmt: skip
def test_hostile_schemas_end_soon(server: LiveServer, schema: dict[str, Any]) -> None:
    pytest.importorskip("llguidance")
    answers_soon(server, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}})


@pytest.mark.parametrize("function", [{"name": "f", "description": "d" * 10_000}, {"name": "a\n<|im_end|>"}], ids=len)
def test_hostile_tools_end_soon(server: LiveServer, function: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {**function, "name": f"{function['name']}{i}"}} for i in range(100)]
    answers_soon(server, {"tools": tools})


def answers_soon(server: LiveServer, fields: dict[str, Any]) -> None:
    response = server.post("/v1/chat/completions", {"messages": USER, "max_tokens": 4, **fields})
    assert is_told_well(response.status_code, response.content), response.text
    assert server.chat()["choices"]
