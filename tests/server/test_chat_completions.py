"""Chat completions: what is streamed is what comes whole, and that is what the library makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from live_server import GREEDY, USER, LiveServer, live_server, succeeded

import subbyte as sb

CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    },
}


def joined(chunks: list[dict[str, Any]], n: int = 1) -> list[dict[str, Any]]:
    """What the chunks of a stream add up to, for each of n choices."""
    found: list[dict[str, Any]] = [{"content": "", "finish": None, "calls": [], "logprobs": []} for _ in range(n)]
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk" and chunk["id"] == chunks[0]["id"]
        for choice in chunk["choices"]:
            one, delta = found[choice["index"]], choice["delta"]
            assert one["finish"] is None, "nothing comes behind the end of a choice"
            one["content"] += delta.get("content") or ""
            one["finish"] = choice["finish_reason"]
            one["logprobs"] += (choice["logprobs"] or {"content": []})["content"]
            one["calls"] += delta.get("tool_calls", [])
    return found


def test_an_answer_has_openais_shape_and_the_librarys_text(server: LiveServer) -> None:
    answer = server.chat(model="tiny")
    assert answer["object"] == "chat.completion" and answer["model"] == "tiny" and answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    message, used = choice["message"], answer["usage"]
    assert choice["index"] == 0 and choice["logprobs"] is None
    assert message["role"] == "assistant" and message["refusal"] is None
    with server.served().serving.model.chat(
        messages=USER, sampling=sb.Sampling(temperature=0), max_tokens=8, scheduler=server.scheduler()
    ) as chat:
        reply = chat.reply()
    assert message["content"] == reply.text
    assert choice["finish_reason"] == {"length": "length", "eos": "stop"}[reply.stop_reason]
    assert (used["prompt_tokens"], used["completion_tokens"]) == (reply.usage.prompt, reply.usage.completion)
    assert used["total_tokens"] == sum((used["prompt_tokens"], used["completion_tokens"]))
    assert used["completion_tokens_details"]["reasoning_tokens"] == 0 and answer["timings"]["predicted_n"] == 8


@pytest.mark.parametrize(
    "more",
    [
        {}, {"n": 3, "temperature": 1.5, "seed": 3}, {"temperature": 1.0, "seed": 7, "top_p": 0.9, "max_tokens": 30},
        {"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "n": 2, "temperature": 1, "seed": 1},
        {"stop": ["e", "t"], "temperature": 1, "seed": 2, "max_tokens": 60}, {"logit_bias": {"97": 100}},
        {"max_completion_tokens": 3, "max_tokens": 50}, {"repeat_penalty": 1.2, "min_p": 0.1, "top_k": 5},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_streamed_is_what_comes_whole(server: LiveServer, more: dict[str, Any]) -> None:
    n = more.get("n", 1)
    whole = server.chat(**more)
    chunks = server.stream(CHAT, {**GREEDY, **more, "stream_options": {"include_usage": True}})
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"].keys() == whole["usage"].keys()
    assert [chunk for chunk in chunks[:-1] if "usage" in chunk] == []
    assert chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks[:n]] == ["assistant"] * n
    for one, choice in zip(joined(chunks, n), whole["choices"], strict=True):
        assert one["content"] == choice["message"]["content"] and one["finish"] == choice["finish_reason"]
        assert one["logprobs"] == (choice["logprobs"] or {"content": []})["content"]
    if n > 1:
        assert len({choice["message"]["content"] for choice in whole["choices"]}) > 1
    for stop in more.get("stop", ()):
        assert stop not in whole["choices"][0]["message"]["content"]


def test_log_probabilities_are_of_the_text(server: LiveServer) -> None:
    (choice,) = server.chat(logprobs=True, top_logprobs=2, max_tokens=12)["choices"]
    entries = choice["logprobs"]["content"]
    text = b"".join(bytes(entry["bytes"]) for entry in entries).decode(errors="ignore")
    assert text == choice["message"]["content"].replace("\ufffd", "") and len(entries) == 12
    for entry in entries:
        assert len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0
        assert entry["logprob"] == max(top["logprob"] for top in entry["top_logprobs"])


def test_a_second_turn_has_cached_tokens(server: LiveServer) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "a question which nobody asked before"}]
    first = server.chat(messages=messages)
    messages += [first["choices"][0]["message"], {"role": "user", "content": "and on"}]
    second = server.chat(messages=messages)
    assert first["usage"]["prompt_tokens"] <= second["usage"]["prompt_tokens_details"]["cached_tokens"] + 1
    assert second["timings"]["cache_n"] == second["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_the_last_message_of_the_assistant_begins_the_answer(server: LiveServer) -> None:
    begun = server.chat(messages=[*USER, {"role": "assistant", "content": "in an"}])
    text = begun["choices"][0]["message"]["content"]
    with server.served().serving.model.chat(
        messages=USER, sampling=sb.Sampling(temperature=0), max_tokens=8, scheduler=server.scheduler()
    ) as chat:
        assert "in an" + text == chat.stream_reply(prefill="in an").run().text


def test_a_stream_tells_how_far_the_prompt_is_read(server: LiveServer) -> None:
    long = [{"role": "user", "content": "a prompt which is new " * 30}]
    chunks = server.stream(CHAT, {**GREEDY, "messages": long, "return_progress": True})
    progress = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert progress and all(each.keys() == {"total", "cache", "processed", "time_ms"} for each in progress)
    assert progress[-1]["processed"] == progress[-1]["total"]
    again = server.stream(CHAT, {**GREEDY, "messages": long, "return_progress": True})
    cached = next(chunk["prompt_progress"] for chunk in again if "prompt_progress" in chunk)
    assert (
        cached["cache"] == cached["processed"] == progress[-1]["total"] - 1 and cached["total"] == progress[-1]["total"]
    )


def test_a_stream_gives_signs_of_life(tiny_path: Path) -> None:
    with live_server({"tiny": tiny_path}, tick_seconds=0.01) as server, server.held():
        with server.http.stream("POST", CHAT, json={**GREEDY, "stream": True}) as response:
            lines = response.iter_lines()
            while not next(lines).startswith(": "):
                pass


def test_an_answer_is_what_a_schema_wants(server: LiveServer) -> None:
    pytest.importorskip("llguidance")
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    for more in ({"response_format": format}, {"response_format": {"type": "json_schema", "schema": SCHEMA}}):
        whole = server.chat(max_tokens=100, **more)
        assert json.loads(whole["choices"][0]["message"]["content"])["a"] in (1, 2)
        (one,) = joined(server.stream(CHAT, {**GREEDY, "max_tokens": 100, **more}))
        assert one["content"] == whole["choices"][0]["message"]["content"]
    (choice,) = server.chat(max_tokens=100, grammar='root ::= "yes" | "no"')["choices"]
    assert choice["message"]["content"] in ("yes", "no")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str)
def test_tools_are_called_streamed_and_whole(server: LiveServer, choice: Any) -> None:
    pytest.importorskip("llguidance")
    more = {"tools": [WEATHER], "tool_choice": choice, "max_tokens": 200, "parallel_tool_calls": False}
    (whole,) = server.chat(**more)["choices"]
    (call,) = whole["message"]["tool_calls"]
    assert whole["finish_reason"] == "tool_calls" and call["type"] == "function"
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"])["city"] in ("Oslo", "Rome")
    (one,) = joined(server.stream(CHAT, {**GREEDY, **more}))
    assert one["finish"] == "tool_calls"
    assert [each["function"] for each in one["calls"]] == [call["function"]]
    turn = [
        *USER, whole["message"], {"role": "tool", "tool_call_id": call["id"], "content": "rain"},
    ]  # fmt: skip
    assert (
        server.chat(messages=turn, tools=[WEATHER], tool_choice="none")["choices"][0]["finish_reason"] != "tool_calls"
    )


def test_nulls_and_unknown_fields_are_as_if_absent(server: LiveServer) -> None:
    nulls = dict.fromkeys(
        ("stop", "n", "seed", "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "logit_bias",
         "stream", "stream_options", "max_completion_tokens", "reasoning_effort", "top_p", "chat_template_kwargs")
    )  # fmt: skip
    unknown = {"user": "me", "store": True, "metadata": {"a": 1}, "service_tier": "auto", "id_slot": 3, "nonsense": [1]}
    assert server.chat(**nulls, **unknown)["choices"] == server.chat()["choices"]


def test_completions_of_raw_text(server: LiveServer) -> None:
    asked = {"prompt": "the thing", "max_tokens": 6, "temperature": 0}
    whole = succeeded(server.post("/v1/completions", asked))
    assert whole["object"] == "text_completion" and whole["id"].startswith("cmpl-")
    model = server.served().serving.model
    alone = model.generate(
        "the thing", sampling=sb.Sampling(temperature=0), max_tokens=6, scheduler=server.scheduler()
    ).run()
    assert whole["choices"][0]["text"] == alone.text and whole["usage"]["completion_tokens"] == 6
    ids = model.tokenize("the thing", add_bos=True)
    assert succeeded(server.post("/v1/completions", {**asked, "prompt": ids}))["choices"] == whole["choices"]
    both = {**asked, "prompt": ["the thing", "in another"], "n": 2, "temperature": 1, "seed": 5, "echo": True}
    several = succeeded(server.post("/v1/completions", both))
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    assert [choice["text"].startswith("the thing") for choice in several["choices"]] == [True, True, False, False]
    texts = [""] * 4
    for chunk in server.stream("/v1/completions", both):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in several["choices"]]


def test_log_probabilities_of_a_completion(server: LiveServer) -> None:
    asked = {"prompt": "the thing", "max_tokens": 6, "temperature": 0, "logprobs": 2}
    (choice,) = succeeded(server.post("/v1/completions", asked))["choices"]
    told = choice["logprobs"]
    assert {len(told[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")} == {6}
    assert told["text_offset"][0] == 0 and told["text_offset"] == sorted(told["text_offset"])
    assert all(top[token] == value for top, token, value in zip(
        told["top_logprobs"], told["tokens"], told["token_logprobs"], strict=True
    ))  # fmt: skip
