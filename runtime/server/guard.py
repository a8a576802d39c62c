"""What a request must pass before the server looks into it: its Host, its Origin, and its API key.

A page in a browser can send requests to a server on the same machine: with its own Origin, or, where its name was
rebound to 127.0.0.1, with its own Host. So both must be known ones.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.server.responses import error_response
from subbyte.runtime.server.settings import ServerSettings, is_loopback
from subbyte.runtime.text import quoted

LOOPBACK_ORIGIN = r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
WITHOUT_KEY = ("/", "/health")  # the page asks for the key itself

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware that refuses requests, with 401 or 403, before anything of their body is read."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        self._keys = tuple(key.encode() for key in settings.api_keys)
        self._hosts = frozenset(name.lower() for name in (*settings.hosts, settings.host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request pass, or answers it."""
        if scope["type"] == "http":
            try:
                self._check(scope["path"], Headers(scope=scope))
            except ApiError as error:
                await error_response(error, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        self._check_host(headers.get("host", ""))
        if (origin := headers.get("origin")) is not None:
            self._check_origin(origin, headers.get("host", ""))
        if self._keys and path not in WITHOUT_KEY and not self._has_key(headers):
            message = "no valid API key: send one as `Authorization: Bearer KEY` or `x-api-key: KEY`"
            raise ApiError(401, message, code="invalid_api_key")

    def _check_host(self, host: str) -> None:
        name = host_of(host)
        if is_loopback(name) or name in self._hosts or self._hosts & {"*", "0.0.0.0", "::"}:
            return
        message = f"Host is {quoted(host, 80)}, which is none of this server's names; allow it with --allow-host"
        raise ApiError(403, message, code="host_not_allowed")

    def _check_origin(self, origin: str, host: str) -> None:
        allowed = self._settings.origins
        if "*" in allowed or origin in allowed or urlsplit(origin).netloc.lower() == host.lower():
            return
        if is_loopback(host_of(urlsplit(origin).netloc)):
            return
        message = f"Origin is {quoted(origin, 80)}: pages from there may not ask; allow it with --allow-origin"
        raise ApiError(403, message, code="origin_not_allowed")

    def _has_key(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("x-api-key", "")
        found = [hmac.compare_digest(given.encode(), key) for key in self._keys]  # all, so that time tells nothing
        return any(found)


def host_of(netloc: str) -> str:
    """The name in a Host header, without its port."""
    name, _, port = netloc.rpartition(":")
    return (name if name and port.isdigit() else netloc).strip("[]").lower()


def guarded(app: ASGIApp, settings: ServerSettings) -> ASGIApp:
    """The application behind its guard; to preflight requests of allowed origins it answers without a key."""
    everywhere = "*" in settings.origins
    return CORSMiddleware(
        Guard(app, settings),
        allow_origins=["*"] if everywhere else list(settings.origins),
        allow_origin_regex=None if everywhere else LOOPBACK_ORIGIN,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        max_age=600,
    )
