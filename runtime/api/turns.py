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

    def to_row(self) -> dict[str, Any]:
        """The message as `checked_messages` takes it."""
        row = {"role": self.role, "content": "\n\n".join(self.texts), "thinking": "\n\n".join(self.thoughts)}
        return {**row, "tool_calls": self.calls, "tool_call_id": self.tool_call_id}


def add_turn(turns: list[Turn], turn: Turn) -> None:
    """Adds a turn, to the last one if that is of the same role: many templates take no two of the user in a row.

    Results of tools stay apart.
    """
    if turn.role == "tool" or not turns or turns[-1].role != turn.role:
        turns.append(turn)
    else:
        turns[-1].texts += turn.texts
        turns[-1].thoughts += turn.thoughts
        turns[-1].calls += turn.calls


def messages_of(turns: Iterable[Turn]) -> list[Message]:
    """The messages that turns stand for. Raises ValueError as `checked_messages`."""
    return checked_messages(turn.to_row() for turn in turns)
