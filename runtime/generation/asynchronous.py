"""Answers for an event loop: the events of a generation as an asynchronous generator."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from subbyte.runtime.generation.events import Event


class Answer(Protocol):
    """A generation, as far as it is needed here."""

    def __next__(self) -> Event: ...
    def __iter__(self) -> Iterator[Event]: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


async def stream_events(begin: Callable[[], Answer]) -> AsyncGenerator[Event, None]:
    """Begins an answer, and takes its events, in a thread of its own, so that the event loop never waits.

    Closing the generator (`aclose`), leaving it to the loop's end, or cancelling the task that awaits it cancels the
    answer, within some 50 ms also in the middle of a step that is its own, and closes it before that is done.
    """
    loop = asyncio.get_running_loop()
    worker = ThreadPoolExecutor(1, "subbyte-answer")
    begun: list[Answer] = []

    def next_event() -> Event | None:
        if not begun:
            begun.append(begin())
        return next(begun[0], None)

    def close() -> None:
        for answer in begun:
            answer.close()

    try:
        while (event := await loop.run_in_executor(worker, next_event)) is not None:
            yield event
    finally:
        for answer in begun:
            answer.cancel()
        closed = loop.run_in_executor(worker, close)
        worker.shutdown(wait=False)
        await asyncio.shield(closed)
