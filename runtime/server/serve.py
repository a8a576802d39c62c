"""Listening: uvicorn with the application, bounded where it is not by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from subbyte.errors import ResourceError
from subbyte.runtime.server.app import application
from subbyte.runtime.server.models import ModelPool
from subbyte.runtime.server.settings import ServerSettings
from subbyte.runtime.server.state import ServerState
from subbyte.runtime.text import quoted

MAX_CONNECTIONS = 512
GRACE = 3  # seconds for answers to end, once the server is told to


class _Protocol(H11Protocol):
    """HTTP/1.1, but for clients that connect and then send no request, or one byte of it now and then."""

    seconds = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._first = self.loop.call_later(self.seconds, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._first.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


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
        ended_by = asyncio.run(_serve(pool, settings, listener, ready, log))
    if ended_by is not None:
        signal.raise_signal(ended_by)  # as if the loop had not been there to hear it


async def _serve(
    pool: ModelPool, settings: ServerSettings, listener: socket.socket, ready: Callable[[int], object], log: bool
) -> int | None:
    """Serves until a signal comes, and returns that."""
    async with pool.use(""):
        pass
    state = ServerState(pool, settings)
    config = uvicorn.Config(
        application(state), http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=log,
        server_header=False, limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    ready(listener.getsockname()[1])
    server = _Server(config, state)
    try:
        await server.serve(sockets=[listener])
    finally:
        await pool.close()
    return server.ended_by


class _Server(uvicorn.Server):
    """A uvicorn server that signals end as they end any part of the command line. ended_by: the first of them."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state
        self.ended_by: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`: within, a signal asks it to end."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in caught:
            loop.add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _end(self, number: int) -> None:
        self.ended_by = self.ended_by or number
        self._state.end()
        self.handle_exit(number, None)
