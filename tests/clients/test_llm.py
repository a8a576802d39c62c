"""The plugin of simonw's llm: prompts, conversations, schemas, tools, embeddings, as llm's own interface gives them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from template_conversations import source
from tiny_models import write_model

import subbyte as sb

llm = pytest.importorskip("llm")
pytest.importorskip("llguidance")
pytestmark = pytest.mark.filterwarnings("default")

GREEDY = {"temperature": 0.0, "max_tokens": 6, "n_ctx": 2048}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model whose template knows tools."""
    from subbyte.runtime.compat import llm as plugin

    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, strings={"tokenizer.chat_template": source("qwen3")})
    yield path
    plugin._scheduled.cache_clear()
    plugin._loaded.cache_clear()


@pytest.fixture
def model(path: Path) -> Any:
    from subbyte.runtime.compat.llm import SubbyteModel

    return SubbyteModel(str(path))


def test_a_prompt_streams_and_counts(model: Any, path: Path) -> None:
    response = model.prompt("the inn", system="an", options=GREEDY)
    pieces = list(response)
    with (
        sb.load(path) as alone,
        alone.chat(
            system="an", sampling=sb.Sampling(temperature=0), max_tokens=6, n_ctx=2048, activations="int8"
        ) as chat,
    ):
        reply = chat.send("the inn")
    assert "".join(pieces) == reply.text == response.text() and len(pieces) > 1
    usage = response.usage()
    assert (usage.input, usage.output) == (reply.usage.prompt, reply.usage.completion)
    assert response.response_json["stop_reason"] == "length"
    assert model.prompt("the inn", options={**GREEDY, "stop": reply.text[2:4]}).text() == reply.text[:2]


def test_a_conversation_has_its_history(model: Any) -> None:
    conversation = model.conversation()
    first = conversation.prompt("the inn", options=GREEDY)
    text = first.text()
    second = conversation.prompt("and then", options=GREEDY)
    second.text()
    assert second.usage().input > first.usage().input
    assert second.usage().details["cached_tokens"] >= first.usage().input - 20
    again = model.prompt(messages=[*first.prompt.messages, *first.messages(), llm.user("and then")], options=GREEDY)
    assert again.text() == second.text() and text == first.text()


def test_a_schema_is_kept_and_closed(model: Any) -> None:
    schema = {"properties": {"on": {"type": "boolean"}}, "required": ["on"], "type": "object"}
    response = model.prompt("the inn", schema=schema, options={**GREEDY, "max_tokens": 60, "thinking": False})
    assert list(json.loads(response.text())) == ["on"]


def test_tools_are_called_and_their_results_come_back(model: Any) -> None:
    asked: list[int] = []

    def lamp(n: int) -> str:
        "Switches a lamp."
        asked.append(n)
        return f"lamp {n}"

    options = {**GREEDY, "max_tokens": 200, "tool_choice": "lamp", "thinking": False}
    response = model.prompt("Light!", tools=[lamp], options=options)
    (call,) = response.tool_calls()
    assert call.name == "lamp" and isinstance(call.arguments["n"], int) and not response.text()
    (result,) = response.execute_tool_calls()
    assert result.output == f"lamp {asked[0]}" and result.tool_call_id == call.tool_call_id
    answer = response.reply(tool_results=[result], tools=[], options=GREEDY)
    assert answer.text() and [message.role for message in answer.prompt.messages] == ["user", "assistant", "tool"]
    with pytest.raises(ValueError, match="does not support server-side tool"):
        model.prompt("a", tools=[llm.ServerSideTool({"type": "x"})])


def test_reasoning_is_no_text(model: Any) -> None:
    events = list(model.prompt("the inn", options={**GREEDY, "thinking": True, "reasoning_budget": 3}).stream_events())
    kinds = [event.type for event in events]
    assert set(kinds) <= {"reasoning", "text"} and kinds == sorted(kinds)


def test_the_async_model_gives_the_same(model: Any, path: Path) -> None:
    from subbyte.runtime.compat.llm import SubbyteAsyncModel

    async def main() -> list[str]:
        prompts = [SubbyteAsyncModel(str(path)).prompt(text, options=GREEDY) for text in ("the inn", "an")]
        return list(await asyncio.gather(*(prompt.text() for prompt in prompts)))

    assert asyncio.run(main()) == [model.prompt(text, options=GREEDY).text() for text in ("the inn", "an")]


def test_embeddings(path: Path) -> None:
    from subbyte.runtime.compat.llm import SubbyteEmbeddingModel

    model = SubbyteEmbeddingModel(str(path))
    found = list(model.embed_multi(["the inn", "an"]))
    with sb.load(path) as alone:
        assert found == alone.embed(["the inn", "an"]).tolist()
    assert model.embed("an") == found[1]


def test_models_and_a_file_by_its_path(path: Path) -> None:
    from subbyte.runtime.compat import llm as plugin

    registered: list[Any] = []
    plugin.register_models(lambda model, asynchronous: registered.append((model, asynchronous)))
    assert {"subbyte/smollm2", "subbyte"} <= {model.model_id for model, _ in registered}
    assert all(model.model_id == other.model_id for model, other in registered)
    (by_path,) = [model for model, _ in registered if model.model_id == "subbyte"]
    assert by_path.prompt("an", options={**GREEDY, "path": str(path)}).text()
    with pytest.raises(llm.ModelError, match="give a model: llm -m subbyte -o path"):
        by_path.prompt("an").text()
    with pytest.raises(llm.ModelError, match="no file and no model named"):
        by_path.prompt("an", options={"path": "nosuch.gguf"}).text()
    embedders: list[Any] = []
    plugin.register_embedding_models(embedders.append)
    assert "subbyte/smollm2" in {model.model_id for model in embedders}


def test_loading_the_plugin_loads_nothing_of_the_library() -> None:
    script = (
        "import sys, llm; before = set(sys.modules); import subbyte.runtime.compat.llm\n"
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('llm')))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == [
        "subbyte", "subbyte.errors", "subbyte.runtime", "subbyte.runtime.compat", "subbyte.runtime.compat.llm",
    ]  # fmt: skip


def test_the_entry_point_is_declared() -> None:
    assert 'subbyte = "subbyte.runtime.compat.llm"' in (ROOT / "pyproject.toml").read_text()
