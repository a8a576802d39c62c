"""What the store tells of a conversation: a line of the list, its messages with when and by what, its branches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.chat.messages import Message
from subbyte.runtime.records import Record

_BEFORE, _EXCERPT = 30, 120  # characters of a hit: before the word, and in all


@dataclass(frozen=True, slots=True)
class Conversation(Record):
    """A conversation as lists show it.

    first: its first words. model, path, settings: what it is held with now, `model` as the user wrote it.
    created, changed: seconds since 1970. n_messages: of the branch in use. fork_of: the name of what it is a copy of.
    """

    id: int
    name: str
    first: str
    model: str
    path: str
    settings: Mapping[str, Any]
    created: float
    changed: float
    n_messages: int
    fork_of: str | None


@dataclass(frozen=True, slots=True)
class KeptMessage(Record):
    """A message, when it was kept (seconds since 1970), the model then and its settings.

    id: its place in the store.
    """

    id: int
    message: Message
    time: float
    model: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Branch(Record):
    """A way through a conversation, from its first message to one that nothing follows.

    head: the id of that. question: the last one of the user. answer: what stands behind that, "" for nothing. in_use:
    whether the conversation goes on there.
    """

    head: int
    n_messages: int
    question: str
    answer: str
    time: float
    in_use: bool


@dataclass(frozen=True, slots=True)
class Hit(Record):
    """A conversation that has the words looked for, and one of the messages with them."""

    conversation: Conversation
    role: str
    content: str
    time: float

    def excerpt(self, words: Sequence[str]) -> str:
        """The text around the first of the words that is found as it is written, its beginning where none is."""
        places = [place for word in words if (place := self.content.lower().find(word.lower())) >= 0]
        begin = max(min(places, default=0) - _BEFORE, 0)
        end = begin + _EXCERPT
        return f"{'…' if begin else ''}{self.content[begin:end]}{'…' if end < len(self.content) else ''}"
