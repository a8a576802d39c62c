"""What importance matrices are collected over: conversations, texts of several weights; runs that save as they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.imatrix.collect import ImatrixMeasurement
from subbyte.runtime.template.chat_template import CHATML

A = "the thin man and the other one are in an old inn near the river, " * 3
B = "one river is in the other river and then another; " * 4
NAME = "blk.0.attn_q.weight"
WEIGHTS = (0.3, 1.7)
CHAT: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "the man?"}, {"role": "assistant", "content": "in the inn <|im_end|>"}]},
    {"system": "be thin", "messages": [{"role": "user", "content": "near " * 40}], "id": 7},
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imatrix") / "m.gguf"
    write_model(path, strings={"tokenizer.chat_template": CHATML})
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=1) as model:
        yield model


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n\n".join(map(json.dumps, rows)).encode()


def test_conversations_are_what_the_template_makes_of_them(model: sb.Model, path: Path, tmp_path: Path) -> None:
    """Control tokens are the template's; in a message they are text. A long one goes on in a chunk of its own."""
    weights = write_model(tmp_path / "m.gguf", strings={"tokenizer.chat_template": CHATML})
    found = sb.imatrix(model, sb.Conversations(lines(CHAT)), n_ctx=50)
    tokens: list[int] = []
    n_chunks = 0
    for row in CHAT:
        system = [{"role": "system", "content": row["system"]}] if "system" in row else []
        now = datetime(2026, 1, 1)
        ids = model.template.encode([*system, *row["messages"]], add_generation_prompt=False, now=now)
        tokens, n_chunks = tokens + ids, n_chunks + -(-len(ids) // 50)
    assert tokens.count(model.tokenizer.id("<|im_end|>")) == 4
    x = tiny_models.rms(weights["token_embd"][tokens].astype(np.float64), weights["blk.0.attn_norm"])
    assert found.counts[NAME] == [len(tokens)]
    assert found.squares[NAME] == pytest.approx((x * x).sum(axis=0)[None], rel=1e-4)
    assert found.chunk_count == n_chunks > 2


@pytest.mark.parametrize("line, says", [
    (b"{", "line 1: not JSON"), (b"[1]", 'line 1: no JSON object with "messages"'), (b"", "no conversation; give"),
    (b'\n{"messages": [{"role": "cook", "content": "a"}]}', "line 2: messages[0]"),
    (b'{"messages": 3}', "line 1: messages"),
    (b'{"messages": [], "system": 3}', "line 1: system is 3"), (b"[" * 100_000, "line 1: not JSON"),
    (b'{"messages": [{"role": "user", "content": "a"}], "tools": [{"name": "f"}]}', "line 1: it has tools, but"),
])  # fmt: skip
def test_what_is_no_conversation(line: bytes, says: str, model: sb.Model) -> None:
    with pytest.raises(ValueError, match=r"^text 1: [^\n]*$") as error:
        sb.imatrix(model, sb.Conversations(line))
    assert says in str(error.value)


def test_weights_are_what_a_token_of_a_text_counts(model: sb.Model) -> None:
    a, b = (sb.imatrix(model, text, n_ctx=32) for text in (A, B))
    both = sb.imatrix(model, [A, B], weights=[2, 0.25], n_ctx=32)
    for name in a.squares:
        for of in ("squares", "sums", "counts"):
            expected = 2 * getattr(a, of)[name] + 0.25 * getattr(b, of)[name]
            assert getattr(both, of)[name] == pytest.approx(expected)
    assert both.chunk_count == a.chunk_count + b.chunk_count
    merged = sb.merge_imatrices([a, b], weights=[2, 0.25])
    assert all(merged.weights(name) == pytest.approx(both.weights(name)) for name in a.squares)
    for wrong in ([1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(ValueError, match="weights"):
            sb.imatrix(model, [A, B], weights=wrong, n_ctx=32)
    with pytest.raises(ValueError, match="give at least one"):
        sb.imatrix(model, [])


def test_sources_take_turns(model: sb.Model) -> None:
    """So that the first chunks are of all of them."""
    first = [sb.imatrix(model, text, n_ctx=32, chunks=1) for text in (A, B)]
    chat = sb.imatrix(model, sb.Conversations(lines(CHAT)), n_ctx=50, chunks=1)
    both = sb.imatrix(model, [A, B], n_ctx=32, chunks=2)
    assert both.squares[NAME] == pytest.approx(first[0].squares[NAME] + first[1].squares[NAME])
    mixed = sb.imatrix(model, [A, sb.Conversations(lines(CHAT))], n_ctx=50, chunks=2)
    assert mixed.squares[NAME] == pytest.approx(
        sb.imatrix(model, A, n_ctx=50, chunks=1).squares[NAME] + chat.squares[NAME]
    )


def test_a_run_with_weights_and_conversations_goes_on(model: sb.Model, tmp_path: Path) -> None:
    texts = [A, sb.Conversations(lines(CHAT))]
    whole = sb.imatrix(model, texts, n_ctx=32, weights=WEIGHTS)
    with ImatrixMeasurement(model, texts, EvalOptions(32), weights=WEIGHTS, resume=tmp_path / "run") as measurement:
        for step in measurement:
            if step.done == 3:
                break
    assert 3 < whole.chunk_count
    assert sb.imatrix(model, texts, n_ctx=32, weights=WEIGHTS, resume=tmp_path / "run").digest() == whole.digest()
    with pytest.raises(sb.SubbyteError, match=r"is of another run \(weights is '\(0\.3, 1\.7\)'"):
        sb.imatrix(model, texts, n_ctx=32, resume=tmp_path / "run")


def test_the_command_saves_as_it_goes(
    path: Path, tmp_path: Path, command_line: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text(A)
    (tmp_path / "b.jsonl").write_bytes(lines(CHAT))
    line = ("imatrix", str(path), "i", "-f", "a", "--chat", "b.jsonl", "--weights", "1,0.5", "-c", "32")
    saved: list[int] = []
    save = sb.Imatrix.save

    def noted(self: sb.Imatrix, path: Path, *, overwrite: bool = False) -> None:
        save(self, path, overwrite=overwrite)
        saved.append(sb.Imatrix.open(path).chunk_count)
        if len(saved) == 2:
            raise MemoryError  # after which OUT has what came before

    monkeypatch.setattr(sb.Imatrix, "save", noted)
    assert command_line(*line, "--save-every", "2")[0] == 4
    assert saved == [2, 4] and sb.Imatrix.open("i").chunk_count == 4
    code, _, err = command_line(*line, "--save-every", "2")
    assert code == 4 and "an importance matrix exists" in err
    code, out, err = command_line(*line, "--save-every", "2", "--overwrite", "-o", "json")
    assert code == 0 and err == "" and json.loads(out)["chunks"] == saved[-1] == saved[-2] + saved[-1] % 2
    assert sb.Imatrix.open("i").datasets == ("a", "b.jsonl")
    for more, says in [(("--weights", "1"), "weights are 1, texts"), (("--weights", "a"), "no numbers"), ((), "")]:
        code, _, err = command_line(*line[:3], *line[3:5], "--chat", "b.jsonl", "-c", "32", *more, "--overwrite")
        assert (code, says in err) == (2 if more else 0, True) or "is not numbers" in err
    assert "give a text with -f, or conversations with --chat" in command_line("imatrix", str(path), "j")[2]
