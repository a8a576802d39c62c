"""LiteLLM, which speaks OpenAI's API to `openai/` models and Anthropic's to `anthropic/` ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from client_table import LITELLM_ANTHROPIC, LITELLM_OPENAI, shows
from live_server import LiveServer

litellm = pytest.importorskip("litellm")
pytestmark = pytest.mark.filterwarnings("ignore")  # they are not ours

HI: Any = [{"role": "user", "content": "Hi"}]
LAMP: Any = {
    "type": "function",
    "function": {
        "name": "lamp", "description": "Switches a lamp.",
        "parameters": {
            "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
            "additionalProperties": False,
        },
    },
}  # fmt: skip
CALLING: Any = {
    "max_tokens": 200, "tools": [LAMP], "parallel_tool_calls": False,
    "tool_choice": {"type": "function", "function": {"name": "lamp"}},
}  # fmt: skip
CLIENTS = {"openai": LITELLM_OPENAI, "anthropic": LITELLM_ANTHROPIC}


def each_provider(*features: str) -> pytest.MarkDecorator:
    """A test once for each provider."""
    providers = [pytest.param(name, marks=shows(client, *features)) for name, client in CLIENTS.items()]
    return pytest.mark.parametrize("provider", providers)


def options(server: LiveServer, provider: str, model: str = "tiny", **fields: Any) -> dict[str, Any]:
    base = f"{server.url}/v1" if provider == "openai" else server.url
    usual = {"messages": HI, "max_tokens": 8, "temperature": 0, "num_retries": 0}
    return {**usual, "model": f"{provider}/{model}", "api_base": base, "api_key": server.key, **fields}


def ask(server: LiveServer, provider: str, model: str = "tiny", **fields: Any) -> Any:
    return litellm.completion(**options(server, provider, model, **fields))


@each_provider("answers", "streams")
def test_an_answer_whole_and_in_pieces(server: LiveServer, provider: str) -> None:
    whole = ask(server, provider)
    assert whole.choices[0].message.content and whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 8
    chunks = list(ask(server, provider, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    rebuilt = litellm.stream_chunk_builder(chunks, messages=HI)
    assert rebuilt.usage.completion_tokens == 8 and rebuilt.usage.prompt_tokens == whole.usage.prompt_tokens


@each_provider("async", "several at once")
def test_without_threads(server: LiveServer, provider: str) -> None:
    async def run() -> list[str]:
        answers = await asyncio.gather(*(litellm.acompletion(**options(server, provider)) for _ in range(4)))
        return [answer.choices[0].message.content for answer in answers]

    assert len(set(asyncio.run(run()))) == 1


@each_provider("tool calls", "tool loop")
def test_a_tool_is_called_and_its_result_is_read(server: LiveServer, provider: str) -> None:
    first = ask(server, provider, **CALLING)
    (choice,) = first.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and call.function.name == "lamp"
    assert json.loads(call.function.arguments)["on"] in (True, False)
    history = [*HI, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "it is on"}]
    assert ask(server, provider, messages=history, tools=[LAMP], tool_choice="none").choices[0].message.content


@each_provider("tool calls, streamed")
def test_tool_calls_in_pieces(server: LiveServer, provider: str) -> None:
    rebuilt = litellm.stream_chunk_builder(list(ask(server, provider, stream=True, **CALLING)))
    (call,) = rebuilt.choices[0].message.tool_calls
    assert call.function.name == "lamp" and json.loads(call.function.arguments)["on"] in (True, False)


@each_provider("JSON by a schema")
def test_an_answer_by_a_schema(server: LiveServer, provider: str) -> None:
    schema = {"name": "light", "schema": LAMP["function"]["parameters"], "strict": True}
    format = {"type": "json_schema", "json_schema": schema}
    more = {"extra_body": {"reasoning_effort": "none"}} if provider == "openai" else {}
    text = ask(server, provider, max_tokens=200, response_format=format, **more).choices[0].message.content
    assert json.loads(text)["on"] in (True, False)


@each_provider("reasoning")
def test_reasoning_is_apart(server: LiveServer, provider: str) -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 4}, "allowed_openai_params": ["thinking"]}
    more = {"extra_body": {"thinking_budget_tokens": 4}} if provider == "openai" else thinking
    message = ask(server, provider, "thinker", max_tokens=20, **more).choices[0].message
    assert message.reasoning_content and message.content and "think>" not in message.content


@shows(LITELLM_OPENAI, "embeddings")
def test_embeddings(server: LiveServer) -> None:
    found = litellm.embedding(
        model="openai/tiny", input=["the inn", "another"], api_base=f"{server.url}/v1", api_key=server.key
    )
    assert [len(row["embedding"]) for row in found.data] == [64, 64]


@each_provider("errors")
def test_errors(server: LiveServer, provider: str) -> None:
    with pytest.raises(litellm.NotFoundError):
        ask(server, provider, "gpt-4")
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(server, provider, messages=[{"role": "user", "content": "Hi" * 2000}])
