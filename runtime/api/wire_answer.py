"""How an API tells answers: as a stream of server-sent events, and whole, from the same events of generations."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.serving import Start
from subbyte.runtime.generation.events import Event


class Sent(NamedTuple):
    """A server-sent event: its data, an object or a text as it is, and its name where the API names events."""

    data: dict[str, Any] | str
    name: str | None = None


class WireAnswer(ABC):
    """The answers to one request, in the words of one API; `index` counts them where a request asks for several.

    Every event goes through `add`, streamed or not: `whole` is what they add up to. ends_with_call: an answer has at
    most one call, and ends with it.
    """

    ends_with_call = False

    def __init__(self, model: str, prefix: str) -> None:
        self.model, self.id, self.created = model, f"{prefix}{secrets.token_hex(12)}", int(time.time())

    @abstractmethod
    def starts(self) -> Sequence[Start]:
        """What begins the answers, by index."""

    @abstractmethod
    def opened(self) -> Iterable[Sent]:
        """What comes before the first event."""

    @abstractmethod
    def add(self, index: int, event: Event) -> Iterable[Sent]:
        """Takes an event; what of it is sent at once."""

    def alive(self) -> Iterable[Sent]:
        """What is sent when nothing has come for a while; if nothing is, a comment that clients pass over."""
        return ()

    @abstractmethod
    def closed(self) -> Iterable[Sent]:
        """What comes behind the last event of all answers."""

    @abstractmethod
    def failed(self, error: ApiError) -> Iterable[Sent]:
        """What comes in place of the rest."""

    @abstractmethod
    def whole(self) -> dict[str, Any]:
        """The whole answers, once all have ended."""
