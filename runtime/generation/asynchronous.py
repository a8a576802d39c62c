"""Answers for an event loop: the events of a generation as an asynchronous generator."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from subbyte.runtime.generation.events import Event
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.waiter import Waiter


async def stream_events(begin: Generation | Callable[[], Generation]) -> AsyncGenerator[Event, None]:
    """The events of an answer, or of one that is begun in a thread first; the event loop waits for none of them.

    Those of a scheduler's answer wake the loop, once a step for all answers in it. A session's are made in a thread of
    the answer's own. Closing the generator (`aclose`), leaving it to the loop's end, or cancelling the task that awaits
    it cancels the answer, within some 50 ms also in the middle of a step that is its own, and closes it before that is
    done.
    """
    loop = asyncio.get_running_loop()
    beginning: asyncio.Future[Generation] = loop.create_future()
    if isinstance(begin, Generation):
        beginning.set_result(begin)
    else:
        beginning = loop.run_in_executor(None, begin)
    worker: ThreadPoolExecutor | None = None
    try:
        answer = await asyncio.shield(beginning)
        waiter, run = Waiter(loop), answer._run
        if not run.listen(waiter):
            worker = ThreadPoolExecutor(1, "subbyte-answer")
        while True:
            if worker is not None:
                event = await loop.run_in_executor(worker, next, answer, None)
            else:
                while not run.is_ready():
                    await waiter.wait()
                event = next(answer, None)
            if event is None:
                break
            yield event
    finally:
        await asyncio.shield(loop.create_task(_close(beginning, worker)))


async def _close(beginning: asyncio.Future[Generation], worker: Executor | None) -> None:
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
