"""Tools through the public interface, over a model of random weights: alone, and beside others in a scheduler."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from template_conversations import source
from tiny_models import write_model

import subbyte as sb

pytest.importorskip("llguidance")


def lamp(n: int, on: bool, mode: Literal["dim", "bright"] = "dim") -> str:
    """Switches a lamp."""
    return f"{n} {on} {mode}"


def answers(model: sb.Model, seed: int, **options: Any) -> list[sb.Reply]:
    """An answer that calls, and what follows its result."""
    with model.chat(
        tools=[lamp], tool_choice="lamp", n_ctx=2048, sampling=sb.Sampling(seed=seed), max_tokens=150, **options
    ) as chat:
        first = chat.send("Light!")
        chat.tool_choice = "auto"
        chat.max_tokens = 5
        results = [chat.tools[call.name](**call.arguments) for call in first.tool_calls]
        return [first, chat.send_tool_results(results)]


@pytest.mark.thorough
def test_calls_of_a_model_of_random_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, strings={"tokenizer.chat_template": source("qwen3")})
    with sb.load(path, threads=1) as model:
        alone = [answers(model, seed) for seed in range(4)]
        with model.scheduler(n_parallel=4, n_ctx=2048) as scheduler, ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda seed: answers(model, seed, scheduler=scheduler), range(4)))
    for one, other in zip(alone, together, strict=True):
        assert [(r.text, r.tokens, r.tool_calls) for r in one] == [(r.text, r.tokens, r.tool_calls) for r in other]
        (call,) = one[0].tool_calls
        assert call.name == "lamp" and isinstance(call.arguments["n"], int) and isinstance(call.arguments["on"], bool)
        assert not one[0].text and one[0].stop_reason == "eog"


def test_a_model_whose_template_knows_no_tools_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, strings={"tokenizer.chat_template": source("gemma-3")})
    with sb.load(path, threads=1) as model:
        assert model.tool_format is None
        with pytest.raises(ValueError, match="this model can't be given tools: its chat template does not show them"):
            model.chat(tools=[lamp])
        with pytest.raises(ValueError, match='tool_choice is "required", but this conversation has no tools'):
            model.chat(tool_choice="required")
        with model.chat(messages=[sb.Message("user", "Hi")], max_tokens=1, n_ctx=64) as chat:
            assert chat.reply().usage.completion == 1
