"""Responses: JSON, errors in the form of the API that was asked, and bodies of requests, bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.server.settings import ServerSettings


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON."""
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def error_response(error: ApiError, path: str) -> Response:
    """The response to a request that failed, in the words of the API that the path belongs to."""
    body = error.to_anthropic() if path.startswith("/v1/messages") else error.to_openai()
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, error.status, headers)


async def read_fields(request: Request, settings: ServerSettings) -> Fields:
    """The JSON object in a request's body. Raises ApiError for one that is too large, too slow, or no such thing."""
    try:
        body = await asyncio.wait_for(_read(request, settings.max_body), settings.body_seconds)
    except asyncio.TimeoutError:
        raise ApiError(408, f"the request did not arrive within {settings.body_seconds:g} s") from None
    except ClientDisconnect:
        raise ApiError(400, "the request was cut off") from None
    try:
        return Fields.of(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the request is no JSON: {str(error)[:200]}") from None


async def _read(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise ApiError(413, f"the request has more than {limit} bytes, which is as many as this server takes")
        parts.append(part)
    return b"".join(parts)
