"""Checkpoints of recurrent states, and what is built on them: going back, forks, saved sessions, interrupted steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import FileExists, NumericError, ResourceError, SubbyteError
from subbyte.runtime.session.checkpoints import INTERVAL, Checkpoint, Checkpoints
from subbyte.runtime.session.runner import Segment
from subbyte.runtime.session.sequence import ANSWER_LEAD

N_CTX = 700
TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, N_VOCAB, N_CTX)]
STATE = np.zeros(8, np.uint8)
RECURRENT = ("qwen35", "lfm2", "granitehybrid")


@pytest.fixture(scope="module", params=["llama", *RECURRENT])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    write_model(path, request.param, context_length=N_CTX)
    with sb.load(path, threads=2) as model:
        yield model


def from_the_start(model: sb.Model, tokens: list[int]) -> np.ndarray:
    with model.session(N_CTX, "f32") as session:
        return session.eval(tokens)


# ---- which checkpoints are kept ----


def kept(capacity: int, additions: list[tuple[int, bool]]) -> list[int]:
    of = Checkpoints(len(STATE), capacity * len(STATE) + 3)
    for n, ends_turn in additions:
        of.make_room()
        of.add(Checkpoint(n, ends_turn, STATE))
        assert len(of.kept) <= capacity and of.kept[-1].n_tokens == n
    return [checkpoint.n_tokens for checkpoint in of.kept]


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 2000), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 50_000),
)
def test_they_fit_the_bound_and_are_found(capacity: int, steps: list[tuple[int, bool]], n: int) -> None:
    ends = itertools.accumulate(step for step, _ in steps)
    of = Checkpoints(len(STATE), capacity * len(STATE))
    of.kept = [
        Checkpoint(at, False, STATE) for at in kept(capacity, list(zip(ends, (t for _, t in steps), strict=True)))
    ]
    below = [checkpoint.n_tokens for checkpoint in of.kept if checkpoint.n_tokens <= n]
    found = of.at_most(n)
    assert (found.n_tokens if found else None) == (below[-1] if below else None)
    of.drop_behind(n)
    assert [checkpoint.n_tokens for checkpoint in of.kept] == below


def test_they_lie_closer_near_the_end() -> None:
    places = kept(6, [(n, False) for n in range(INTERVAL, 64 * INTERVAL, INTERVAL)])
    gaps = np.diff([0, *places])
    assert gaps[0] > 8 * gaps[-1] and places[-1] == 63 * INTERVAL


def test_ends_of_turns_outlive_others() -> None:
    turns = [INTERVAL * n for n in range(10, 60, 10)]
    places = kept(8, [(n, n in turns) for n in range(INTERVAL, 60 * INTERVAL, INTERVAL)])
    assert set(turns) <= set(places)


def test_the_same_place_twice_is_one_and_stays_the_end_of_a_turn() -> None:
    of = Checkpoints(len(STATE), 5 * len(STATE))
    for ends_turn in (False, True, False):
        of.add(Checkpoint(7, ends_turn, STATE))
    assert [(c.n_tokens, c.ends_turn) for c in of.kept] == [(7, True)]


def test_no_room_for_one_keeps_none() -> None:
    assert Checkpoints(100, 99).capacity == Checkpoints(0, 1 << 30).capacity == 0
    assert not Checkpoints(100, 99).is_due(10**6)


# ---- going back ----


def test_going_back_computes_what_lies_behind_a_checkpoint(model: sb.Model) -> None:
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:650], "none")
        recurrent = model.plan.state_bytes > 0
        assert session.checkpoints.positions == ((512,) if recurrent else ())
        session.rewind(600)
        assert session.tokens == TOKENS[:600] and session.n_past == 600
        progress: list[tuple[int, int]] = []
        again = session.eval([5], on_progress=lambda done, total: progress.append((done, total)))
        np.testing.assert_array_equal(again, from_the_start(model, [*TOKENS[:600], 5]))
        assert progress[-1] == ((89, 89) if recurrent else (1, 1))
        assert session.checkpoints.n_recomputed == (88 if recurrent else 0)
        session.rewind(300)  # before the only checkpoint: from the start
        np.testing.assert_array_equal(session.eval([7]), from_the_start(model, [*TOKENS[:300], 7]))
        assert session.checkpoints.n_recomputed == (388 if recurrent else 0)


def test_rows_asked_for_behind_a_rewind_are_those_of_new_tokens(model: sb.Model) -> None:
    with model.session(N_CTX, "f32") as session, model.session(N_CTX, "f32") as other:
        whole = other.eval(TOKENS[:60], "all")
        session.eval(TOKENS[:50], "none")
        session.rewind(40)
        np.testing.assert_array_equal(session.eval(TOKENS[40:60], "all"), whole[40:])
        session.rewind(40)
        logprobs = session.logprobs(TOKENS[40:59], TOKENS[43:60], 2)
        rows = whole[42:59].astype(np.float64)
        expected = rows[range(17), TOKENS[43:60]] - np.logaddexp.reduce(rows, axis=1)
        np.testing.assert_allclose(logprobs, expected, atol=1e-5)


def test_a_prompt_goes_on_from_where_an_answer_began(model: sb.Model) -> None:
    prompt, answer = TOKENS[:300], TOKENS[300:330]
    with model.session(N_CTX, "f32") as session:
        assert session.reuse(prompt) == 0
        session.eval(prompt)
        session.eval(answer)
        recurrent = model.plan.state_bytes > 0
        # the answer once more: from the checkpoint before its lead
        n = session.reuse(prompt)
        assert n == (300 - ANSWER_LEAD if recurrent else 299)
        np.testing.assert_array_equal(session.eval(prompt[n:]), from_the_start(model, prompt))
        session.eval(answer)
        # a new turn: nothing is computed again, and its end is kept
        longer = [*prompt, *answer, *TOKENS[330:400]]
        assert session.reuse(longer) == 330
        np.testing.assert_array_equal(session.eval(longer[330:]), from_the_start(model, longer))
        # the new turn said otherwise: from that end
        edited = [*prompt, *answer, *TOKENS[400:440]]
        assert session.reuse(edited) == 330 if edited[330] != longer[330] else True
        np.testing.assert_array_equal(session.eval(edited[330:]), from_the_start(model, edited))


def test_the_bound_holds_and_nothing_kept_is_no_error(model: sb.Model) -> None:
    each = model.plan.state_bytes
    for capacity in (0, 1, 2):
        with model.session(N_CTX, "f32", checkpoint_bytes=capacity * each) as session:
            for n in (100, 200, 300, 400):
                session.eval(TOKENS[n - 100 : n], "none")
                session.checkpoint()
                use = session.checkpoints
                assert len(use.positions) <= capacity and use.n_bytes == len(use.positions) * each <= use.max_bytes
            session.rewind(350)
            np.testing.assert_array_equal(session.eval([1]), from_the_start(model, [*TOKENS[:350], 1]))


def test_memory_for_checkpoints_counts_where_a_context_must_fit(model: sb.Model) -> None:
    if not model.plan.state_bytes:
        with model.session(8, checkpoint_bytes=1 << 60) as session:
            assert session.checkpoints.max_bytes == 0
        return
    with pytest.raises(ResourceError, match="are free"):
        model.session(8, checkpoint_bytes=1 << 60)
    for bad in (-1, 0.5, True):
        with pytest.raises((ValueError, TypeError), match="checkpoint_bytes"):
            model.session(8, checkpoint_bytes=bad)  # type: ignore[arg-type]


def test_an_interrupted_step_leaves_the_sequence_as_it_was(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:100], "none")
        session.checkpoint()
        runner, sequence = session._opened()
        for fail in (KeyboardInterrupt, NumericError):
            session.rewind(100)
            session.eval(TOKENS[100:120], "none")

            def failing(error: type[BaseException] = fail) -> None:
                with pytest.raises(error):
                    with runner.unchanged():
                        runner.engine.step(np.array(TOKENS[120:130], np.int32), ((sequence.cache, 10, 120),))
                        sequence.cache.set_state(np.zeros(model.plan.state_bytes, np.uint8), 130)
                        raise error

            failing()
            sequence.recover()
            assert session.tokens == TOKENS[:120]
            np.testing.assert_array_equal(session.eval([9]), from_the_start(model, [*TOKENS[:120], 9]))


def test_a_step_where_the_state_does_not_stand_is_refused(model: sb.Model) -> None:
    if not model.plan.state_bytes:
        return
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:10])
        runner, sequence = session._opened()
        for pos in (5, 11):
            with pytest.raises(ValueError, match=f"position {pos} for a recurrent state of 10 tokens"):
                runner.engine.step(np.array([1], np.int32), ((sequence.cache, 1, pos),))
        np.testing.assert_array_equal(session.eval([3]), from_the_start(model, [*TOKENS[:10], 3]))


def test_several_sequences_in_a_step_keep_their_own_states(model: sb.Model) -> None:
    with model.session(N_CTX, "f32") as session:
        runner, _ = session._opened()
        sequences = [runner.new_sequence("f32") for _ in range(3)]
        cuts = [(0, 40), (40, 41), (41, 60)]
        for start, end in cuts:
            segments = []
            for i, sequence in enumerate(sequences):
                tokens = np.array(TOKENS[100 * i + start : 100 * i + end], np.int32)
                segments.append(Segment(sequence, tokens, range(len(tokens) - 1, len(tokens))))
            rows = runner.step(segments)
        assert rows is not None
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(row, from_the_start(model, TOKENS[100 * i : 100 * i + 60]))


# ---- forks and saved sessions ----


def test_a_fork_goes_its_own_way(model: sb.Model) -> None:
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:550], "none")
        with session.fork() as other:
            assert other.tokens == session.tokens and other.options == session.options
            assert other.checkpoints.positions == session.checkpoints.positions
            np.testing.assert_array_equal(other.eval([3]), from_the_start(model, [*TOKENS[:550], 3]))
            other.rewind(530)
            np.testing.assert_array_equal(other.eval([4]), from_the_start(model, [*TOKENS[:530], 4]))
        assert session.tokens == TOKENS[:550]
        np.testing.assert_array_equal(session.eval([5]), from_the_start(model, [*TOKENS[:550], 5]))
        session.rewind(520)
        with session.fork() as other:  # between two checkpoints
            assert other.tokens == TOKENS[:520]
            np.testing.assert_array_equal(other.eval([6]), from_the_start(model, [*TOKENS[:520], 6]))


def test_a_saved_session_goes_on(model: sb.Model, tmp_path: Path) -> None:
    path = tmp_path / "talk.session"
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:550], "none")
        session.save(path)
        with pytest.raises(FileExists):
            session.save(path)
        session.save(path, overwrite=True)
    with model.session(600, "f32") as session:
        session.eval(TOKENS[10:20])
        session.load(path)
        assert session.tokens == TOKENS[:550]
        assert session.checkpoints.positions == ((512,) if model.plan.state_bytes else ())
        np.testing.assert_array_equal(session.eval([5]), from_the_start(model, [*TOKENS[:550], 5]))
        session.rewind(530)
        np.testing.assert_array_equal(session.eval([6]), from_the_start(model, [*TOKENS[:530], 6]))
        session.rewind(520)
        session.save(path, overwrite=True)  # between checkpoints
        session.load(path)
        np.testing.assert_array_equal(session.eval([7]), from_the_start(model, [*TOKENS[:520], 7]))
        session.rewind(0)
        session.save(path, overwrite=True)  # of no tokens
        session.load(path)
        assert session.tokens == []


@pytest.fixture(scope="module")
def saved(model: sb.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "a"
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:520], "none")
        session.save(path)
    return path


Tensors = dict[str, np.ndarray]
Change = Callable[[Tensors, dict[str, str]], object]
CHANGES: dict[str, Change] = {
    "another model": lambda t, m: m.update(model="0" * 64),
    "another cache_type": lambda t, m: m.update(cache_type="f16"),
    "another version": lambda t, m: m.update(format="subbyte-session-9"),
    "no model": lambda t, m: m.pop("model"),
    "no tokens": lambda t, m: t.pop("tokens"),
    "a part is missing": lambda t, m: t.pop("part.0"),
    "a part is short": lambda t, m: t.update({"part.0": t["part.0"][:-1]}),
    "a part of floats": lambda t, m: t.update({"part.0": t["part.0"].astype(np.float32)}),
    "one part more": lambda t, m: t.update({"part.9999": t["part.0"]}),
    "a token id too large": lambda t, m: t["tokens"].__setitem__(3, N_VOCAB),
    "a token id below 0": lambda t, m: t["tokens"].__setitem__(3, -1),
    "more held than there is": lambda t, m: m.update(held="521"),
    "less held than there is": lambda t, m: m.update(held="519"),
    "held is no number": lambda t, m: m.update(held="-1"),
    "an endless number held": lambda t, m: m.update(held="0" * 5000),
    "fewer tokens": lambda t, m: t.update(tokens=t["tokens"][:-1]),
    "tokens of 64 bits": lambda t, m: t.update(tokens=t["tokens"].astype(np.int64)),
    "tokens in a table": lambda t, m: t.update(tokens=t["tokens"][None]),
    "a checkpoint behind the end": lambda t, m: t.update({"checkpoint.521": t["part.0"]}),
    "a checkpoint of nothing": lambda t, m: t.update({"checkpoint.0": t["part.0"]}),
    "a checkpoint of the wrong size": lambda t, m: t.update({"checkpoint.7": np.zeros(3, np.uint8)}),
    "an endless number": lambda t, m: t.update({f"checkpoint.{'9' * 5000}": t["part.0"]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_saved_session_that_is_off_is_refused_whole(
    model: sb.Model, saved: Path, tmp_path: Path, change: str
) -> None:
    tensors = {name: tensor.copy() for name, tensor in load_file(saved).items()}
    header = json.loads(saved.read_bytes()[8:][: int.from_bytes(saved.read_bytes()[:8], "little")])
    metadata = header["__metadata__"]
    CHANGES[change](tensors, metadata)
    save_file(tensors, tmp_path / "b", metadata)
    refused(model, tmp_path / "b")


def refused(model: sb.Model, path: Path) -> None:
    with model.session(N_CTX, "f32") as session:
        session.eval(TOKENS[:30])
        with pytest.raises(SubbyteError) as caught:
            session.load(path)
        assert "\n" not in str(caught.value) and path.name in str(caught.value)
        assert session.tokens == TOKENS[:30]
        np.testing.assert_array_equal(session.eval([2]), from_the_start(model, [*TOKENS[:30], 2]))


def test_a_saved_session_that_is_no_file_of_its_kind_is_refused(model: sb.Model, saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    cases = [b"", b"GGUF", b"\xff" * 64, whole[:100], whole[:-1], whole + b"\0", whole[:8] + b"[" * 4000]
    cases.append((1 << 62).to_bytes(8, "little") + whole[8:])
    for content in cases:
        (tmp_path / "c").write_bytes(content)
        refused(model, tmp_path / "c")
    refused(model, tmp_path)
    refused(model, tmp_path / "none")
    (tmp_path / "own").write_text("mine")
    with model.session(8, "f32") as session, pytest.raises(FileExists, match="never overwritten"):
        session.save(tmp_path / "own", overwrite=True)
    with model.session(100, "f32") as session, pytest.raises(SubbyteError):
        session.load(saved)  # more tokens than its context


def test_checkpoints_in_a_file_fit_the_bound(model: sb.Model, saved: Path) -> None:
    with model.session(N_CTX, "f32", checkpoint_bytes=0) as session:
        if model.plan.state_bytes:
            session.load(saved)
            assert session.checkpoints.positions == ()
            session.rewind(515)
            np.testing.assert_array_equal(session.eval([2]), from_the_start(model, [*TOKENS[:515], 2]))
