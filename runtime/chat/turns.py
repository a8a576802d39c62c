"""Turns of a conversation: a question with all that answers it, which is forgotten together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from subbyte.runtime.chat.messages import Message
from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class Forgotten(Record):
    """What a conversation has left out of its prompts by now: turns, and the prompt's tokens that were saved by it."""

    turns: int = 0
    tokens: int = 0

    def __add__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(self.turns + other.turns, self.tokens + other.tokens)

    def __sub__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(self.turns - other.turns, self.tokens - other.tokens)


def remembered(messages: Sequence[Message]) -> list[Message]:
    """The messages that the model is shown: those of the last turn, and all others that were not forgotten."""
    last = (_turns(messages) or [[0]])[-1][0]
    return [message for i, message in enumerate(messages) if i >= last or not message.forgotten]


def forgettable(messages: Sequence[Message]) -> list[list[int]]:
    """The turns that may still be forgotten, oldest first, as indices of their messages.

    The last turn is none of them, nor is one with a pinned message; system texts within the conversation stay, too.
    """
    turns = _turns(messages)[:-1]
    return [turn for turn in turns if not any(messages[i].pinned or messages[i].forgotten for i in turn)]


def forget(messages: Sequence[Message], n_turns: int) -> list[Message]:
    """The messages, those of the oldest n_turns that may be forgotten marked as such."""
    gone = {i for turn in forgettable(messages)[:n_turns] for i in turn}
    return [replace(message, forgotten=True) if i in gone else message for i, message in enumerate(messages)]


def pin(messages: Sequence[Message], index: int, *, pinned: bool) -> list[Message]:
    """The messages, the turn of messages[index] pinned or not."""
    turn = next((turn for turn in _turns(messages) if index in turn), [index])
    return [replace(message, pinned=pinned) if i in turn[:1] else message for i, message in enumerate(messages)]


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """Indices of each turn's messages: from one message of the user up to the next, but for system texts."""
    turns: list[list[int]] = []
    for i, message in enumerate(messages):
        if message.role in ("system", "developer"):
            continue
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(i)
    return turns
