"""Messages and settings as columns, and rows as records: the only place that knows the columns' forms."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from subbyte.errors import SubbyteError
from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.conversations.records import Conversation, KeptMessage
from subbyte.runtime.text import quoted

CONVERSATION = (
    "SELECT c.id, c.name, c.first, s.model, s.path, s.settings, c.created, c.changed, c.n_messages, o.name "
    "FROM conversation c JOIN setup s ON s.id = c.setup LEFT JOIN conversation o ON o.id = c.fork_of "
)
MESSAGE = "m.id, m.role, m.content, m.thinking, m.calls, m.created, s.model, s.settings, m.pinned, m.forgotten"
_CALLS = ("tool_calls", "tool_call_id", "name")  # the fields of `Message` in the column `calls`


def message_columns(message: Message) -> tuple[str, str, str, str, bool, bool]:
    """Role, content, thinking, calls, pinned, forgotten."""
    fields = message.to_dict()
    calls = {name: fields[name] for name in _CALLS if fields[name]}
    return message.role, message.content, message.thinking, json.dumps(calls) if calls else "", *marks(message)


def marks(message: Message) -> tuple[bool, bool]:
    """Whether it is pinned and forgotten: what may change of a message that says the same."""
    return message.pinned, message.forgotten


def settings_column(settings: Mapping[str, Any]) -> str:
    """Settings as JSON: equal ones give equal text."""
    return json.dumps(settings, sort_keys=True)


def conversation_of(row: Sequence[Any]) -> Conversation:
    """A row of `CONVERSATION`."""
    id, name, first, model, path, settings, created, changed, n_messages, fork_of = row
    kinds = (int, str, str, str, str, str, float, float, int, str | None)
    if not all(map(isinstance, row, kinds)):
        raise SubbyteError(f"the kept conversation {quoted(str(name))} is damaged: a column is of another kind")
    return Conversation(id, name, first, model, path, _object(name, settings), created, changed, n_messages, fork_of)


def kept_of(name: str, rows: Sequence[Sequence[Any]]) -> list[KeptMessage]:
    """Rows of `MESSAGE` in their order. name: the conversation's, for the error where they hold something else."""
    try:
        messages = checked_messages(
            {
                "role": role,
                "content": content,
                "thinking": thinking,
                **(json.loads(calls) if calls else {}),
                "pinned": pinned == 1,
                "forgotten": forgotten == 1,
            }
            for _, role, content, thinking, calls, *_, pinned, forgotten in rows
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise SubbyteError(f"the kept conversation {name} is damaged: {error}") from error
    if not all(isinstance(row[5], float) and isinstance(row[6], str) for row in rows):
        raise SubbyteError(f"the kept conversation {name} is damaged: a column is of another kind")
    return [
        KeptMessage(row[0], message, row[5], row[6], _object(name, row[7]))
        for row, message in zip(rows, messages, strict=True)
    ]


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise SubbyteError(f"the kept conversation {name} is damaged: its settings are no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
