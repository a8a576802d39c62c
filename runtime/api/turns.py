"""Turns of a conversation, put together of what the newer APIs give apart: texts, reasoning, calls, results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from subbyte.runtime.chat.messages import Message, checked_messages


@dataclass
class Turn:
    """One message in the making. tool_call_id: the call whose result it is."""

    role: Any
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    tool_call_id: str | None = None

    def extend(self, other: Turn) -> None:
        """Adds what another one has."""
        self.texts += other.texts
        self.thoughts += other.thoughts
        self.calls += other.calls

    def to_row(self) -> dict[str, Any]:
        """The message as `checked_messages` takes it."""
        row = {"role": self.role, "content": "\n\n".join(self.texts), "thinking": "\n\n".join(self.thoughts)}
        return {**row, "tool_calls": self.calls, "tool_call_id": self.tool_call_id}


def messages_of(turns: Iterable[Turn]) -> list[Message]:
    """The messages that turns stand for. Raises ValueError as `checked_messages`."""
    return checked_messages(turn.to_row() for turn in turns)
