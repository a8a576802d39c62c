"""The client of the measurements: requests of JSON over HTTP, answers streamed or whole, in an event loop.

It does as little as it can, since it shares the processors with the server that it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Response:
    """The status of a response, its headers by their names in lower case, and what is left to read of it."""

    status: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader

    async def body(self) -> bytes:
        """All of it. Raises EOFError if it is cut off."""
        if "content-length" in self.headers:
            return await self.reader.readexactly(int(self.headers["content-length"]))
        return await self.reader.read()

    async def events(self) -> AsyncIterator[Any]:
        """The objects of a stream, to its end. Raises EOFError where it ends without [DONE]."""
        async for line in self.reader:
            if line.startswith(b"data: "):  # the others tell the sizes of chunks
                if line[6:].strip() == b"[DONE]":
                    return
                yield json.loads(line[6:])
        raise EOFError("the stream ended without [DONE]")


@asynccontextmanager
async def request(url: str, body: Any | bytes, *, limit: int = 1 << 20) -> AsyncIterator[Response]:
    """The response to a POST of JSON, or of bytes as they are, over a connection of its own.

    Leaving the block closes the connection, whatever is left. limit: bytes that are read ahead.
    """
    where = urlsplit(url)
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=limit)
    try:
        head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(written)}\r\n\r\n"
        writer.write(head.encode() + written)
        await writer.drain()
        status = await reader.readline()
        if not status:
            raise EOFError("the connection ended without a response")
        headers = {}
        while (line := (await reader.readline()).decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        yield Response(int(status.split()[1]), headers, reader)
    finally:
        writer.close()


@dataclass(frozen=True)
class Timed:
    """A streamed answer: when it was asked for, and when its tokens came, in seconds of `time.perf_counter`."""

    asked: float
    came: tuple[float, ...]
    text: str

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.came[0] - self.asked

    @property
    def each(self) -> float:
        """Seconds a token, of those behind the first."""
        return (self.came[-1] - self.came[0]) / max(len(self.came) - 1, 1)


async def timed_chat(url: str, prompt: str, max_tokens: int) -> Timed:
    """A greedy answer to a question, streamed. Raises EOFError for one that fails."""
    body = {
        "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": max_tokens,
        "stream": True,
    }  # fmt: skip
    asked = time.perf_counter()
    came: list[float] = []
    text = ""
    async with request(f"{url}/v1/chat/completions", body) as response:
        if response.status != 200:
            raise EOFError(f"status {response.status}: {(await response.body())[:200]!r}")
        async for event in response.events():
            if "error" in event:
                raise EOFError(f"the stream failed: {event['error']}")
            if event["choices"] and (piece := event["choices"][0]["delta"].get("content")):
                came.append(time.perf_counter())
                text += piece
    if len(came) < 2:
        raise EOFError(f"the answer has {len(came)} tokens")
    return Timed(asked, tuple(came), text)
