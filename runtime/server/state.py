"""What the endpoints share: settings, models, figures, and the requests that are being answered."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from starlette.requests import Request

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.serving import Serving
from subbyte.runtime.api.wire_answer import WireAnswer
from subbyte.runtime.server.answers import Answer, Answers
from subbyte.runtime.server.bodies import Bodies
from subbyte.runtime.server.metrics import Metrics
from subbyte.runtime.server.models import ModelPool, ServedModel
from subbyte.runtime.server.settings import ServerSettings


class AnswerRequest(Protocol):
    """A request for answers, of any API, as it was read."""

    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...


R = TypeVar("R", bound=AnswerRequest)


@dataclass(frozen=True)
class Active:
    """A request that is being answered. began: by `time.monotonic`."""

    id: int
    model: str
    path: str
    answers: Answers
    began: float = field(default_factory=time.monotonic)


class ServerState:
    """One server: its models, its figures, and what it is doing."""

    def __init__(self, pool: ModelPool, settings: ServerSettings) -> None:
        self.pool, self.settings, self.metrics = pool, settings, Metrics(pool)
        self.active: dict[int, Active] = {}
        self.ending = False
        self._ids = itertools.count(1)
        self._bodies = Bodies(settings)

    def end(self) -> None:
        """Ends all answers, each within a step, and refuses new requests for any."""
        self.ending = True
        for active in self.active.values():
            active.answers.cancel()

    async def fields(self, request: Request) -> Fields:
        """The JSON object in a request's body."""
        return await self._bodies.read(request)

    @asynccontextmanager
    async def model(self, fields: Fields) -> AsyncIterator[ServedModel]:
        """The model that a request names, open within."""
        async with self.pool.use(fields.text("model") or "") as served:
            yield served

    async def answer(
        self, request: Request, read: Callable[[Fields], R], wire: Callable[[R, Serving, str], WireAnswer]
    ) -> Answer:
        """The response to a request for answers: begun here, so that what is refused has its status, and sent later.

        read: what the request asks for. wire: how its API begins and tells the answers.
        """
        began, path = time.monotonic(), request.url.path
        asked = read(await self.fields(request))
        self._check_open()
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(self.pool.use(asked.model))
            told = wire(asked, served.serving, asked.model or served.name)
            answers = Answers(told.starts(), self.settings.n_parallel, told.ends_with_call)
            await answers.begin()
            stack.callback(answers.cancel)
            self._check_open()
            active = Active(next(self._ids), served.name, path, answers, began)
            self.active[active.id] = active
            held = stack.pop_all()

        async def finished(error: ApiError | None) -> None:
            del self.active[active.id]
            self.metrics.request(path, 200 if error is None else error.status, began)
            self.metrics.answers(served.name, [answer.reply for answer in answers.begun.values()])
            await held.aclose()

        return Answer(told, answers, self.settings, path, stream=asked.stream, finished=finished)

    def _check_open(self) -> None:
        if self.ending:
            raise ApiError(503, "the server is shutting down", type="server_error")
