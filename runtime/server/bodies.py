"""Bodies of requests: JSON objects, bounded in size, in time, in what they are as Python objects, and together."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import ClientDisconnect, Request

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.server.settings import ServerSettings

AT_ONCE = 16  # bodies of full size that may arrive at the same time; or any number of smaller ones
MAX_VALUES = 1 << 21  # in a body: small ones take twenty times as much memory as their text


class Bodies:
    """The bodies that arrive at a server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._n_arriving = 0  # bytes

    async def read(self, request: Request) -> Fields:
        """The JSON object in a request's body. Raises ApiError for one that is too large or slow, or no such thing."""
        if int(request.headers.get("content-length", 0)) > self._settings.max_body:
            raise self._too_large()
        seconds = self._settings.body_seconds
        try:
            body = await asyncio.wait_for(self._read(request), seconds)
        except asyncio.TimeoutError:
            raise ApiError(408, f"the request did not arrive within {seconds:g} s") from None
        except ClientDisconnect:
            raise ApiError(400, "the request was cut off") from None
        if len(body) > MAX_VALUES and sum(map(body.count, (b",", b":", b"[", b"{"))) > MAX_VALUES:
            raise ApiError(413, f"the request has more than {MAX_VALUES} values, which is as many as this server takes")
        try:
            return Fields.of(msgspec.json.decode(body))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ApiError(400, f"the request is no JSON: {str(error)[:200]}") from None

    async def _read(self, request: Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                self._n_arriving += len(part)
                if size > self._settings.max_body:
                    raise self._too_large()
                if self._n_arriving > AT_ONCE * self._settings.max_body:
                    raise ApiError(503, "too many large requests arrive; ask again later", type="server_error")
                parts.append(part)
            return b"".join(parts)
        finally:
            self._n_arriving -= size

    def _too_large(self) -> ApiError:
        limit = self._settings.max_body
        return ApiError(413, f"the request has more than {limit} bytes, which is as many as this server takes")
