"""OpenAI's own package: chats, completions, embeddings, models, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from client_table import OPENAI_CHAT, shows
from live_server import LiveServer, live_server

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
pytestmark = pytest.mark.filterwarnings("ignore")  # they are not ours

HI: Any = [{"role": "user", "content": "Hi"}]
SHORT: Any = {"model": "tiny", "messages": HI, "max_tokens": 8, "temperature": 0}
LAMP: Any = {
    "type": "function",
    "function": {
        "name": "lamp", "description": "Switches a lamp.", "strict": True,
        "parameters": {
            "type": "object", "properties": {"on": {"type": "boolean"}, "mode": {"enum": ["dim", "bright"]}},
            "required": ["on", "mode"], "additionalProperties": False,
        },
    },
}  # fmt: skip
CALLING: Any = {**SHORT, "max_tokens": 200, "tools": [LAMP], "tool_choice": "required", "parallel_tool_calls": False}


class Light(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    """What a structured answer is to be."""

    on: bool
    mode: Literal["dim", "bright"]


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def is_light(arguments: str) -> bool:
    """Whether arguments are as the tool's schema has them."""
    found = json.loads(arguments)
    return set(found) == {"on", "mode"} and found["on"] in (True, False) and found["mode"] in ("dim", "bright")


@shows(OPENAI_CHAT, "answers", "streams")
def test_an_answer_whole_and_in_pieces(client: Any) -> None:
    whole = client.chat.completions.create(**SHORT)
    (choice,) = whole.choices
    assert choice.finish_reason == "length" and choice.message.role == "assistant" and choice.message.tool_calls is None
    assert whole.usage.completion_tokens == 8 and whole.usage.completion_tokens_details.reasoning_tokens == 0
    chunks = list(client.chat.completions.create(**SHORT, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == choice.message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    assert chunks[0].choices[0].delta.role == "assistant" and len(chunks) > 4
    assert not chunks[-1].choices and chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0
    several = client.chat.completions.create(**{**SHORT, "temperature": 1, "n": 3, "seed": 1})
    assert [c.index for c in several.choices] == [0, 1, 2] and len({c.message.content for c in several.choices}) == 3


@shows(OPENAI_CHAT, "async", "several at once")
def test_many_at_once_without_threads(server: LiveServer, client: Any) -> None:
    async def run() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            asked = [client.chat.completions.create(**SHORT) for _ in range(6)]
            stream = await client.chat.completions.create(**SHORT, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return ["".join(pieces), *(answer.choices[0].message.content for answer in await asyncio.gather(*asked))]

    assert set(asyncio.run(run())) == {client.chat.completions.create(**SHORT).choices[0].message.content}


@shows(OPENAI_CHAT, "tool calls", "tool loop")
def test_a_tool_is_called_and_its_result_is_read(client: Any) -> None:
    first = client.chat.completions.create(**CALLING)
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.function.name == "lamp" and is_light(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "it is on"}
    history = [*HI, choice.message, result]
    second = client.chat.completions.create(**{**SHORT, "messages": history, "tools": [LAMP], "tool_choice": "none"})
    assert second.choices[0].message.content and second.usage.prompt_tokens > first.usage.prompt_tokens
    named = {"type": "function", "function": {"name": "lamp"}}
    again = client.chat.completions.create(**{**CALLING, "tool_choice": named})
    assert again.choices[0].message.tool_calls[0].function.name == "lamp"


@shows(OPENAI_CHAT, "tool calls, streamed")
def test_tool_calls_in_pieces(client: Any) -> None:
    with client.chat.completions.stream(**CALLING) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert "tool_calls.function.arguments.done" in names and final.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "lamp" and is_light(call.function.arguments) and call.id


@shows(OPENAI_CHAT, "JSON by a schema")
def test_an_answer_by_a_schema(client: Any) -> None:
    asked = {**SHORT, "max_tokens": 200, "reasoning_effort": "none"}
    parsed = client.chat.completions.parse(**asked, response_format=Light)
    assert isinstance(parsed.choices[0].message.parsed, Light) and parsed.choices[0].finish_reason == "stop"
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    by_hand = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    text = client.chat.completions.create(**asked, response_format=by_hand).choices[0].message.content
    assert json.loads(text) in ({"n": 1}, {"n": 2})


@shows(OPENAI_CHAT, "reasoning")
def test_reasoning_is_apart(client: Any) -> None:
    asked = {**SHORT, "model": "thinker", "max_tokens": 20, "extra_body": {"thinking_budget_tokens": 4}}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.reasoning_content and message.content and "think>" not in message.content
    chunks = [c.choices[0].delta for c in client.chat.completions.create(**asked, stream=True) if c.choices]
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in chunks) == message.reasoning_content
    assert "".join(d.content or "" for d in chunks) == message.content


@shows(OPENAI_CHAT, "log-probabilities")
def test_log_probabilities_of_a_chat(client: Any) -> None:
    found = client.chat.completions.create(**SHORT, logprobs=True, top_logprobs=3).choices[0]
    assert len(found.logprobs.content) == 8
    for token in found.logprobs.content:
        assert len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob <= 0
    assert b"".join(bytes(t.bytes) for t in found.logprobs.content).decode(errors="replace") == found.message.content


@shows(OPENAI_CHAT, "completions with echo")
def test_completions_with_the_prompt(client: Any) -> None:
    asked: Any = {"model": "tiny", "prompt": "the inn", "max_tokens": 4, "temperature": 0}
    plain = client.completions.create(**asked).choices[0].text
    echoed = client.completions.create(**asked, echo=True, logprobs=2).choices[0]
    assert echoed.text == "the inn" + plain and len(echoed.logprobs.tokens) == len(echoed.logprobs.token_logprobs)
    streamed = client.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == plain


@shows(OPENAI_CHAT, "embeddings")
def test_embeddings_as_numbers_and_as_bytes(client: Any) -> None:
    texts = ["the inn", "another"]
    by_default = client.embeddings.create(model="tiny", input=texts)  # as base64, which the package decodes
    plain = client.embeddings.create(model="tiny", input=texts, encoding_format="float")
    assert len(by_default.data) == 2 and by_default.usage.prompt_tokens == plain.usage.prompt_tokens > 0
    for one, other in zip(by_default.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding) and len(one.embedding) == 64


@shows(OPENAI_CHAT, "models")
def test_models_by_name(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "thinker"]
    assert client.models.retrieve("thinker").id == "thinker"


@shows(OPENAI_CHAT, "errors")
def test_errors_are_the_packages_own(server: LiveServer, client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**{**SHORT, "model": "gpt-4"})
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(**{**SHORT, "temperature": -1})
    assert wrong.value.param == "temperature" and wrong.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(**{**SHORT, "messages": [{"role": "user", "content": "Hi" * 2000}]})
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="another").models.list()


@shows(OPENAI_CHAT, "errors")
def test_a_full_queue_is_a_rate_limit(server: LiveServer) -> None:
    with live_server({"tiny": server.state.pool.paths["tiny"]}, n_parallel=1, n_waiting=1) as small:
        with openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0) as client:
            with small.held() as step_begins:
                streams = [client.chat.completions.create(**SHORT, stream=True)]
                assert step_begins.wait(60)
                streams.append(client.chat.completions.create(**SHORT, stream=True))
                with pytest.raises(openai.RateLimitError) as full:
                    client.chat.completions.create(**SHORT)
            assert full.value.code == "queue_full" and int(full.value.response.headers["retry-after"]) > 0
            assert all(list(stream)[-1].choices[0].finish_reason == "length" for stream in streams)
