"""Answers in an event loop: the same events, and whatever ends the waiting ends the computation."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterator

import numpy as np
import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb

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


def test_an_error_comes_to_who_awaits(model: sb.Model) -> None:
    def fail(logits: np.ndarray, tokens: object) -> None:
        raise RuntimeError("mine")

    generation = model.generate([1], processors=[fail], n_ctx=8)
    with pytest.raises(RuntimeError, match="mine"):
        asyncio.run(collect(generation.astream()))


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
