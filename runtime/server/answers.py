"""Answers over HTTP: generations to a response of JSON or of server-sent events, which ends when the client goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from subbyte.errors import QueueFull
from subbyte.runtime.api.errors import ApiError, api_error
from subbyte.runtime.api.serving import Start
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.generation.events import Done, Event, Reply
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.server.responses import error_response, json_response
from subbyte.runtime.server.settings import ServerSettings
from subbyte.runtime.tools.call import ToolCall

QUEUE_SECONDS = 0.1  # after which a full queue is tried again
TICK = b": still at work\n\n"  # a comment, which clients pass over

_log = logging.getLogger("subbyte")


class Answers:
    """The answers to one request, so many of them at a time. ends_with_call: the first call ends an answer."""

    def __init__(self, starts: Sequence[Start], n_at_once: int, ends_with_call: bool) -> None:
        self._starts, self._n_at_once, self._ends_with_call = starts, n_at_once, ends_with_call
        self.begun: dict[int, Generation] = {}

    async def begin(self) -> None:
        """Begins the first ones. Raises what that raises, and then none goes on."""
        try:
            for index, start in enumerate(self._starts[: self._n_at_once]):
                self.begun[index] = await run_in_threadpool(start)
        except BaseException:
            self.cancel()
            raise

    async def events(self, tick_seconds: float) -> AsyncGenerator[tuple[int, Event] | None, None]:
        """The events as they come, each with its answer's index, and None after so long without one.

        Raises what an answer raises, or the beginning of one of the later ones, and ApiError where the server has ended
        one. Closing it ends all answers.
        """
        coming: asyncio.Queue[tuple[int, Event] | Exception | None] = asyncio.Queue(1)  # a slow reader is waited for
        indices = iter(range(len(self._starts)))
        n = min(self._n_at_once, len(self._starts))
        workers = [asyncio.create_task(self._take(indices, coming)) for _ in range(n)]
        workers.append(asyncio.create_task(_tick(coming, tick_seconds)))
        n_left = len(self._starts)
        try:
            while n_left:
                found = await coming.get()
                if isinstance(found, Exception):
                    raise found
                if found is not None and isinstance(found[1], Done):
                    self._check_end(found[1].reply)
                    n_left -= 1
                yield found
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _take(self, indices: Iterator[int], coming: asyncio.Queue[Any]) -> None:
        """Takes the events of one answer after the other."""
        try:
            for index in indices:
                if index not in self.begun:
                    self.begun[index] = await self._begun_later(self._starts[index])
                answer, ended = self.begun[index], False
                async with aclosing(answer.astream()) as events:
                    async for event in events:
                        if ended and not isinstance(event, Done):  # it was made before the answer was cancelled
                            continue
                        await coming.put((index, event))
                        if self._ends_with_call and isinstance(event, ToolCall):
                            answer.cancel()
                            ended = True
        except Exception as error:
            await coming.put(error)

    async def _begun_later(self, start: Start) -> Generation:
        """Begins one of the later ones, which waits until the queue has room: its request was taken on."""
        while True:
            try:
                return await run_in_threadpool(start)
            except QueueFull:
                await asyncio.sleep(QUEUE_SECONDS)

    def _check_end(self, reply: Reply) -> None:
        if reply.stop_reason == "cancelled" and not (self._ends_with_call and reply.tool_calls):
            raise ApiError(503, "the answer was ended: the server is shutting down", type="server_error")

    def cancel(self) -> None:
        """Ends all answers, within a step."""
        for answer in self.begun.values():
            answer.cancel()


async def _tick(coming: asyncio.Queue[Any], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        if coming.empty():
            await coming.put(None)


class Answer(Response):
    """The response to a request for answers. finished: called at its end, with the error that ended it if one did.

    Where the client goes away, or is cut off since it does not read, the answers are cancelled, so that their slots are
    free within a step. A stream has a comment each `tick_seconds` in which there is nothing else.
    """

    def __init__(
        self, wire: WireAnswer, answers: Answers, settings: ServerSettings, path: str, *,
        stream: bool, finished: Callable[[ApiError | None], Awaitable[None]],
    ) -> None:  # fmt: skip
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies pass on what comes, as it comes
        super().__init__(media_type="text/event-stream", headers=headers)
        del self.headers["content-length"]
        self._wire, self._answers, self._settings, self._path = wire, answers, settings, path
        self._stream, self._finished = stream, finished
        self._error: ApiError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response; ends with it, or when the client has gone."""
        sent = self._send_events(send) if self._stream else self._send_whole(scope, receive, send)
        sending = asyncio.create_task(sent)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            results = await asyncio.gather(sending, gone, return_exceptions=True)
            await self._finished(self._error)
        if isinstance(results[0], Exception):
            _log.warning("a response was not sent: %s", results[0])

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._answers.events(self._settings.timeout)) as events:
                async for event in events:
                    for _ in self._wire.add(*event) if event else ():
                        pass
            response = json_response(self._wire.whole())
        except Exception as error:
            response = error_response(self._failed(error), self._path)
        await response(scope, receive, send)

    async def _send_events(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        """The stream's bytes, all that one event makes as one piece."""
        yield _bytes(self._wire.opened())
        try:
            async with aclosing(self._answers.events(self._settings.tick_seconds)) as events:
                async for event in events:
                    if piece := _bytes(self._wire.add(*event)) if event else _bytes(self._wire.alive()) or TICK:
                        yield piece
            yield _bytes(self._wire.closed())
        except Exception as error:
            yield _bytes(self._wire.failed(self._failed(error)))

    def _failed(self, error: Exception) -> ApiError:
        self._error = api_error(error)
        if self._error.status == 500:
            _log.error("an answer failed: %s", error, exc_info=error)
        return self._error


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has gone; what it still sends is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _bytes(events: Iterable[Sent]) -> bytes:
    """Server-sent events as they go over the wire (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    written = b""
    for data, name in events:
        text = data.encode() if isinstance(data, str) else msgspec.json.encode(data)
        written += (b"" if name is None else f"event: {name}\n".encode()) + b"data: " + text + b"\n\n"
    return written
