"""A call of a tool: what an answer holds beside its text, and what a message of the history may have."""

from dataclasses import dataclass
from typing import Any

from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class ToolCall(Record):
    """A call that the model wrote, whole: an event of the answer, and one of `Reply.tool_calls`.

    arguments: by name, as values; their kinds are those that the tool's schema names where the model's format writes
    all values as text. They are not checked against the schema: a model may leave out what is required. id: tells calls
    of a conversation apart, the model's own where it writes one, else nine letters and digits, as Mistral's templates
    want them.
    """

    id: str
    name: str
    arguments: dict[str, Any]


def call_id(number: int) -> str:
    """The id of the call with this number in its conversation: nine characters, the same each time."""
    return f"call{number:05d}"[-9:]
