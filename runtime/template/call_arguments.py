"""Arguments of tool calls in the form that a template takes: objects, or JSON text."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from subbyte.runtime.template.abilities import Message


def with_arguments(message: Message, form: Callable[[Any], Any]) -> dict[str, Any]:
    """The message with the arguments of tool calls in a form: objects, which most templates write as JSON themselves,
    and of a text would make a JSON string; or JSON text, which some put into a longer one."""
    calls = message.get("tool_calls")
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        return {**message}
    return {**message, "tool_calls": [_call_with(call, form) for call in calls]}


def _call_with(call: Any, form: Callable[[Any], Any]) -> Any:
    if not isinstance(call, Mapping):
        return call
    if isinstance(function := call.get("function"), Mapping):
        return {**call, "function": _call_with(function, form)}
    return {**call, "arguments": form(call["arguments"])} if "arguments" in call else call


def as_object(arguments: Any) -> Any:
    """What JSON text of an object says; anything else as it is."""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else None
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def as_text(arguments: Any) -> Any:
    """An object as JSON text; anything else as it is."""
    try:
        return json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, Mapping) else arguments
    except (TypeError, ValueError, RecursionError):
        return arguments  # which is told where all of the request becomes JSON
