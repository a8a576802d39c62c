"""The scheduler: every answer is that of its prompt alone, whoever else is served, and nobody waits too long."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import QueueFull, ResourceError
from subbyte.runtime.scheduler import loop as loop_module
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence as TokenSequence

GREEDY = sb.Sampling(temperature=0)
N_CTX = 160
# Attention, a sliding window, shared keys, experts, latent attention, recurrent states of each kind.
ARCHITECTURES = ("llama", "gemma3", "gemma4", "qwen3moe", "deepseek2", "qwen35", "lfm2", "falcon-h1")


def prompt(i: int, n: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(i).integers(0, N_VOCAB, n)]


def sampled(seed: int) -> sb.Sampling:
    return sb.Sampling(temperature=1.0, top_k=20, repeat_penalty=1.1, seed=seed)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=N_CTX)
    return path


@pytest.fixture
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=1) as model:
        yield model


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_answers_are_those_of_each_alone(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, context_length=N_CTX)
    prompts = [prompt(i, n) for i, n in enumerate([3, 90, 1, 40, 17, 100, 64, 9])]
    prompts += [prompts[1][:70], [*prompts[1], *prompts[2]], prompts[5]]  # what others have begun with
    with sb.load(tmp_path / "m.gguf", threads=2) as model:
        for n_parallel in (1, 3, 8):
            with model.scheduler(n_parallel=n_parallel, n_ctx=N_CTX) as scheduler:
                answers = [
                    model.generate(ids, max_tokens=12, sampling=sampled(i), scheduler=scheduler)
                    for i, ids in enumerate(prompts)
                ]
                replies = [answer.run() for answer in answers]
            if n_parallel == 1:
                alone = [
                    model.generate(ids, max_tokens=12, sampling=sampled(i), n_ctx=N_CTX).run()
                    for i, ids in enumerate(prompts)
                ]
            for reply, expected in zip(replies, alone, strict=True):
                assert (reply.tokens, reply.text, reply.stop_reason) == (
                    expected.tokens, expected.text, expected.stop_reason
                )  # fmt: skip


def test_each_step_has_all_answers_and_a_piece_of_prompts(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the longest gap between two tokens of an answer is a step with a piece of a prompt."""
    steps: list[dict[int, int]] = []
    step = Runner.step

    def watched(self: Runner, segments: list[Segment], targets: None = None) -> object:
        steps.append({id(segment.sequence): len(segment.tokens) for segment in segments})
        return step(self, segments, targets)

    monkeypatch.setattr(Runner, "step", watched)
    monkeypatch.setattr(loop_module, "LONGEST_STEP", 0.0)
    with model.scheduler(n_parallel=4, n_ctx=N_CTX) as scheduler:
        answers = [
            model.generate(prompt(i, n), scheduler=scheduler, draft=None) for i, n in enumerate((5, 80, 90, 100))
        ]
        for answer in answers:
            answer.run()
    for sizes in steps:
        if 1 in sizes.values():
            assert sum(n for n in sizes.values() if n > 1) <= 2 * loop_module.MIN_PIECE
    first = {key: next(i for i, sizes in enumerate(steps) if sizes.get(key) == 1) for s in steps for key in s}
    last = {key: max(i for i, sizes in enumerate(steps) if key in sizes) for s in steps for key in s}
    for key in first:
        assert all(key in steps[i] for i in range(first[key], last[key] + 1))


def test_little_memory_queues_and_takes_back(model: sb.Model) -> None:
    """Answers that had to go back are computed again to the same tokens."""
    one = model.plan.cache_bytes(N_CTX, "f16")
    prompts = [prompt(i, 40) for i in range(6)]
    alone = [model.generate(ids, sampling=sampled(i), n_ctx=N_CTX).run().tokens for i, ids in enumerate(prompts)]
    with pytest.raises(ValueError, match="allow as much, or ask for a smaller n_ctx"):
        model.scheduler(n_ctx=N_CTX, max_bytes=one - 1)
    with model.scheduler(n_ctx=N_CTX, max_bytes=one * 3 // 2) as scheduler:
        most = 0
        answers = [model.generate(p, sampling=sampled(i), scheduler=scheduler) for i, p in enumerate(prompts)]
        for answer, expected in zip(answers, alone, strict=True):
            for _ in answer:
                most = max(most, scheduler.use.n_bytes)
            assert answer.reply.tokens == expected
        assert 0 < most <= scheduler.use.max_bytes


def test_a_queue_has_an_end(model: sb.Model) -> None:
    with model.scheduler(n_parallel=1, n_waiting=2, n_ctx=N_CTX) as scheduler:
        answers = []
        with pytest.raises(QueueFull, match="as many as may; ask again later"):
            for i in range(100):
                answers.append(model.generate(prompt(i, 100), scheduler=scheduler))
        assert 2 <= len(answers) < 100
        assert all(answer.run().stop_reason for answer in answers)
        assert model.generate([1, 2], max_tokens=2, scheduler=scheduler).run().usage.completion <= 2


def held(go_on: threading.Event, n: int) -> Callable[[np.ndarray, Sequence[int]], None]:
    """A processor at which an answer waits once there are n tokens, so that it can't be over before it is stopped."""

    def wait(_: np.ndarray, tokens: Sequence[int]) -> None:
        if len(tokens) >= n:
            assert go_on.wait(60)

    return wait


def test_cancelled_late_and_left_answers(model: sb.Model) -> None:
    endless, go_on = sb.Sampling(temperature=0, ignore_eos=True), threading.Event()
    options = {"sampling": endless, "processors": [held(go_on, 10)]}
    with model.scheduler(n_parallel=2, n_ctx=N_CTX) as scheduler:
        answer = model.generate([1, 2, 3], scheduler=scheduler, **options)  # type: ignore[arg-type]
        for n, _ in enumerate(answer):
            if n == 4:
                answer.cancel()
                go_on.set()
        assert answer.stop_reason == "cancelled" and 0 < len(answer.tokens) < N_CTX - 3
        late = model.generate(prompt(1, 100), sampling=endless, timeout=0.0, scheduler=scheduler).run()
        assert (late.stop_reason, late.tokens) == ("timeout", ())
        assert model.generate(prompt(1, 100), timeout=0.0, n_ctx=N_CTX).run().stop_reason == "timeout"
        go_on.clear()
        with model.generate([4, 5], scheduler=scheduler, **options) as left:  # type: ignore[arg-type]
            next(left)
            left.cancel()
            go_on.set()
        assert left.stop_reason == "cancelled"


def test_abandoned_answers_make_way_and_closed_schedulers_end_all(model: sb.Model) -> None:
    endless, go_on = sb.Sampling(temperature=0, ignore_eos=True), threading.Event()
    scheduler = model.scheduler(n_parallel=2, n_ctx=N_CTX)
    abandoned = [model.generate([i], sampling=endless, scheduler=scheduler) for i in range(4)]
    next(abandoned[0])
    del abandoned
    gc.collect()
    last = model.generate([7], sampling=endless, scheduler=scheduler)
    assert len(last.run().tokens) == N_CTX - 1 + 1  # all that fit; it came to its turn
    running = model.generate([8], sampling=endless, processors=[held(go_on, 10)], scheduler=scheduler)
    threading.Timer(0.05, go_on.set).start()
    scheduler.close()
    scheduler.close()
    assert running.run().stop_reason == "cancelled"
    with pytest.raises(ValueError, match="scheduler is closed"):
        model.generate([1], scheduler=scheduler)


def test_a_scheduler_that_is_forgotten_ends_with_its_answers(model: sb.Model) -> None:
    before = set(threading.enumerate())
    answer = model.generate([1, 2], max_tokens=5, scheduler=model.scheduler(n_ctx=N_CTX))
    gc.collect()
    assert answer.run().stop_reason in ("length", "eog")
    del answer
    gc.collect()
    deadline = time.monotonic() + 60
    while any(thread.name == "subbyte-scheduler" for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_only_its_own_model(model: sb.Model, path: Path) -> None:
    with sb.load(path) as other, other.scheduler(n_ctx=N_CTX) as scheduler:
        with pytest.raises(ValueError, match="one of another model"):
            model.generate([1], scheduler=scheduler)
        with pytest.raises(TypeError, match="scheduler"):
            model.generate([1], scheduler="theirs")  # type: ignore[arg-type]


def test_a_model_that_fails_fails_all_and_the_next_as_well(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(path.read_bytes())
    with sb.load(copy, threads=1) as model, model.scheduler(n_ctx=N_CTX) as scheduler:
        answers = [model.generate([i, 2], scheduler=scheduler, draft=None) for i in range(3)]
        os.truncate(copy, 1000)
        for answer in answers:
            with pytest.raises(sb.ModelChanged):
                answer.run()
        late = model.generate([1], scheduler=scheduler)
        with pytest.raises(sb.ModelChanged):
            late.run()


def test_a_forked_process_is_told(model: sb.Model) -> None:
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        answer = model.generate([1, 2], scheduler=scheduler)
        child = os.fork()
        if not child:
            try:
                for attempt in (answer.run, lambda: model.generate([3], scheduler=scheduler)):
                    try:
                        attempt()
                    except ResourceError as error:
                        assert "forked" in str(error)
                    else:
                        os._exit(1)
                answer.close()
                scheduler.close()
            except BaseException:
                os._exit(2)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert answer.run().stop_reason


def test_a_chat_goes_on_from_what_it_has_computed(model: sb.Model) -> None:
    def talk(scheduler: sb.Scheduler | None) -> list[sb.Reply]:
        with model.chat(sampling=GREEDY, max_tokens=4, n_ctx=N_CTX, scheduler=scheduler, activations="int8") as chat:
            replies = [chat.send("the thing"), chat.send("and another"), chat.regenerate().run()]
            chat.undo()
            return [*replies, chat.continue_answer().run()]

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        found, alone = talk(scheduler), talk(None)
    for reply, expected in zip(found, alone, strict=True):
        assert (reply.text, reply.tokens, reply.stop_reason) == (expected.text, expected.tokens, expected.stop_reason)
        assert reply.usage.prompt == expected.usage.prompt and reply.usage.reused >= expected.usage.reused


def test_forks_of_a_chat_go_their_own_ways(model: sb.Model) -> None:
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        for host in (None, scheduler):
            with model.chat(sampling=GREEDY, max_tokens=3, n_ctx=N_CTX, system="on", scheduler=host) as chat:
                chat.send("the thing")
                with chat.fork() as fork:
                    assert fork.messages == chat.messages and fork.settings == chat.settings
                    reply, other = chat.send("and"), fork.send("and")
                    assert other.text == reply.text and min(other.usage.reused, reply.usage.reused) > 0
                    fork.send("in")
                    assert len(fork.messages) == 6 and len(chat.messages) == 4


def test_a_chat_in_an_event_loop(model: sb.Model) -> None:
    async def main() -> None:
        with model.scheduler(n_ctx=N_CTX) as scheduler:
            with model.chat(sampling=GREEDY, max_tokens=20, scheduler=scheduler) as chat:
                events = [event async for event in chat.astream("the thing")]
                assert isinstance(events[-1], sb.Done) and chat.messages[1].content == events[-1].reply.text
                stream = chat.astream("and")
                await anext(stream)
                await stream.aclose()
                assert chat.last is not None and chat.last.stop_reason in ("cancelled", "length")  # if it was quick

    asyncio.run(main())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_a_processor_raises_ends_its_own_answer(model: sb.Model, error: type[BaseException]) -> None:
    def fail(logits: np.ndarray, tokens: Sequence[int]) -> None:
        if len(tokens) > 5:
            raise error("mine")

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        others = [model.generate([i, 2], max_tokens=20, sampling=GREEDY, scheduler=scheduler) for i in range(3)]
        answer = model.generate([1, 2], processors=[fail], sampling=GREEDY, scheduler=scheduler)
        with pytest.raises(error, match="mine"):
            answer.run()
        assert len(answer.tokens) <= 4
        for i, other in enumerate(others):
            alone = model.generate([i, 2], max_tokens=20, sampling=GREEDY, n_ctx=N_CTX).run()
            assert other.run().tokens == alone.tokens


def test_no_memory_for_a_sequence_is_an_error_of_its_answer(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        with monkeypatch.context() as context:
            context.setattr(TokenSequence, "reuse", Mock(side_effect=MemoryError))
            with pytest.raises(ResourceError, match="not enough memory"):
                model.generate([1, 2], scheduler=scheduler).run()
        assert model.generate([1, 2], max_tokens=2, scheduler=scheduler).run().stop_reason
        assert scheduler.use.n_running == 0
