"""OpenAI's own package: responses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from client_table import OPENAI_RESPONSES, shows
from live_server import LiveServer

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
pytestmark = pytest.mark.filterwarnings("ignore")  # they are not ours

SHORT: Any = {"model": "tiny", "input": "Hi", "max_output_tokens": 8, "temperature": 0}
LAMP: Any = {
    "type": "function", "name": "lamp", "description": "Switches a lamp.", "strict": True,
    "parameters": {
        "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False,
    },
}  # fmt: skip
CALLING: Any = {
    **SHORT, "max_output_tokens": 200, "tools": [LAMP, {"type": "web_search"}], "tool_choice": "required",
    "parallel_tool_calls": False,
}  # fmt: skip
THINKING: Any = {
    **SHORT, "model": "thinker", "max_output_tokens": 20, "extra_body": {"thinking_budget_tokens": 4},
}  # fmt: skip


class Light(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    """What a structured answer is to be."""

    on: bool


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def checked(events: list[Any]) -> Any:
    """The response at the end of a stream, whose events must be numbered, and make what it has."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event.item for event in events if event.type == "response.output_item.done"] == final.output
    for kind in ("output_text", "reasoning_text", "reasoning_summary_text"):
        deltas = "".join(event.delta for event in events if event.type == f"response.{kind}.delta")
        assert deltas == "".join(event.text for event in events if event.type == f"response.{kind}.done")
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    return final


@shows(OPENAI_RESPONSES, "answers", "streams")
def test_a_response_whole_and_in_pieces(client: Any) -> None:
    whole = client.responses.create(**SHORT, instructions="Be brief.", metadata={"of": "mine"})
    assert whole.status == "incomplete" and whole.incomplete_details.reason == "max_output_tokens" and whole.output_text
    assert whole.usage.output_tokens == 8 and whole.usage.output_tokens_details.reasoning_tokens == 0
    assert whole.metadata == {"of": "mine"} and whole.instructions == "Be brief." and whole.object == "response"
    events = list(client.responses.create(**SHORT, instructions="Be brief.", stream=True))
    final = checked(events)
    assert events[-1].type == "response.incomplete" and final.output_text == whole.output_text
    assert final.usage.total_tokens == whole.usage.total_tokens and final.usage.input_tokens_details.cached_tokens > 0


@shows(OPENAI_RESPONSES, "async", "several at once")
def test_many_at_once_without_threads(server: LiveServer, client: Any) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            return [r.output_text for r in await asyncio.gather(*(client.responses.create(**SHORT) for _ in range(4)))]

    assert set(asyncio.run(run())) == {client.responses.create(**SHORT).output_text}


@shows(OPENAI_RESPONSES, "tool calls", "tool loop")
def test_a_tool_is_called_and_its_result_is_read(client: Any) -> None:
    first = client.responses.create(**CALLING)
    (call,) = first.output
    assert first.status == "completed" and call.type == "function_call" and call.name == "lamp"
    assert call.arguments in ('{"on": true}', '{"on": false}') and [tool.name for tool in first.tools] == ["lamp"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "it is on"}
    history = [{"role": "user", "content": "Hi"}, *first.output, result]
    second = client.responses.create(**{**SHORT, "input": history}, tools=[LAMP], tool_choice="none")
    assert second.output_text and second.usage.input_tokens > first.usage.input_tokens
    third = client.responses.create(**{**SHORT, "input": [*history, *second.output, {"role": "user", "content": "?"}]})
    assert third.output_text


@shows(OPENAI_RESPONSES, "tool calls, streamed")
def test_tool_calls_in_pieces(client: Any) -> None:
    with client.responses.stream(**CALLING) as stream:
        events = list(stream)
        final = stream.get_final_response()
    (call,) = final.output
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert events[-1].type == "response.completed" and call.arguments == done.arguments and call.name == "lamp"


@shows(OPENAI_RESPONSES, "JSON by a schema")
def test_a_response_by_a_schema(client: Any) -> None:
    asked = {**SHORT, "max_output_tokens": 100, "reasoning": {"effort": "none"}}
    parsed = client.responses.parse(**asked, text_format=Light)
    assert isinstance(parsed.output_parsed, Light) and parsed.status == "completed"
    with client.responses.stream(**asked, text_format=Light) as stream:
        assert stream.until_done().get_final_response().output_parsed == parsed.output_parsed


@shows(OPENAI_RESPONSES, "reasoning")
def test_reasoning_is_an_item_or_a_summary(client: Any) -> None:
    final = checked(list(client.responses.create(**THINKING, stream=True)))
    reasoning, message = final.output
    (part,) = reasoning.content
    assert (reasoning.type, part.type, reasoning.summary) == ("reasoning", "reasoning_text", []) and part.text
    assert message.content[0].text and final.usage.output_tokens_details.reasoning_tokens > 3
    summed = checked(list(client.responses.create(**THINKING, reasoning={"summary": "auto"}, stream=True)))
    assert summed.output[0].summary[0].text == part.text and summed.output_text == final.output_text
    assert summed.output[0].content == []
    history = [{"role": "user", "content": "Hi"}, *final.output, {"role": "user", "content": "And?"}]
    assert client.responses.create(**{**THINKING, "input": history}).output_text


@shows(OPENAI_RESPONSES, "log-probabilities")
def test_log_probabilities_of_a_response(client: Any) -> None:
    asked = {**SHORT, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    (message,) = client.responses.create(**asked).output
    assert len(message.content[0].logprobs) == 8 and len(message.content[0].logprobs[0].top_logprobs) == 2
    final = checked(list(client.responses.create(**asked, stream=True)))
    assert final.output[0].content[0].logprobs == message.content[0].logprobs


@shows(OPENAI_RESPONSES, "errors")
def test_what_is_refused(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="keeps no responses") as kept:
        client.responses.create(**SHORT, previous_response_id="resp_1")
    assert kept.value.param == "previous_response_id"
    image: Any = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]
    with pytest.raises(openai.BadRequestError, match="this server reads text alone"):
        client.responses.create(**{**SHORT, "input": image})
    with pytest.raises(openai.NotFoundError):
        client.responses.create(**{**SHORT, "model": "gpt-5"})
