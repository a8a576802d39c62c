"""Errors of an API: an HTTP status, and what the client is told, from any error of the library."""

from __future__ import annotations

from typing import Any

from subbyte.errors import (
    ContextOverflow,
    ModelNotFound,
    QueueFull,
    ResourceError,
    SubbyteError,
    TemplateError,
    UnsupportedError,
)

RETRY_SECONDS = 2  # about what an answer of a small model takes


class ApiError(Exception):
    """What a client is told: an HTTP status, and type, param and code in OpenAI's words.

    param: the field of the request that is at fault. code: tells apart what a program may react to.
    """

    def __init__(
        self, status: int, message: str, *, type: str = "invalid_request_error", param: str | None = None,
        code: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.type, self.param, self.code = status, message, type, param, code

    @property
    def retry_after(self) -> int | None:
        """Seconds after which to ask again, where that helps."""
        return RETRY_SECONDS if self.status in (429, 503) else None

    def to_openai(self) -> dict[str, Any]:
        """The body that OpenAI's API sends (https://platform.openai.com/docs/guides/error-codes)."""
        message = self._with("this model's maximum context length is exceeded")
        return {"error": {"message": message, "type": self.type, "param": self.param, "code": self.code}}

    def to_anthropic(self) -> dict[str, Any]:
        """The body that Anthropic's API sends (https://docs.anthropic.com/en/api/errors)."""
        types = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        types |= {413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error"}
        usual = "api_error" if self.status >= 500 else "invalid_request_error"
        message = self._with("prompt is too long")
        return {"type": "error", "error": {"type": types.get(self.status, usual), "message": message}}

    def _with(self, too_long: str) -> str:
        """The message; where a prompt is too long, behind the words by which clients of that API know it."""
        return f"{too_long}: {self.message}" if self.code == "context_length_exceeded" else self.message


def api_error(error: BaseException) -> ApiError:
    """What a client is told of an error; nothing of one that is not the library's own but that there was one."""
    if isinstance(error, ApiError):
        return error
    message = str(error)
    if isinstance(error, QueueFull):
        return ApiError(429, message, type="rate_limit_error", code="queue_full")
    if isinstance(error, ContextOverflow):
        return ApiError(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, ModelNotFound):
        return ApiError(404, message, param="model", code="model_not_found")
    if isinstance(error, TemplateError | UnsupportedError):
        return ApiError(400, message, code="unsupported")
    if isinstance(error, ResourceError):
        return ApiError(503, message, type="server_error", code="out_of_resources")
    if isinstance(error, SubbyteError):
        return ApiError(500, message, type="server_error")
    if isinstance(error, ValueError):  # arguments that the library refuses, before anything is computed
        return ApiError(400, message)
    return ApiError(500, f"internal error, {type(error).__name__}; the server's log has more", type="server_error")
