"""Responses: JSON, and errors in the form of the API that was asked."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from subbyte.runtime.api.errors import ApiError


def json_bytes(body: Any) -> bytes:
    """JSON as it is sent."""
    return msgspec.json.encode(body)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON."""
    return Response(json_bytes(body), status, headers, "application/json")


def error_response(error: ApiError, path: str) -> Response:
    """The response to a request that failed, in the words of the API that the path belongs to."""
    body = error.to_anthropic() if path.startswith("/v1/messages") else error.to_openai()
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, error.status, headers)
