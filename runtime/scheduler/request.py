"""A request: one answer on its way through the scheduler, and the queue in which its events wait for whoever asked."""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator
from queue import SimpleQueue
from threading import Event as Flag
from typing import Protocol

from subbyte.errors import ResourceError
from subbyte.runtime.generation.decoder import Decoder
from subbyte.runtime.generation.events import Done, Event
from subbyte.runtime.generation.generation import Meter, Run
from subbyte.runtime.generation.waiter import Waiter
from subbyte.runtime.session.sequence import Sequence


class Request:
    """What the scheduler knows of an answer: its decoder, and the sequence that it has while it runs."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.meter = decoder, Meter()
        self.sequence: Sequence | None = None
        self.last_step = 0  # the last one that had tokens of it
        self.events: SimpleQueue[Event | BaseException | None] = SimpleQueue()  # None: the answer has ended
        self.waiter: Waiter | None = None  # to wake when there are events; None: they are waited for in the queue
        self.released = Flag()  # the scheduler has no more to do with it

    def release(self, error: BaseException | None = None) -> None:
        """The last that the scheduler does with it. error: why there is no more of the answer."""
        self.sequence = None
        self.released.set()
        self.events.put(error)


class Requests(Protocol):
    """A scheduler, as those who wait for its answers know it."""

    def cancelled(self, request: Request) -> None:
        """Tells it, from any thread, that the decoder was cancelled."""


class Ticket(Run):
    """The run of a request, for whoever asked. When nothing refers to it any more, the request is cancelled.

    A scheduler that nothing else refers to lives on until then.
    """

    def __init__(self, request: Request, scheduler: Requests) -> None:
        super().__init__(request.decoder, request.meter)
        self._request, self._scheduler, self._pid = request, scheduler, os.getpid()
        self._abandon = weakref.finalize(self, request.decoder.cancel)
        self._abandon.atexit = False

    def interrupt(self) -> None:
        """See `Run`."""
        self._scheduler.cancelled(self._request)

    def close(self) -> None:
        """See `Run`; waits until the scheduler has let it go, at the end of a step with others at the latest."""
        if os.getpid() == self._pid and not self._request.released.is_set():
            self.decoder.cancel()
            self.interrupt()
            self._request.released.wait()
        self.decoder.speculation = None  # a draft model's session goes with the last reference
        self.stop_reason = self.stop_reason or self.decoder.ended or "cancelled"

    def listen(self, waiter: Waiter) -> bool:
        """See `Run`. Whoever listens looks once by itself: what came before wakes nobody."""
        self._request.waiter = waiter
        return True

    def is_ready(self) -> bool:
        """See `Run`."""
        return self.stop_reason is not None or os.getpid() != self._pid or not self._request.events.empty()

    def events(self) -> Generator[Event, None, None]:
        """See `Run`."""
        try:
            while (event := self._next()) is not None:
                yield event
            self.stop_reason = self.decoder.ended
            yield Done(self.reply)
        finally:
            self.close()

    def _next(self) -> Event | None:
        if os.getpid() != self._pid:
            raise ResourceError(
                "this answer is made in the process that this one was forked from; ask for another here"
            )
        event = self._request.events.get()
        if isinstance(event, BaseException):
            raise event
        return event
