"""Conversations as what is measured: in the model's own template, the assistant's tokens and no others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.template.chat_template import CHATML

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 600).tolist())
ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "the ring"}, {"role": "assistant", "content": "in the lane"},
                  {"role": "user", "content": "on"}, {"role": "assistant", "content": "the inn"}]},
    {"id": 7, "system": "be brief", "messages": [{"role": "user", "content": "the"},
                                                 {"role": "assistant", "content": "lane and the ring on the inn"}]},
]  # fmt: skip
CHATS = sb.Conversations.of(ROWS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[sb.Model]]:
    folder = tmp_path_factory.mktemp("models")
    for name, types in (("a", ["F32"]), ("b", ["Q4_0"])):
        write_model(folder / f"{name}.gguf", types=types, strings={"tokenizer.chat_template": CHATML})
    opened = [sb.load(folder / f"{name}.gguf", threads=1) for name in "ab"]
    yield opened
    for model in opened:
        model.close()


def by_hand(model: sb.Model, row: dict[str, Any]) -> tuple[list[float], list[int]]:
    """Losses of the answers' tokens, each answer behind the prompt for it, and how many tokens come before each."""
    messages = [*([{"role": "system", "content": row["system"]}] if "system" in row else []), *row["messages"]]
    losses: list[float] = []
    positions: list[int] = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = model.template.encode(messages[:i])
        answer = model.tokenizer.encode(message["content"] + "<|im_end|>", special=True, after=prompt[-1])
        (score,) = model.score(prompt, [answer])
        losses += (-score.logprobs.astype(float)).tolist()
        positions += range(len(prompt), len(prompt) + len(answer))
    return losses, positions


def test_losses_are_those_of_the_answers(models: list[sb.Model]) -> None:
    run = sb.perplexity([models[0]], CHATS)
    expected = [by_hand(models[0], row) for row in ROWS]
    assert run.losses[0] == pytest.approx(np.concatenate([losses for losses, _ in expected]), abs=1e-5)
    assert run.tokens.position.tolist() == [position for _, positions in expected for position in positions]
    (result,) = run.results
    assert (result.chunks, result.n_scored) == (2, len(run.losses[0]))
    assert result.ppl == pytest.approx(np.exp(run.losses[0].mean()))
    assert result.running[0] == pytest.approx(np.exp(np.mean(expected[0][0])))


def test_texts_and_conversations_take_turns(models: list[sb.Model], tmp_path: Path) -> None:
    both = {"words": TEXT, "chats": CHATS}
    run = sb.compare(models[0], models[1], both, n_ctx=100)
    (result,) = run.results
    alone = [sb.compare(models[0], models[1], text, n_ctx=100).results[0] for text in both.values()]
    assert list(result.domains) == ["words", "chats"]
    for part, whole in zip(result.domains.values(), alone, strict=True):
        assert (part.kld, part.kld_reverse, part.acceptance) == (whole.kld, whole.kld_reverse, whole.acceptance)
        assert part.kld_interval == whole.kld_interval
    assert sum(part.n_scored for part in result.domains.values()) == run.n_scored
    assert run.tokens.domain[run.tokens.chunk == 1].tolist()[0] == 1
    assert [table.title for table in run.tables()].count("By text") == 1
    resumed = [sb.compare(models[0], models[1], both, n_ctx=100, resume=tmp_path / "r") for _ in range(2)]
    assert resumed[0].results == resumed[1].results == run.results
    with pytest.raises(sb.SubbyteError, match="of another run"):
        sb.compare(models[0], models[1], CHATS, n_ctx=100, resume=tmp_path / "r")


def test_a_model_with_another_template_is_no_pair(models: list[sb.Model], tmp_path: Path) -> None:
    write_model(tmp_path / "c.gguf", strings={"tokenizer.chat_template": CHATML.replace("<|im_end|>\n", "<|im_end|>")})
    with sb.load(tmp_path / "c.gguf", threads=1) as other, pytest.raises(ValueError, match="another chat template"):
        sb.perplexity([models[0], other], sb.Conversations.of([ROWS[0]]))


@pytest.mark.parametrize(
    "lines, found",
    [
        (b"{", "text 1: line 1: not JSON"),
        (b"[1]", 'line 1: no JSON object with "messages"'),
        (b'\n{"messages": 3}', "line 2: messages is 3"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "line 1: no message of the assistant"),
        (b'{"messages": [{"role": "assistant", "content": "' + b"the " * 200 + b'"}]}', "tokens, n_ctx is 64; shorten"),
        (b'{"messages": [{"role": "assistant", "content": "a"}], "tools": [{"name": "f"}]}', "line 1: "),
        (b"", "no conversation; give lines"),
    ],
)
def test_lines_that_are_no_conversation(lines: bytes, found: str, models: list[sb.Model]) -> None:
    with pytest.raises(ValueError, match=found):
        sb.perplexity(models[0], sb.Conversations(lines), n_ctx=64)


def test_a_base_file_holds_no_conversations(models: list[sb.Model], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save_base or conversations, not both"):
        sb.compare(models[0], models[1], CHATS, save_base=tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_from_a_file(models: list[sb.Model], tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    assert sb.Conversations.read(path) == CHATS
    with pytest.raises(sb.ResourceError, match="can't be read"):
        sb.Conversations.read(tmp_path / "none")
    with pytest.raises(ValueError, match=r"rows\[0\]: is no JSON"):
        sb.Conversations.of([{"messages": {3}}])
