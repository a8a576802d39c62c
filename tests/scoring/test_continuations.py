"""Candidates behind a prefix: what the logits say, whatever the company, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from model_logits import log_softmax
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.runtime.scoring import continuations
from subbyte.runtime.session.runner import Runner, Segment

RNG = np.random.default_rng(3)
PREFIX = RNG.integers(0, N_VOCAB - 2, 37).tolist()
CANDIDATES = [RNG.integers(0, N_VOCAB - 2, n).tolist() for n in [1, 2, 3, 30, 1, 5, 40, 2, 7, 1, 9, 4]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, types=["Q8_0"])
    with sb.load(path, threads=2) as model:
        yield model


@pytest.fixture(scope="module", params=["gemma3", "deepseek2", "qwen35", "lfm2", "nemotron_h"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    """Windows, one cached row for all heads, and recurrent states of each kind."""
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, request.param, types=["Q8_0" if request.param == "gemma3" else "BF16"])
    with sb.load(path, threads=2) as model:
        yield model


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three copies of a prefix and batches of 32 tokens, so that candidates are cut and copies are used again."""
    monkeypatch.setattr(continuations, "MAX_COPIES", 3)
    monkeypatch.setattr("subbyte.runtime.session.runner.MAX_BATCH", 32)


def one_by_one(model: sb.Model, prefix: list[int], candidate: list[int]) -> np.ndarray:
    """Its log-probabilities from a session of its own."""
    tokens = prefix + candidate
    with model.session(len(tokens), activations="int8x2") as session:
        return session.logprobs(tokens[:-1], candidate, len(prefix) - 1)


def assert_same_bits(model: sb.Model, prefix: list[int]) -> None:
    scores = model.score(prefix, CANDIDATES)
    assert [score.tokens for score in scores] == list(map(tuple, CANDIDATES))
    for candidate, score in zip(CANDIDATES, scores, strict=True):
        assert np.array_equal(score.logprobs, one_by_one(model, prefix, candidate))
        assert b"".join(score.pieces) == b"".join(map(model.tokenizer.piece, candidate))


@pytest.mark.parametrize("n", [1, len(PREFIX)])
def test_candidates_have_the_bits_that_each_has_alone(model: sb.Model, n: int) -> None:
    assert_same_bits(model, PREFIX[:n])


@pytest.mark.usefixtures("little_memory")
def test_on_few_copies_and_in_small_batches(kind: sb.Model) -> None:
    assert_same_bits(kind, PREFIX)
    assert_same_bits(kind, PREFIX[:1])


@pytest.mark.usefixtures("little_memory")
def test_greedy_is_what_greedy_decoding_would_choose(kind: sb.Model) -> None:
    with kind.session(64, activations="int8x2") as session:
        greedy, logits = [], session.eval(PREFIX)
        for _ in range(4):
            greedy.append(int(logits.argmax()))
            logits = session.eval(greedy[-1:])
    unlike = [*greedy[:2], (greedy[2] + 1) % N_VOCAB, *greedy[3:]]
    same, other = kind.score(PREFIX, [greedy, unlike])
    assert same.greedy.all() and other.greedy[:3].tolist() == [True, True, False]
    text = kind.score("the inn and then")
    ids = kind.tokenize("the inn and then")
    with kind.session(64, activations="int8x2") as session:
        best = session.eval(ids, "all").argmax(-1)
    assert text.greedy.tolist() == [False, *(best[:-1] == ids[1:])]


def watch_steps(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of each sequence in each step from now on."""
    steps: list[list[int]] = []
    as_it_is = Runner.step

    def step(self: Runner, segments: list[Segment], targets: np.ndarray | None = None) -> object:
        steps.append([len(segment.tokens) for segment in segments])
        return as_it_is(self, segments, targets)

    monkeypatch.setattr(Runner, "step", step)
    return steps


def test_the_prefix_is_read_once(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = watch_steps(monkeypatch)
    model.score(PREFIX, CANDIDATES)
    assert steps == [[len(PREFIX)], [len(candidate) - 1 for candidate in CANDIDATES if len(candidate) > 1]]
    steps.clear()
    model.score(PREFIX, [[i] for i in range(N_VOCAB)])
    assert steps == [[len(PREFIX)]]


def test_texts_are_tokenized_as_what_follows(model: sb.Model) -> None:
    (score,) = model.score("the inn", [" and then"])
    before, after = model.tokenize("the inn"), model.tokenize(" and then")
    assert score.tokens == tuple(after) and b"".join(score.pieces) == b" and then"
    with model.session(64, "f16", "int8x2") as session:
        rows = log_softmax(session.eval([*before, *after], "all"))[len(before) - 1 : -1]
    np.testing.assert_allclose(score.logprobs, rows[range(len(after)), after], atol=1e-5)
    assert score.total == pytest.approx(float(score.logprobs.sum()), rel=1e-6)
    mixed = model.score(b"the inn", [after, b" and then", " and then"])
    assert all(np.array_equal(each.logprobs, score.logprobs) for each in mixed)


def test_behind_bos_alone(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf", override_kv={"tokenizer.ggml.add_bos_token": True}) as model:
        (score,) = model.score("", ["a"])
        assert np.array_equal(score.logprobs, one_by_one(model, [266], [97]))


def test_what_can_not_be_scored(model: sb.Model) -> None:
    assert model.score("a", []) == ()
    with pytest.raises(ValueError, match="the prefix is empty"):
        model.score("", ["a"])
    with pytest.raises(ValueError, match=r"candidates\[1\] has no tokens"):
        model.score("a", ["b", ""])
    with pytest.raises(ValueError, match="candidates is empty"):
        model.choose("a", [])
    trained = model.info.n_ctx_train
    with pytest.raises(sb.ContextOverflow, match=rf"the prefix has 2 tokens and candidates\[1\] {trained},"):
        model.score([1, 2], [[1] * (trained - 1), [1] * trained])
    with pytest.raises(ValueError, match=r"candidates\[0\]: token id 9999 is none of this model's"):
        model.score("a", [[9999]])
    with pytest.raises(TypeError, match="candidates is 'b', but must be a list of texts"):
        model.choose("a", "b")
    with pytest.raises(ValueError, match=r"candidates\[0\] has no bytes to normalize by"):
        model.choose("a", [[267]], normalize="bytes")


def test_no_memory_for_copies(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuations, "available_memory", lambda: 10)
    with pytest.raises(sb.ResourceError, match="a copy of what is remembered of the prefix takes"):
        model.score("the", ["inn"])
    assert len(model.score("the", ["a", "b"])) == 2  # of one token each: no copies are needed


def test_the_most_probable_candidate(model: sb.Model) -> None:
    candidates = ["the in", "a", "the and then", b"on", [ord("!")]]
    scores = model.score("the ", candidates)
    for normalize, by in ((None, [1] * 5), ("tokens", [len(s.tokens) for s in scores]), ("bytes", [6, 1, 12, 2, 1])):
        compared = np.array([score.total for score in scores]) / by
        chosen = model.choose("the ", candidates, normalize=normalize)  # type: ignore[arg-type]
        assert chosen.index == int(np.argmax(compared))
        assert chosen.text == ["the in", "a", "the and then", "on", "!"][chosen.index]
        np.testing.assert_allclose(chosen.probabilities, np.exp(log_softmax(compared)), rtol=1e-9)
        assert chosen.logprobs == tuple(score.total for score in scores)
    assert model.choose("a", ["b", "b"]).index == 0
    assert model.choose("a", ["b", "b"]).to_dict()["probabilities"] == (0.5, 0.5)


def test_reading_begins_from_a_pinned_prefix(kind: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = kind.score(PREFIX, CANDIDATES)
    with kind.pin(PREFIX[:20], activations="int8x2"):
        steps = watch_steps(monkeypatch)
        found = kind.score(PREFIX, CANDIDATES)
    assert steps[0] == [len(PREFIX) - 20]
    assert all(np.array_equal(a.logprobs, b.logprobs) for a, b in zip(found, expected, strict=True))
