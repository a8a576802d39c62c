"""The server as an ASGI application: its routes."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from subbyte.runtime.api.anthropic_messages import AnthropicMessage
from subbyte.runtime.api.anthropic_request import read_messages_request
from subbyte.runtime.api.chat_completions import ChatCompletion, read_chat_request
from subbyte.runtime.api.completions import TextCompletion, read_completion_request
from subbyte.runtime.api.errors import ApiError, api_error
from subbyte.runtime.api.responses import ResponsesAnswer
from subbyte.runtime.api.responses_request import read_responses_request
from subbyte.runtime.server.answers import Answer
from subbyte.runtime.server.guard import guarded
from subbyte.runtime.server.responses import error_response
from subbyte.runtime.server.state import ServerState
from subbyte.runtime.server.status import StatusEndpoints
from subbyte.runtime.server.texts import TextEndpoints

Endpoint = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("subbyte")


def application(state: ServerState) -> ASGIApp:
    """The application that serves the models of a state, behind its guard."""
    status, texts, answers = StatusEndpoints(state), TextEndpoints(state), AnswerEndpoints(state)
    get: dict[str, Endpoint] = {
        "/": status.page, "/v1/models": status.models, "/v1/models/{model:path}": status.model,
        "/health": status.health, "/slots": status.slots, "/metrics": status.metrics,
        "/tokenizer_info": texts.tokenizer_info,
    }  # fmt: skip
    post: dict[str, Endpoint] = {
        "/v1/chat/completions": answers.chat_completions, "/v1/completions": answers.completions,
        "/v1/responses": answers.responses, "/v1/messages": answers.messages,
        "/v1/messages/count_tokens": texts.count_tokens, "/v1/embeddings": texts.embeddings,
        "/tokenize": texts.tokenize, "/detokenize": texts.detokenize, "/apply-template": texts.apply_template,
    }  # fmt: skip
    routes = [Route(path, _told(state, path, endpoint), methods=["GET"]) for path, endpoint in get.items()]
    routes += [Route(path, _told(state, path, endpoint), methods=["POST"]) for path, endpoint in post.items()]

    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route})
    return guarded(app, state.settings)


class AnswerEndpoints:
    """What a model answers, in the words of each API."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def chat_completions(self, request: Request) -> Response:
        """OpenAI's chat completions."""
        return await self._state.answer(request, read_chat_request, ChatCompletion)

    async def completions(self, request: Request) -> Response:
        """OpenAI's completions of raw text."""
        return await self._state.answer(request, read_completion_request, TextCompletion)

    async def responses(self, request: Request) -> Response:
        """OpenAI's responses."""
        return await self._state.answer(request, read_responses_request, ResponsesAnswer)

    async def messages(self, request: Request) -> Response:
        """Anthropic's messages."""
        return await self._state.answer(request, read_messages_request, AnthropicMessage)


def _told(state: ServerState, path: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose errors become responses; each response is counted, those of answers once they were sent."""

    async def respond(request: Request) -> Response:
        began = time.monotonic()
        try:
            response = await endpoint(request)
        except Exception as error:
            told = api_error(error)
            if told.status == 500:
                _log.error("%s failed: %s", path, error, exc_info=error)
            response = error_response(told, path)
        if not isinstance(response, Answer):
            state.metrics.request(path, response.status_code, began)
        return response

    return respond


async def _no_such_route(request: Request, error: Exception) -> Response:
    """A path that there is not, or not by this method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} is not for {request.url.path}" if error.status_code == 405 else "there is no such path"
    told = ApiError(error.status_code, f"{what}; docs/serving.md lists what there is")
    response = error_response(told, request.url.path)
    response.headers.update(error.headers or {})
    return response
