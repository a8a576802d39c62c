"""HTTP/1.1 on a connection: uvicorn's, bounded in time where it is not by itself, and with errors in OpenAI's form."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.server.responses import json_bytes

IDLE_SECONDS = 30  # that a connection is kept for the next request
MAX_HEADERS = 64 << 10  # bytes


class Connection(H11Protocol):
    """A client's connection; see `connection_class` for its times.

    It is cut where a request's headers, or a body that is not wanted any more, do not end in time, and where the client
    does not read what waits for it.
    """

    read_seconds, write_seconds = 30.0, 60.0
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`; the first request is waited for. Small pieces are sent at once."""
        super().connection_made(transport)
        # asyncio does so itself for sockets that were made with this protocol's number alone
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. Uvicorn's own timer ends with the first byte of a request; then this one runs."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_headers()
        else:  # a request is being answered; who reads its body sees to the time
            self._end_reading()

    def on_response_complete(self) -> None:
        """See `H11Protocol`. What is left of the request's body is passed over, for as long as headers may take."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()
        elif self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:  # of the next request, if not whole
            self._await_headers()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client does not read as fast as there is something."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._end_writing()
        if self.transport.is_closing():  # with something left
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        """See `H11Protocol`."""
        super().timeout_keep_alive_handler()
        self._await_reader()

    def shutdown(self) -> None:
        """See `H11Protocol`: the server ends. Whoever still sends a request, or does not read, is not waited for."""
        super().shutdown()
        if self.flow.write_paused or (self.cycle is not None and self.cycle.more_body):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end_reading()
        self._end_writing()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, if no response has begun, and ends the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json_bytes(ApiError(400, f"this is no HTTP: {msg}").to_openai())
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._await_reader()

    def _await_headers(self) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(self.read_seconds, self.transport.abort)

    def _await_reader(self) -> None:
        if self._writing is None:
            self._writing = self.loop.call_later(self.write_seconds, self.transport.abort)

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = None

    def _end_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
        self._writing = None


def connection_class(read_seconds: float, write_seconds: float) -> type[Connection]:
    """Connections with these times.

    read_seconds: in which a request's headers must be whole, and the rest of a body that was refused must have come.
    write_seconds: in which the client must read some of what waits for it.
    """
    return type("Connection", (Connection,), {"read_seconds": read_seconds, "write_seconds": write_seconds})
