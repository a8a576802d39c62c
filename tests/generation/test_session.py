"""Sessions under wrong numbers, any order of calls, many threads and a file that changes: errors, and a whole state."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import ContextOverflow, ModelChanged, NumericError, ResourceError, SessionBusy, SubbyteError
from subbyte.runtime.session.runner import Runner
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.session.session import Session
from subbyte.runtime.types import SessionOptions

TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, N_VOCAB, 60)]
TEXT = "the thing and another one in the garden. " * 8
N_CTX = 40


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path)
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=2) as model:
        yield model


@pytest.fixture
def session(model: sb.Model) -> Iterator[Session]:
    with model.session(N_CTX, "f32") as session:
        yield session


# ---- numbers ----


@pytest.mark.parametrize("n_ctx", [0, -1, -(2**63), False])
def test_a_context_of_no_tokens(model: sb.Model, n_ctx: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        model.session(n_ctx)


@pytest.mark.parametrize("n_ctx", [2**31, 2**40, 2**60, 2**63, 2**64, 10**40])
@pytest.mark.parametrize("cache_type", ["f16", "q8_0", "f32"])
def test_a_context_that_no_machine_holds(model: sb.Model, n_ctx: int, cache_type: Any) -> None:
    with pytest.raises((ResourceError, ValueError), match=rf"{n_ctx} tokens"):
        model.session(n_ctx, cache_type)


def test_memory_is_asked_for_before_it_is_taken(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subbyte.runtime.opened_model.available_memory", lambda: 1 << 20)
    with pytest.raises(ResourceError, match=r"100000 tokens needs 24 MiB, 1 MiB are free; ask for a smaller one"):
        model.session(100_000)
    with model.session() as session:
        assert model.plan.cache_bytes(session.n_ctx, "f16") <= 1 << 19


def test_any_context_where_memory_is_unknown(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subbyte.runtime.opened_model.available_memory", lambda: 2**62)
    for n_ctx in (2**31, 2**50, 2**53):
        with pytest.raises((ValueError, ResourceError)):
            model.session(n_ctx)


@pytest.mark.parametrize(
    "change", [{"n_ctx": 1.5}, {"n_ctx": "8"}, {"cache_type": "q4"}, {"activations": "int4"}], ids=str
)
def test_arguments_of_a_session(model: sb.Model, change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        model.session(**change)


@pytest.mark.parametrize("threads", [0, -1, 257, 1000, 2**40])
def test_a_number_of_threads_that_can_not_be(path: Path, threads: int) -> None:
    with pytest.raises(ValueError, match="allowed are 1 to 256"):
        sb.load(path, threads=threads)


def test_an_instruction_set_that_is_not_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="instruction set 'mmx' is unknown or not on this machine"):
        sb.load(path, isa="mmx")
    monkeypatch.setenv("SUBBYTE_ISA", "mmx")
    with pytest.raises(ValueError, match="'mmx' \\(from SUBBYTE_ISA\\)"):
        sb.load("no such model")  # found out before anything is fetched


def test_a_model_lets_go_of_its_file_at_once(path: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    gc.collect()
    before = mapped()
    gc.disable()
    try:
        model = sb.load(path)
        assert mapped() == before + 1
        model.close()
        del model
        assert mapped() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("leave", ["break", "error", "run", "with", "close", "chat"])
def test_a_generation_gives_its_memory_back_at_once(path: Path, leave: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is left, and without the garbage collector: a reference cycle used to keep model and cache."""
    watched: list[weakref.ref[Any]] = []
    new_sequence = Runner.new_sequence

    def watch(runner: Runner, *options: Any) -> Sequence:
        sequence = new_sequence(runner, *options)
        watched.extend([weakref.ref(runner), weakref.ref(sequence)])
        return sequence

    def use(model: sb.Model) -> sb.Generation | None:
        """What is still held of the answer."""
        if leave == "chat":
            next(model.chat(n_ctx=256).stream("the thing"))
            return None
        answer = model.generate("the thing", max_tokens=3, n_ctx=64)
        if leave == "error":
            with suppress(KeyboardInterrupt):
                next(answer)
                raise KeyboardInterrupt
        if leave == "run":
            answer.run()
        elif leave == "with":
            with answer:
                next(answer)
        else:
            for _ in answer:
                break
        if leave == "close":
            answer.close()
        return None if leave in ("break", "error") else answer

    monkeypatch.setattr(Runner, "new_sequence", watch)
    gc.collect()
    gc.disable()
    try:
        model = sb.load(path, threads=1)
        watched.append(weakref.ref(model.gguf))
        kept = use(model)
        del model
        assert len(watched) == 3 and [ref() for ref in watched] == [None] * 3
        assert kept is None or kept.reply.stop_reason in ("length", "cancelled", "eog")
    finally:
        gc.enable()


def test_a_file_rewritten_in_mid_step_is_told_as_that(path: Path, tmp_path: Path) -> None:
    """Not as damaged weights: what comes of half of the old and half of the new ones is often not finite."""
    shutil.copy(path, tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf", threads=1) as model:
        runner = model.runner(SessionOptions(8))
        with pytest.raises(NumericError), runner.unchanged():
            raise NumericError("the model's output is not finite")
        with pytest.raises(ModelChanged), runner.unchanged():
            os.utime(tmp_path / "m.gguf", (1, 1))
            raise NumericError("the model's output is not finite")


def test_memory_that_runs_out_in_a_step(model: sb.Model) -> None:
    with (
        pytest.raises(ResourceError, match="not enough memory to compute"),
        model.runner(SessionOptions(8)).unchanged(),
    ):
        raise MemoryError


def test_memory_that_runs_out_elsewhere(path: Path, model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Python can't allocate, a caller of the library gets an error of the library."""

    def fail(*_: object, **__: object) -> Any:
        raise MemoryError

    for where, call in {
        "subbyte.runtime.opened_model.Weights": lambda: sb.load(path),
        "subbyte.runtime.session.runner.Engine": lambda: model.session(8),
        "subbyte.runtime.tokenizer.tokenizer.Tokenizer.encode": lambda: model.tokenize("the"),
        "subbyte.runtime.scoring.continuations.Score": lambda: model.score("the thing"),
        "subbyte.runtime.generation.decoder.Decoder.evaluated": lambda: model.generate("the", n_ctx=32).run(),
        "subbyte.runtime.chat.chat_state.keep_cached_tokens": lambda: model.chat(n_ctx=64).send("the"),
        "subbyte.runtime.evaluation.corpus.read_corpus": lambda: sb.perplexity(model, TEXT, n_ctx=32),
        "subbyte.runtime.evaluation.perplexity.result_of": lambda: sb.perplexity(model, TEXT * 3, n_ctx=32),
        "subbyte.runtime.inspect.heatmap.chart": lambda: sb.heatmap(path),
        "subbyte.runtime.inspect.diff.compare_metadata": lambda: sb.diff(path, path),
    }.items():
        with monkeypatch.context() as patch, pytest.raises(ResourceError, match="not enough memory to"):
            patch.setattr(where, fail)
            call()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda how: how.__name__)
def test_handles_are_not_copied(model: sb.Model, session: Session, copied: Callable[[object], object]) -> None:
    session.eval([5])
    measurement = sb.PerplexityMeasurement([model], TEXT * 3, sb.EvalOptions(n_ctx=32))
    runner = model.runner(SessionOptions(8))
    others = [runner.new_sequence("f16"), model.generate([1], n_ctx=8)]
    for handle in (model, model.gguf, session, measurement, runner, *others):
        with pytest.raises(TypeError, match=f"a {type(handle).__name__} can't be copied or pickled: "):
            copied(handle)
    assert session.tokens == [5]


def test_the_library_is_silent(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={"extra.weight": np.zeros(4, np.float32)})
    code = "import subbyte, sys; subbyte.load(sys.argv[1]).template"  # a tensor not used, and no template
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.gguf")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_context_beyond_training_is_told(model: sb.Model, caplog: pytest.LogCaptureFixture) -> None:
    trained = model.info.n_ctx_train
    model.session(trained).close()
    assert not caplog.messages
    model.session(trained + 1).close()
    assert caplog.messages == [f"a context of {trained + 1} tokens; the model was trained for {trained}"]


@pytest.mark.parametrize(
    "tokens",
    [
        [], [-1], [N_VOCAB], [2**31], [2**32], [2**63], [2**64], [-(2**40)], [1.0], [1, 2.5], [True], [None], ["a"],
        [[1], [2]], [[1, 2], [3]], np.array([1.0]), np.array([[1]]), np.array([2**32]), np.array([], float),
        "abc", b"abc",
    ],
    ids=str,
)  # fmt: skip
def test_tokens_that_are_none(session: Session, tokens: Any) -> None:
    session.eval([5])
    for call in (lambda: session.eval(tokens), lambda: session.logprobs(tokens, [1])):
        with pytest.raises(ValueError):
            call()
        assert session.tokens == [5]


@pytest.mark.parametrize("tokens", [[1.0], [True], [None], ["a"], "abc", b"abc", 5, None], ids=str)
def test_what_is_no_token_id_is_a_type_error_that_names_the_argument(session: Session, tokens: Any) -> None:
    for name, call in {"tokens": session.eval, "targets": lambda ids: session.logprobs([1], ids)}.items():
        with pytest.raises(TypeError, match=f"^{name}: token ids "):
            call(tokens)


class Growing(list[Any]):
    """A sequence that is longer when it is walked than it says."""

    def __len__(self) -> int:
        return 1


class Grower:
    """An integer that makes the list it is in longer."""

    def __init__(self, tokens: list[Any]) -> None:
        self.tokens = tokens

    def __index__(self) -> int:
        self.tokens += [1] * 1000
        return 1


def test_tokens_that_become_more_while_they_are_read(model: sb.Model) -> None:
    tokens: list[Any] = []
    tokens += [Grower(tokens), 2]
    with model.session(64) as session:
        session.eval(tokens)
        session.eval(Growing([1, 2, 3]))
        assert session.n_past < 10


@pytest.mark.parametrize(
    "tokens", [(1, 2), np.array([1, 2]), np.array([1, 2], np.uint8), range(1, 3), np.array([9, 1, 2])[1:]]
)
def test_every_sequence_of_integers_is_welcome(session: Session, tokens: Any) -> None:
    expected = session.eval([1, 2])
    session.rewind(0)
    assert np.array_equal(session.eval(tokens), expected)
    assert session.tokens == [1, 2] and all(type(t) is int for t in session.tokens)


def test_logits_are_last_all_or_none(session: Session) -> None:
    with pytest.raises(ValueError, match="'last', 'all' and 'none'"):
        session.eval([1], "lots")  # type: ignore[call-overload]
    assert session.n_past == 0
    assert session.eval([1], "none") is None
    assert session.eval([1, 2], "all").shape == (2, N_VOCAB) and session.eval([1]).shape == (N_VOCAB,)


def test_the_context_overflows_before_anything_is_computed(session: Session) -> None:
    session.eval(TOKENS[:N_CTX])
    for n in (1, 2, 1000):
        with pytest.raises(ContextOverflow, match=rf"{N_CTX} \+ {n} tokens"):
            session.eval([1] * n)
    assert session.tokens == TOKENS[:N_CTX]


def test_a_context_of_one_token(model: sb.Model) -> None:
    with model.session(1) as session:
        session.eval([1])
        with pytest.raises(ContextOverflow):
            session.eval([1])


@pytest.mark.parametrize(
    ("first", "wanted"), [(-1, [1]), (3, [1]), (0, [1] * 4), (2**40, []), (0, [N_VOCAB]), (0, [-1]), (0, [0.5])]
)
def test_wanted_tokens_that_can_not_be(session: Session, first: int, wanted: list[Any]) -> None:
    with pytest.raises(ValueError):
        session.logprobs([1, 2, 3], wanted, first)
    assert session.n_past == 0


def test_no_wanted_tokens(session: Session) -> None:
    assert session.logprobs([1, 2, 3], []).shape == session.logprobs([1, 2, 3], [], 3).shape == (0,)
    assert session.n_past == 6


@pytest.mark.parametrize("n", [-1, 4, 2**63, 1.5, None])
def test_rewinding_to_where_nothing_is(session: Session, n: Any) -> None:
    session.eval([1, 2, 3])
    with pytest.raises((ValueError, TypeError)):
        session.rewind(n)
    assert session.tokens == [1, 2, 3]


@pytest.mark.parametrize(
    ("tokens", "n"), [([], 0), ([1], 0), ([1, 2], 1), ([1, 2, 3], 2), ([1, 2, 3, 4], 3), ([2], 0), ([1, 9, 3], 1)]
)
def test_reuse(session: Session, tokens: list[int], n: int) -> None:
    session.eval([1, 2, 3])
    assert session.reuse(tokens) == n and session.tokens == [1, 2, 3][:n]


# ---- life and death ----


def test_a_closed_session(model: sb.Model) -> None:
    session = model.session(8)
    session.eval([1])
    session.close()
    session.close()
    calls = [lambda: session.eval([1]), lambda: session.logprobs([1], [1])]
    for call in (*calls, lambda: session.rewind(0), lambda: session.reuse([1])):
        with pytest.raises(ValueError, match="session is closed"):
            call()


def test_a_closed_model(path: Path) -> None:
    model = sb.load(path)
    session = model.session(8)
    model.close()
    model.close()
    calls = [lambda: session.eval([1]), lambda: model.generate("a"), lambda: model.score("ab")]
    for call in (*calls, model.session, model.chat):
        with pytest.raises(SubbyteError, match="was closed; open it again"):
            call()
    session.close()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_session_and_an_answer_keep_what_they_need(path: Path) -> None:
    def start() -> Any:
        model = sb.load(path)
        return model.generate(TEXT, max_tokens=20, sampling=sb.Sampling(temperature=0))

    answer = start()
    with sb.load(path) as model:
        expected = model.generate(TEXT, max_tokens=20, sampling=sb.Sampling(temperature=0)).run()
    tokens = []
    for _ in answer:
        gc.collect()
        tokens = answer.tokens
    assert tuple(tokens) == expected.tokens


@pytest.mark.thorough
def test_a_thousand_sessions_leave_nothing_behind(model: sb.Model) -> None:
    def maps() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    for _ in range(20):
        model.session(N_CTX).eval([1])
    before = maps()
    for _ in range(1000):
        model.session(N_CTX).eval([1])
    assert maps() <= before + 2


# ---- threads and callbacks ----


def test_two_threads_on_one_session(session: Session) -> None:
    outcomes: list[str] = []

    def work(n: int) -> None:
        for _ in range(30):
            try:
                with_rewind = session.n_past > N_CTX - 20
                session.rewind(0) if with_rewind else session.eval([n] * 3)
                outcomes.append("done")
            except SessionBusy:
                outcomes.append("busy")
            except ContextOverflow:
                outcomes.append("full")

    run_all([lambda n=n: work(n) for n in range(4)])
    assert len(outcomes) == 120 and "done" in outcomes
    triples = [session.tokens[i : i + 3] for i in range(0, session.n_past, 3)]
    assert all(t == [t[0]] * 3 for t in triples)


def run_all(jobs: list[Callable[[], object]]) -> None:
    errors: list[BaseException] = []

    def guarded(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and not any(thread.is_alive() for thread in threads), errors


def test_sessions_in_threads_of_their_own_give_what_they_give_alone(model: sb.Model) -> None:
    def answer(i: int) -> tuple[int, ...]:
        sampling = sb.Sampling(temperature=1.0, seed=i)
        return model.generate(TOKENS[i : i + 20], max_tokens=30, sampling=sampling, n_ctx=64).run().tokens

    alone = [answer(i) for i in range(8)]
    together: dict[int, tuple[int, ...]] = {}
    run_all([lambda i=i: together.__setitem__(i, answer(i)) for i in range(8)])
    assert [together[i] for i in range(8)] == alone


def test_a_callback_can_not_enter_its_own_session(session: Session) -> None:
    def enter(done: int, total: int) -> None:
        for call in (lambda: session.eval([1]), lambda: session.rewind(0), session.close, lambda: session.reuse([1])):
            with pytest.raises(SessionBusy):
                call()

    session.eval([1, 2], on_progress=enter)
    assert session.tokens == [1, 2]


def test_a_callback_that_fails_leaves_whole_batches(model: sb.Model) -> None:
    with model.session(2000) as session:
        with pytest.raises(ZeroDivisionError):
            session.eval([1] * 1500, on_progress=lambda done, total: 1 // 0 if done > 600 else None)
        assert session.n_past == 1024
        session.eval([1] * 500)


# ---- the file ----


@pytest.fixture
def own(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


@pytest.mark.parametrize("size", [0, 1000, -1])
def test_a_file_that_was_cut(own: Path, size: int) -> None:
    with sb.load(own) as model, model.session(64) as session:
        session.eval(TOKENS[:3])
        os.truncate(own, size % own.stat().st_size)
        for call in (lambda: session.eval([1]), lambda: session.logprobs([1], [1]), model.session):
            with pytest.raises(ModelChanged, match="load it again"):
                call()
        assert session.tokens == TOKENS[:3]
        assert model.detokenize(model.tokenize("the thing")) == "the thing"
        assert model.info.name == "tiny llama" and len(model.metadata["tokenizer.ggml.tokens"]) == N_VOCAB


def test_a_file_that_is_cut_while_a_prompt_is_read(own: Path) -> None:
    with sb.load(own) as model, model.session(2000) as session:
        with pytest.raises(ModelChanged):
            session.eval([1] * 1500, on_progress=lambda done, total: os.truncate(own, 0))
        assert session.n_past == 512


CUT_DURING_A_STEP = """
import os, sys
import subbyte as sb
path, sound, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
with sb.load(path, threads=threads) as model, model.session(64) as session:
    session._opened()[0].check = lambda: os.truncate(path, 5000)  # after the look at the file, before the step
    for call in (lambda: session.eval([1]), lambda: session.eval(list(range(40))), lambda: session.logprobs([1], [1])):
        try:
            call()
        except sb.ModelChanged as error:
            print(error, flush=True)
    with sb.load(sound) as other, other.session(64) as session:
        session.eval([1])
"""
BUS_ERRORS = {
    "another file": "import mmap; f = open(path + 'x', 'wb+'); f.truncate(9000); m = mmap.mmap(f.fileno(), 9000); "
    "f.truncate(0); m[5000]",
    "another process": "os.kill(os.getpid(), 7)",
}


def run_python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_file_that_is_cut_during_a_step(own: Path, path: Path, threads: int) -> None:
    done = run_python(CUT_DURING_A_STEP, own, path, threads)
    assert done.returncode == 0, done
    assert done.stdout.count("load it again") == 3


@pytest.mark.parametrize("cause", BUS_ERRORS)
@pytest.mark.thorough
def test_a_bus_error_that_is_not_ours_ends_the_process_as_ever(cause: str, own: Path, path: Path) -> None:
    done = run_python(CUT_DURING_A_STEP + BUS_ERRORS[cause], own, path, 2)
    assert done.returncode == -signal.SIGBUS and done.stdout.count("load it again") == 3, done


def test_a_file_that_was_written_to(own: Path) -> None:
    with sb.load(own) as model, model.session(64) as session:
        with own.open("r+b") as file:
            file.seek(-8, 2)
            file.write(b"12345678")
        os.utime(own, ns=(1, 1))
        with pytest.raises(ModelChanged, match="in place"):
            session.eval([1])


def test_a_file_that_was_deleted_or_replaced_is_still_mapped(own: Path) -> None:
    with sb.load(own) as model, model.session(64) as session:
        expected = session.eval([1, 2])
        own.rename(own.with_name("old"))
        own.write_bytes(b"other")
        session.rewind(0)
        assert np.array_equal(session.eval([1, 2]), expected)


# ---- measurements ----


@pytest.mark.parametrize("change", [{"n_ctx": n} for n in (-1, 0, 1, 2, 3)] + [{"chunks": 0}, {"chunks": -1}], ids=str)
def test_perplexity_of_chunks_that_hold_nothing(model: sb.Model, change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"at least [14]"):
        sb.perplexity(model, TEXT, **{"n_ctx": 8, **change})


@pytest.mark.parametrize("text", ["", "\n", b"", "a", b"\xff\xfe\x00", "\ud800"])
def test_perplexity_of_a_text_that_is_too_short(model: sb.Model, text: str | bytes) -> None:
    with pytest.raises(ValueError, match="tokens, 8 are needed"):
        sb.perplexity(model, text, n_ctx=4)


@pytest.mark.parametrize("n_ctx", [4, 5, 7, 16])
def test_perplexity_of_small_and_odd_chunks(model: sb.Model, n_ctx: int) -> None:
    """The second half of each chunk is scored, as llama-perplexity does it: predictions n_ctx // 2 .. n_ctx - 2."""
    result = sb.perplexity(model, TEXT, n_ctx=n_ctx, chunks=3, cache_type="f32")
    tokens = model.tokenize(TEXT)
    nll: list[float] = []
    with model.session(n_ctx, "f32", "float32") as session:
        for i in range(3):
            chunk = tokens[i * n_ctx : (i + 1) * n_ctx]
            session.rewind(0)
            logits = session.eval(chunk, "all").astype(np.float64)
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            nll += [-logits[j, chunk[j + 1]] for j in range(n_ctx // 2, n_ctx - 1)]
    assert result.n_scored == len(nll) and abs(result.ppl / np.exp(np.mean(nll)) - 1) < 1e-4


def test_perplexity_of_bytes_that_are_no_text(model: sb.Model) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 400).astype(np.uint8).tobytes()
    assert np.isfinite(sb.perplexity(model, noise, n_ctx=16).ppl)


def test_perplexity_beyond_all_numbers(tmp_path: Path) -> None:
    head = np.random.default_rng(1).standard_normal((N_VOCAB, 64)).astype(np.float32) * 1e6
    write_model(tmp_path / "m.gguf", tensors={"output.weight": head})
    with sb.load(tmp_path / "m.gguf") as model:
        with pytest.raises(NumericError, match="its logits are far too large"):
            sb.perplexity(model, TEXT, n_ctx=8)


def test_a_score_without_a_first_token(model: sb.Model) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        model.score("")
    one = model.score("a")
    assert np.isnan(one.logprobs).all() and one.total == 0.0 and np.isnan(one.bits_per_byte)
    assert np.isfinite(model.score(b"\xff\xfe").logprobs[1:]).all()


def test_a_score_is_what_the_logits_say(model: sb.Model) -> None:
    score = model.score(TEXT)
    with model.session(len(score.tokens), activations="int8x2") as session:
        logits = session.eval(score.tokens, "all").astype(np.float64)
    logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(score.logprobs[1:], logprobs[range(len(logits) - 1), score.tokens[1:]], atol=1e-5)


def test_a_score_beyond_training(model: sb.Model) -> None:
    with pytest.raises(ContextOverflow, match=f"the model was trained for {model.info.n_ctx_train}"):
        model.score("\n" * (model.info.n_ctx_train + 1))


# ---- any order of calls ----


class AnyOrder(RuleBasedStateMachine):
    """A session beside the plain list of its tokens; what it computes is compared with a computation from the start."""

    model: sb.Model

    @initialize()
    def begin(self) -> None:
        self.session = self.model.session(N_CTX, "f32", checkpoint_bytes=3 * self.model.plan.state_bytes)
        self.tokens: list[int] = []

    def room(self) -> int:
        return N_CTX - len(self.tokens)

    def fresh(self) -> np.ndarray:
        with self.model.session(N_CTX, "f32") as session:
            return session.eval(self.tokens, "all")

    @precondition(lambda self: self.room() > 0)
    @rule(data=st.data(), logits=st.sampled_from(["last", "all", "none"]))
    def eval(self, data: st.DataObject, logits: Any) -> None:
        new = data.draw(st.lists(st.integers(0, N_VOCAB - 1), min_size=1, max_size=min(self.room(), 20)))
        result = self.session.eval(new, logits)
        self.tokens += new
        if result is not None:
            expected = self.fresh()[-1 if logits == "last" else slice(-len(new), None)]
            np.testing.assert_array_equal(result, expected)

    @precondition(lambda self: self.room() > 0)
    @rule(data=st.data())
    def logprobs(self, data: st.DataObject) -> None:
        new = data.draw(st.lists(st.integers(0, N_VOCAB - 1), min_size=1, max_size=min(self.room(), 20)))
        first = data.draw(st.integers(0, len(new)))
        wanted = data.draw(st.lists(st.integers(0, N_VOCAB - 1), max_size=len(new) - first))
        result = self.session.logprobs(new, wanted, first)
        at = len(self.tokens) + first
        self.tokens += new
        rows = self.fresh()[at : at + len(wanted)].astype(np.float64)
        expected = rows[np.arange(len(wanted)), wanted] - np.log(np.exp(rows).sum(-1)) if wanted else np.empty(0)
        np.testing.assert_allclose(result, expected, atol=1e-5)

    @rule(part=st.floats(0, 1))
    def rewind(self, part: float) -> None:
        n = int(part * len(self.tokens))
        self.session.rewind(n)
        del self.tokens[n:]

    @rule(part=st.floats(0, 1), new=st.lists(st.integers(0, N_VOCAB - 1), max_size=5))
    def reuse(self, part: float, new: list[int]) -> None:
        wanted = self.tokens[: int(part * len(self.tokens))] + new
        n = self.session.reuse(wanted)
        assert n <= max(len(wanted) - 1, 0) and wanted[:n] == self.tokens[:n]
        if not self.model.plan.state_bytes:  # else the last checkpoint before
            assert n in (len(self.tokens), max(len(wanted) - 1, 0)) or wanted[n] != self.tokens[n]
        del self.tokens[n:]

    @rule()
    def checkpoint(self) -> None:
        self.session.checkpoint()
        assert self.session.checkpoints.n_bytes <= self.session.checkpoints.max_bytes

    @rule()
    def fork(self) -> None:
        with self.session as session:
            self.session = session.fork()

    @rule()
    def save_and_load(self) -> None:
        path = self.model.path.with_suffix(".session")
        self.session.save(path, overwrite=True)
        saved = self.session.checkpoints.positions
        self.session.close()
        self.session = self.model.session(N_CTX, "f32", checkpoint_bytes=3 * self.model.plan.state_bytes)
        self.session.load(path)
        assert set(self.session.checkpoints.positions) <= set(saved)

    @rule()
    def refuse(self) -> None:
        for bad in ([0] * (self.room() + 1), [N_VOCAB], []):
            with pytest.raises((ContextOverflow, ValueError)):
                self.session.eval(bad)
        with pytest.raises(ValueError):
            self.session.rewind(len(self.tokens) + 1)

    @invariant()
    def holds_the_tokens(self) -> None:
        if hasattr(self, "session"):
            assert self.session.tokens == self.tokens and self.session.n_past == len(self.tokens)

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()


@pytest.mark.thorough
@pytest.mark.parametrize("arch", ["llama", "gemma4", "qwen35", "falcon-h1"])
def test_any_order_of_calls(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf", threads=2) as AnyOrder.model:
        run_state_machine_as_test(AnyOrder, settings=settings(max_examples=25, stateful_step_count=15))


def test_contexts_of_different_ropes_share_nothing(tmp_path: Path) -> None:
    """Phi-3's frequencies are others in caches of more than 32 positions: so are its keys."""
    write_model(tmp_path / "m.gguf", "phi3")
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as long, model.session(32) as short:
        expected = {session: session.eval(TOKENS[:20]) for session in (long, short)}
        assert not np.array_equal(*expected.values())
        with model.pin(TOKENS[:10]):  # of a long context, as sessions are where nothing is said
            for n_reused, session in ((10, long), (0, short)):
                session.rewind(0)
                assert session.reuse(TOKENS[:20]) == n_reused
                assert np.array_equal(session.eval(TOKENS[n_reused:20]), expected[session])
        long.save(tmp_path / "saved")
        with pytest.raises(SubbyteError, match="of long_ropes '1', this session is of '0'"):
            short.load(tmp_path / "saved")
