"""Events of an answer that nobody computed, and what an API makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.generation.events import Done, Event, Reply, StopReason, TextDelta, ThinkingDelta, Timings, Usage
from subbyte.runtime.tools.call import ToolCall

CALL = ToolCall("call00000", "lamp", {"on": True})


def done(stop_reason: StopReason = "eog", stop_string: str | None = None, calls: Sequence[ToolCall] = ()) -> Done:
    usage, timings = Usage(10, 4, completion=20, thinking=3), Timings(0.5, 2.0, 12.0, 10.0)
    return Done(Reply("", (), usage, timings, stop_reason, "", stop_string, tuple(calls)))


MIXED: list[Event] = [
    ThinkingDelta("Let "), ThinkingDelta("me see."), TextDelta("It "), TextDelta("is"), CALL, TextDelta("done."),
    done(calls=[CALL]),
]  # fmt: skip
"""Reasoning, text, a call, and more text."""


def told(answer: WireAnswer, events: Sequence[Event]) -> list[Sent]:
    """The stream of an answer; each event must be named as its type says."""
    sent = [*answer.opened(), *(each for event in events for each in answer.add(0, event)), *answer.closed()]
    assert all(isinstance(data, dict) and data["type"] == name for data, name in sent)
    return sent


def request(**values: Any) -> Fields:
    return Fields.of(values)
