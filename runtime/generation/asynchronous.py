"""Answers for an event loop: the events of a generation as an asynchronous generator."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol

from subbyte.runtime.generation.events import Event, StopReason
from subbyte.runtime.generation.waiter import Waiter


class Answer(Protocol):
    """A generation, as far as it is needed here."""

    @property
    def stop_reason(self) -> StopReason | None: ...
    def __next__(self) -> Event: ...
    def listen(self, waiter: Waiter, /) -> bool: ...
    def is_ready(self) -> bool: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


async def stream_events(begin: Callable[[], Answer], *, begun: bool = False) -> AsyncGenerator[Event, None]:
    """Begins an answer in a thread, and gives its events; the event loop waits for none of them.

    begun: it is there by now, so that no thread is needed for that.
    Those of a scheduler's answer wake the loop, once a step for all answers in it. A session's are made in a thread of
    the answer's own. Closing the generator (`aclose`), leaving it to the loop's end, or cancelling the task that awaits
    it cancels the answer, within some 50 ms also in the middle of a step that is its own, and closes it before that is
    done.
    """
    loop = asyncio.get_running_loop()
    beginning: asyncio.Future[Answer] = loop.create_future()
    if begun:
        beginning.set_result(begin())
    else:
        beginning = loop.run_in_executor(None, begin)
    worker: ThreadPoolExecutor | None = None
    try:
        answer = await asyncio.shield(beginning)
        waiter = Waiter(loop)
        if not answer.listen(waiter):
            worker = ThreadPoolExecutor(1, "subbyte-answer")
        while True:
            if worker is not None:
                event = await loop.run_in_executor(worker, _next, answer)
            else:
                while not answer.is_ready():
                    await waiter.wait()
                event = _next(answer)
            if event is None:
                break
            yield event
    finally:
        await asyncio.shield(loop.create_task(_close(beginning, worker)))


def _next(answer: Answer) -> Event | None:
    try:
        return answer.__next__()
    except StopIteration:
        return None


async def _close(beginning: asyncio.Future[Answer], worker: Executor | None) -> None:
    """Ends an answer once it has begun, and waits for that in a thread."""
    try:
        answer = await beginning
    except Exception:  # whoever waited for it was told
        return
    if answer.stop_reason is None:
        answer.cancel()
        await asyncio.get_running_loop().run_in_executor(worker, answer.close)
    if worker is not None:
        worker.shutdown(wait=False)
