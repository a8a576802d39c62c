"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from client_table import LANGCHAIN, shows
from live_server import LiveServer

langchain_openai = pytest.importorskip("langchain_openai")
messages = pytest.importorskip("langchain_core.messages")
tools = pytest.importorskip("langchain_core.tools")
pydantic = pytest.importorskip("pydantic")
pytestmark = pytest.mark.filterwarnings("ignore")  # they are not ours


class Light(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    """What a structured answer is to be."""

    on: bool
    mode: Literal["dim", "bright"]


def lamp(on: bool, mode: Literal["dim", "bright"]) -> str:
    """Switches a lamp."""
    return f"it is {mode}" if on else "it is off"


def chat(server: LiveServer, model: str = "tiny", **options: Any) -> Any:
    settings = {"max_tokens": 8, "temperature": 0, "max_retries": 0, **options}
    return langchain_openai.ChatOpenAI(model=model, base_url=f"{server.url}/v1", api_key=server.key, **settings)


@shows(LANGCHAIN, "answers", "streams", "several at once")
def test_an_answer_whole_in_pieces_and_beside_others(server: LiveServer) -> None:
    model = chat(server, stream_usage=True)
    whole = model.invoke([("system", "Be brief."), ("user", "Hi")])
    assert whole.content and whole.response_metadata["finish_reason"] == "length"
    assert whole.usage_metadata["output_tokens"] == 8
    pieces = list(model.stream([("system", "Be brief."), ("user", "Hi")]))
    assert "".join(piece.content for piece in pieces) == whole.content and len(pieces) > 4
    assert sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata) == 8
    assert [answer.content for answer in model.batch(["Hi", "Ho", "Hi"])] == [
        model.invoke(t).content for t in ("Hi", "Ho", "Hi")
    ]


@shows(LANGCHAIN, "async")
def test_without_threads(server: LiveServer) -> None:
    async def run() -> tuple[str, str]:
        model = chat(server)
        return (await model.ainvoke("Hi")).content, "".join([piece.content async for piece in model.astream("Hi")])

    whole, streamed = asyncio.run(run())
    assert whole == streamed and whole


@shows(LANGCHAIN, "tool calls", "tool calls, streamed", "tool loop")
def test_bound_tools(server: LiveServer) -> None:
    tool = tools.tool(lamp)
    model = chat(server, max_tokens=200).bind_tools([tool], tool_choice="lamp", strict=True, parallel_tool_calls=False)
    first = model.invoke("Hi")
    (call,) = first.tool_calls
    assert call["name"] == "lamp" and set(call["args"]) == {"on", "mode"} and not first.invalid_tool_calls
    gathered: Any = None
    for piece in model.stream("Hi"):
        gathered = piece if gathered is None else gathered + piece
    assert [(each["name"], each["args"]) for each in gathered.tool_calls] == [("lamp", call["args"])]
    history = [messages.HumanMessage("Hi"), first, tool.invoke(call)]
    assert chat(server).bind_tools([tool], tool_choice="none").invoke(history).content


@shows(LANGCHAIN, "JSON by a schema")
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(server: LiveServer, method: str) -> None:
    model = chat(server, max_tokens=200, reasoning_effort="none").with_structured_output(Light, method=method)
    assert isinstance(model.invoke("Hi"), Light)


@shows(LANGCHAIN, "answers", "streams", "reasoning")
def test_by_the_responses_api(server: LiveServer) -> None:
    options = {"max_tokens": 20, "use_responses_api": True, "reasoning": {"summary": "auto"}}
    model = chat(server, "thinker", extra_body={"thinking_budget_tokens": 4}, **options)
    whole = model.invoke("Hi")
    assert [block["type"] for block in whole.content_blocks] == ["reasoning", "text"]
    assert whole.content_blocks[0]["reasoning"] and whole.text
    assert "".join(piece.text for piece in model.stream("Hi")) == whole.text


@shows(LANGCHAIN, "log-probabilities")
def test_log_probabilities(server: LiveServer) -> None:
    answer = chat(server, logprobs=True, top_logprobs=2).invoke("Hi")
    assert len(answer.response_metadata["logprobs"]["content"]) == 8


@shows(LANGCHAIN, "embeddings")
def test_embeddings_of_texts(server: LiveServer) -> None:
    """By default the package sends token ids of OpenAI's vocabulary, which mean other texts to a model of another."""
    embeddings = langchain_openai.OpenAIEmbeddings(
        model="tiny", base_url=f"{server.url}/v1", api_key=server.key, check_embedding_ctx_length=False
    )
    vectors = embeddings.embed_documents(["the inn", "another"])
    assert [len(vector) for vector in vectors] == [64, 64] and embeddings.embed_query("another") == pytest.approx(
        vectors[1]
    )


@shows(LANGCHAIN, "errors")
def test_errors(server: LiveServer) -> None:
    import openai

    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4' here"):
        chat(server, "gpt-4").invoke("Hi")
    with pytest.raises(openai.BadRequestError, match="context"):
        chat(server).invoke("Hi" * 2000)
