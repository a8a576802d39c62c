"""Answers in an event loop: the same events, and whatever ends the waiting ends the computation."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import ResourceError

N_CTX = 2000
GREEDY = sb.Sampling(temperature=0, ignore_eos=True)
LONG = [int(t) for t in np.random.default_rng(1).integers(0, N_VOCAB, N_CTX - 10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=N_CTX)
    with sb.load(path, threads=1, isa="scalar") as model:
        yield model


@pytest.fixture(params=[False, True], ids=["session", "scheduler"])
def scheduler(request: pytest.FixtureRequest, model: sb.Model) -> Iterator[sb.Scheduler | None]:
    if not request.param:
        yield None
        return
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        yield scheduler


def answer(model: sb.Model, prompt: list[int], n: int, scheduler: sb.Scheduler | None) -> sb.Generation:
    return model.generate(prompt, max_tokens=n, sampling=GREEDY, n_ctx=N_CTX, scheduler=scheduler)


async def collect(events: AsyncGenerator[sb.Event, None]) -> list[sb.Event]:
    return [event async for event in events]


def test_the_same_events(model: sb.Model, scheduler: sb.Scheduler | None) -> None:
    async def main() -> list[list[sb.Event]]:
        return await asyncio.gather(*(collect(answer(model, [i, 5, 7], 6, scheduler).astream()) for i in range(5)))

    for i, events in enumerate(asyncio.run(main())):
        expected = list(answer(model, [i, 5, 7], 6, None))
        assert [e for e in events if not isinstance(e, sb.Done)] == expected[:-1]
        assert isinstance(done := events[-1], sb.Done) and done.reply.text == expected[-1].reply.text  # type: ignore[union-attr]


def test_the_loop_goes_on_meanwhile(model: sb.Model, scheduler: sb.Scheduler | None) -> None:
    async def main() -> None:
        ticks = 0
        task = asyncio.create_task(collect(answer(model, LONG[:300], 3, scheduler).astream()))
        while not task.done():
            await asyncio.sleep(0)
            ticks += 1
        assert ticks > 10 and isinstance(task.result()[-1], sb.Done)

    asyncio.run(main())


@pytest.mark.parametrize("way", ["cancel the task", "time out", "close", "leave"])
def test_who_stops_waiting_stops_the_answer(model: sb.Model, scheduler: sb.Scheduler | None, way: str) -> None:
    generation = answer(model, LONG, 5, scheduler)

    async def leave() -> None:
        async for _ in generation.astream():
            break

    async def main() -> None:
        events = generation.astream()
        if way == "close":
            await anext(events)
            await events.aclose()
        elif way == "leave":
            await leave()
            gc.collect()
            await asyncio.get_running_loop().shutdown_asyncgens()
        elif way == "time out":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(collect(events), 0.05)
        else:
            task = asyncio.create_task(collect(events))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert generation.stop_reason == "cancelled" and not generation.tokens
    assert next(generation, None) is None


def test_an_error_comes_to_who_awaits(model: sb.Model, scheduler: sb.Scheduler | None) -> None:
    def fail(logits: np.ndarray, tokens: object) -> None:
        raise RuntimeError("mine")

    generation = model.generate([1], processors=[fail], n_ctx=8, scheduler=scheduler)
    with pytest.raises(RuntimeError, match="mine"):
        asyncio.run(collect(generation.astream()))
    with model.chat(n_ctx=N_CTX, scheduler=scheduler) as chat, pytest.raises(sb.ContextOverflow):
        asyncio.run(collect(chat.astream("the " * N_CTX)))


def test_a_chat_that_is_left_while_its_answer_begins(model: sb.Model, scheduler: sb.Scheduler | None) -> None:
    async def main(chat: sb.Chat) -> None:
        task = asyncio.create_task(collect(chat.astream("the thing")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with model.chat(n_ctx=N_CTX, sampling=GREEDY, scheduler=scheduler) as chat:
        asyncio.run(main(chat))
        assert chat.last is not None and chat.last.stop_reason == "cancelled"


def test_no_thread_and_no_wake_up_for_each_of_many_answers(model: sb.Model) -> None:
    n, n_tokens = 8, 30

    async def main(scheduler: sb.Scheduler) -> tuple[int, list[list[sb.Event]]]:
        loop = asyncio.get_running_loop()
        woken, call = 0, loop.call_soon_threadsafe
        names: set[str] = set()

        def count(*args: Any, **more: Any) -> Any:
            nonlocal woken
            woken += 1
            names.update(thread.name.rstrip("0123456789_") for thread in threading.enumerate())
            return call(*args, **more)

        loop.call_soon_threadsafe = count  # type: ignore[method-assign]
        found = await asyncio.gather(
            *(collect(answer(model, [i, 5, 7], n_tokens, scheduler).astream()) for i in range(n))
        )
        assert "subbyte-scheduler" in names and "subbyte-answer" not in names
        return woken, found

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        woken, found = asyncio.run(main(scheduler))
    assert sum(map(len, found)) > 2 * woken


def test_who_is_slow_gets_all_and_holds_nobody_up(model: sb.Model) -> None:
    async def slow(events: AsyncGenerator[sb.Event, None], others: asyncio.Task[list[sb.Event]]) -> list[sb.Event]:
        found = [await anext(events)]
        await others
        return found + [event async for event in events]

    async def main(scheduler: sb.Scheduler) -> list[sb.Event]:
        late = answer(model, [1, 5, 7], 40, scheduler)
        others = asyncio.create_task(collect(answer(model, [2, 5, 7], 40, scheduler).astream()))
        return await slow(late.astream(), others)

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        events = asyncio.run(main(scheduler))
    assert events[:-1] == list(answer(model, [1, 5, 7], 40, None))[:-1]


def test_an_answer_begun_by_hand_goes_on_in_a_loop(model: sb.Model, scheduler: sb.Scheduler | None) -> None:
    expected = list(answer(model, [3, 4], 9, None))
    generation = answer(model, [3, 4], 9, scheduler)
    events = [next(generation), next(generation), *asyncio.run(collect(generation.astream()))]
    assert events[:-1] == expected[:-1] and asyncio.run(collect(generation.astream())) == []


def test_loops_in_several_threads(model: sb.Model) -> None:
    found: dict[int, tuple[int, ...]] = {}

    def run(i: int) -> None:
        done = asyncio.run(collect(answer(model, [i, 5], 20, scheduler).astream()))[-1]
        assert isinstance(done, sb.Done)
        found[i] = done.reply.tokens

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {i: answer(model, [i, 5], 20, None).run().tokens for i in range(6)}


def abandon(generation: sb.Generation) -> None:
    """Begins to collect an answer, and closes the event loop around it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    events = generation.astream()
    loop.run_until_complete(anext(events))
    task = loop.create_task(collect(events))
    loop.run_until_complete(asyncio.sleep(0.05))
    assert not task.done()
    loop.close()


@pytest.mark.filterwarnings("ignore")  # asyncio's, of a task that was never ended
def test_a_loop_that_was_closed_around_an_answer(model: sb.Model) -> None:
    """It is cancelled when nothing refers to it any more, and the others go on."""
    closed, decoders = threading.Event(), []

    def hold(_: np.ndarray, tokens: Sequence[int]) -> None:
        deadline = time.monotonic() + 30
        while len(tokens) == 10 and not closed.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)
        while len(tokens) == 20 and not decoders[0]._cancelled and time.monotonic() < deadline:
            time.sleep(0.001)

    with model.scheduler(n_ctx=N_CTX) as scheduler:
        generation = model.generate([1, 2], sampling=GREEDY, processors=[hold], scheduler=scheduler, draft=None)
        decoders.append(generation._decoder)
        abandon(generation)
        del generation
        closed.set()
        while decoders[0].ended is None:
            gc.collect()
        assert decoders[0].ended == "cancelled" and len(decoders[0].tokens) < 20
        assert len(answer(model, [1], 3, scheduler).run().tokens) == 3


def test_a_forked_process_is_told(model: sb.Model) -> None:
    with model.scheduler(n_ctx=N_CTX) as scheduler:
        generation = answer(model, [1, 2], 3, scheduler)
        child = os.fork()
        if not child:
            try:
                asyncio.run(collect(generation.astream()))
            except ResourceError as error:
                os._exit(0 if "forked" in str(error) else 1)
            except BaseException:
                os._exit(2)
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert generation.run().stop_reason


def test_many_prompts_at_once(model: sb.Model) -> None:
    prompts: list[str | list[int]] = ["the thing", [1, 2, 3], "in", [5]]
    progress: list[tuple[int, int]] = []
    replies = model.generate_batch(
        prompts, max_tokens=5, sampling=GREEDY, n_parallel=2, n_ctx=64, on_progress=lambda *p: progress.append(p)
    )
    assert progress == [(i + 1, 4) for i in range(4)]
    for prompt, reply in zip(prompts, replies, strict=True):
        assert reply.tokens == model.generate(prompt, max_tokens=5, sampling=GREEDY, n_ctx=64).run().tokens
    assert model.generate_batch([]) == []
    with pytest.raises(sb.ContextOverflow):
        model.generate_batch(["the", [1] * 100], n_ctx=64)
    with pytest.raises(ZeroDivisionError):
        model.generate_batch(["the"], n_ctx=64, max_tokens=1, on_progress=lambda done, total: done // 0)
