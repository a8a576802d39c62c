"""Listening: uvicorn with the application, bounded where it is not by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from subbyte.errors import ResourceError
from subbyte.runtime.server.app import application
from subbyte.runtime.server.connection import IDLE_SECONDS, MAX_HEADERS, connection_class
from subbyte.runtime.server.models import ModelPool
from subbyte.runtime.server.settings import ServerSettings
from subbyte.runtime.server.state import ServerState
from subbyte.runtime.text import quoted

MAX_CONNECTIONS = 512
GRACE = 2  # seconds for answers to end, once the server is told to


def run_server(pool: ModelPool, settings: ServerSettings, ready: Callable[[int], object], *, log: bool) -> None:
    """Serves until Ctrl-C or SIGTERM; the first model is loaded before the server is ready. Errors as loading has them.

    ready: called with the port once it is. log: whether each request is told in uvicorn's log.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        found = f"can't listen at port {settings.port} of {quoted(settings.host, 80)}: {reason}"
        raise ResourceError(f"{found}; give another --port or --host") from None
    with listener:
        server = Server(ServerState(pool, settings), log=log)
        asyncio.run(server.listen(listener, ready))
    if server.ended_by is not None:
        signal.raise_signal(server.ended_by)  # as if the loop had not been there to hear it


class Server(uvicorn.Server):
    """A server that ends as any part of the command line does, by signals where it has the main thread.

    ended_by: the first signal. log: whether each request is told in uvicorn's log.
    """

    def __init__(self, state: ServerState, *, log: bool = False) -> None:
        self.state, settings = state, state.settings
        self.ended_by: int | None = None
        config = uvicorn.Config(
            application(state), http=connection_class(settings.body_seconds, settings.write_seconds), ws="none",
            lifespan="off", log_config=None, access_log=log, server_header=False, limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE, timeout_keep_alive=IDLE_SECONDS, h11_max_incomplete_event_size=MAX_HEADERS,
        )  # fmt: skip
        super().__init__(config)

    async def listen(self, listener: socket.socket, ready: Callable[[int], object]) -> None:
        """Loads the first model, and serves until `end` is called, or a signal comes. ready: called with the port."""
        async with self.state.pool.use(""):
            pass
        ready(listener.getsockname()[1])
        try:
            await self.serve(sockets=[listener])
        finally:
            await self.state.pool.close()

    def end(self) -> None:
        """Ends all answers, and the server; to be called by its own thread."""
        self.state.end()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`: within, a signal asks it to end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in caught:
            loop.add_signal_handler(number, self._hear, number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _hear(self, number: int) -> None:
        self.ended_by = self.ended_by or number
        self.force_exit = self.should_exit and number == signal.SIGINT  # asked twice
        self.end()
