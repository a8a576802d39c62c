"""Waiting in an event loop for events that another thread puts into a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes its time to be imported
    import asyncio
    from collections.abc import Iterable


class Waiter:
    """One who waits for events of an answer in an event loop. `wake_all` wakes it, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._woken: asyncio.Future[None] | None = None

    def wait(self) -> asyncio.Future[None]:
        """What is done when there may be events. Asked for in the loop, once it has found none."""
        self._woken = self.loop.create_future()
        return self._woken

    def wake(self) -> None:
        """Ends its wait, if it waits. In the loop only."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def forget(self) -> None:
        """Lets go of who waits, when its loop is closed: the answer ends with the last reference to it."""
        self._woken = None


def wake_all(waiters: Iterable[Waiter]) -> None:
    """Wakes them from another thread: each event loop once, however many wait in it.

    A wake-up is a byte in the loop's pipe. One that was closed is passed over.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        by_loop.setdefault(waiter.loop, []).append(waiter)
    for loop, those in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake_each, those)
        except RuntimeError:  # it was closed
            for waiter in those:
                waiter.forget()


def _wake_each(waiters: list[Waiter]) -> None:
    for waiter in waiters:
        waiter.wake()
