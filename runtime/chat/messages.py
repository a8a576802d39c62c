"""Messages of a conversation: their roles, and what is checked of those that a caller or a file gives."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast, get_args

from subbyte.runtime import arguments
from subbyte.runtime.records import Record
from subbyte.runtime.text import quoted
from subbyte.runtime.tools.call import ToolCall

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
"""Who speaks. "developer" is what newer APIs call "system", and rendered as that where a template knows no other."""
MessageSource: TypeAlias = "Message | Mapping[str, Any]"
"""A message, or a mapping in the form of OpenAI's API."""

_ROLES = get_args(Role)
_PART = '{"type": "text", "text": …}'


@dataclass(frozen=True, slots=True)
class Message(Record):
    """One turn of a conversation.

    content: its text; a list of parts `{"type": "text", "text": …}`, as OpenAI's API has it, becomes one text.
    thinking: the model's reasoning before it. tool_calls: what the assistant called. A message of role "tool" is the
    result of a call: tool_call_id says of which, name of what tool; both may be left out where results come in the
    order of the calls. forgotten: the model is not shown it any more; pinned: its turn stays when others are forgotten;
    messages are equal by what they say, whatever these two are.
    Raises ValueError for a role or content that there is not.
    """

    role: Role
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    pinned: bool = field(default=False, compare=False)
    forgotten: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        arguments.choice("role", self.role, _ROLES)
        object.__setattr__(self, "content", clean(_text(self.content)))
        object.__setattr__(self, "thinking", clean(arguments.text("thinking", self.thinking)))
        object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        arguments.flag("pinned", self.pinned)
        arguments.flag("forgotten", self.forgotten)
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f'tool_calls are the assistant\'s, but this message is of role "{self.role}"')

    def to_row(self, reasoning_key: str | None = None) -> dict[str, Any]:
        """The message as chat templates take it. reasoning_key: under which its reasoning goes; None: it does not."""
        row: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            row["tool_calls"] = [
                {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        if self.role == "tool":
            row |= {"tool_call_id": self.tool_call_id, "name": self.name}
        if reasoning_key is not None and self.thinking:
            row[reasoning_key] = self.thinking
        return row


def clean(text: str) -> str:
    """`text` as real Unicode: surrogates that are left alone, as from a terminal with broken input, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def begin_with(system: str | None, messages: Iterable[MessageSource]) -> tuple[str | None, list[Message]]:
    """System text and messages of a new conversation; system text may be the first message.

    Raises ValueError as `checked_messages`, and if system text is given twice.
    """
    checked = checked_messages(messages)
    if not checked or checked[0].role not in ("system", "developer"):
        return system, checked
    if system is not None:
        raise ValueError(f'system is given, and messages[0] is of role "{checked[0].role}"; give one of them')
    return checked[0].content, checked[1:]


def checked_messages(messages: Iterable[MessageSource]) -> list[Message]:
    """Messages of a caller, as `Message`; results know their calls.

    Raises ValueError that names the message by its index: for a wrong kind or field, a result that answers no call, and
    calls without results where the conversation goes on.
    """
    checked: list[Message] = []
    open_calls: list[ToolCall] = []
    for i, given in enumerate(arguments.items("messages", messages, "a list of messages")):
        try:
            message = given if isinstance(given, Message) else _from_mapping(given)
            message, open_calls = _in_order(message, open_calls)
        except ValueError as error:
            raise ValueError(f"messages[{i}]: {error}") from None
        checked.append(message)
    return checked


def _in_order(message: Message, open_calls: Sequence[ToolCall]) -> tuple[Message, list[ToolCall]]:
    """A message behind calls that have no result yet, and which of those are left."""
    if message.role == "tool":
        same = [call for call in open_calls if message.tool_call_id in (None, call.id)]
        if not same:
            raise ValueError('it is of role "tool", but there is no call before it that it could be the result of')
        call = same[0]
        named = replace(message, tool_call_id=call.id, name=message.name or call.name)
        return named, [each for each in open_calls if each is not call]
    if open_calls:
        raise ValueError(
            f"it comes before the result of the call {quoted(open_calls[0].id)} of {quoted(open_calls[0].name)}"
        )
    return message, list(message.tool_calls)


def _from_mapping(given: object) -> Message:
    row = arguments.mapping("a message", given)
    if "role" not in row:
        raise ValueError(f"it has no role, which must be {' or '.join(map(repr, _ROLES))}")
    calls = row.get("tool_calls") or ()
    content, thinking = row.get("content"), row.get("thinking") or row.get("reasoning_content") or ""
    return Message(
        row["role"], "" if content is None and calls else cast(str, content), thinking,
        tuple(_call(i, call) for i, call in enumerate(arguments.items("tool_calls", calls, "a list of calls"))),
        row.get("tool_call_id"), row.get("name"), row.get("pinned", False), row.get("forgotten", False),
    )  # fmt: skip


def _call(index: int, given: object) -> ToolCall:
    """A call in OpenAI's form, `{"id": …, "type": "function", "function": {"name": …, "arguments": …}}`, or flat."""
    if isinstance(given, ToolCall):
        return given
    where = f"tool_calls[{index}]"
    row = arguments.mapping(where, given)
    function = arguments.mapping(f"{where}: function", row.get("function", row))
    values = function.get("arguments", {})
    if isinstance(values, str):
        try:
            values = json.loads(values or "{}")
        except (ValueError, RecursionError):
            raise ValueError(f"{where}: its arguments are no JSON: {arguments.shown(values)}") from None
    name = arguments.text(f"{where}: name", function.get("name"))
    id = arguments.text(f"{where}: id", row.get("id"))
    return ToolCall(id, name, dict(arguments.mapping(f"{where}: arguments", values)))


def _text(content: object) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise arguments.wrong_kind("content", content, f"a text, or a list of parts {_PART}")
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise ValueError(f"content has a part {arguments.shown(kind)}, but only parts {_PART} are known")
    return "".join(part["text"] for part in content)
