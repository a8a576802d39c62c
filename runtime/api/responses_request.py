"""Requests of OpenAI's responses API: a history of items to messages (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.api.chat_request import ChatRequest
from subbyte.runtime.api.content import MAX_MESSAGES, MAX_TOOLS, text_of_content
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.sampling_fields import MAX_LOGPROBS, MAX_TOKENS, format_constraint, limit_of, sampling_fields
from subbyte.runtime.api.turns import Turn, add_turn, messages_of
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.tools.tool import tools_by_name

LOGPROBS = "message.output_text.logprobs"
_KEPT_NOWHERE = {  # fields that refer to what OpenAI's servers keep
    "previous_response_id": "send the whole history as input",
    "conversation": "send the whole history as input",
    "prompt": "send its text as instructions or input",
    "background": "wait for the response, or stream it",
}
_ECHOED = {  # of a response: what it has where the request does not say
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "prompt_cache_key": None, "safety_identifier": None, "temperature": None, "text": {"format": {"type": "text"}},
    "tool_choice": "auto", "top_logprobs": None, "top_p": None, "user": None,
}  # fmt: skip


@dataclass(frozen=True)
class ResponsesRequest:
    """What a request asks for. echoed: fields that the response repeats.

    as_summary: reasoning is told as its own summary, whole, since a client that asks for summaries reads nothing else.
    """

    chat: ChatRequest
    echoed: Mapping[str, Any]
    as_summary: bool

    @property
    def model(self) -> str:
        """See `ChatRequest`."""
        return self.chat.model

    @property
    def stream(self) -> bool:
        """See `ChatRequest`."""
        return self.chat.stream


def read_responses_request(fields: Fields) -> ResponsesRequest:
    """A request. Raises ApiError, or ValueError in the library's words, for what is wrong in it."""
    for name, instead in _KEPT_NOWHERE.items():
        if fields.get(name):
            raise ApiError(400, f"{name}: this server keeps no responses; leave it out, and {instead}", param=name)
    reasoning, text = fields.object("reasoning") or Fields({}), fields.object("text") or Fields({})
    functions = list(_functions(fields))
    tools = tuple(tools_by_name(function.values for function in functions).values())
    format = text.object("format")
    top = fields.whole("top_logprobs", 0, MAX_LOGPROBS)
    chat = ChatRequest(
        fields.text("model") or "",
        _read_messages(fields),
        tools,
        _tool_choice(fields, bool(tools)),
        one_call=not fields.flag("parallel_tool_calls", True),
        sampling=sampling_fields(fields),
        max_tokens=limit_of(fields, "max_output_tokens"),
        constraint=None if format is None else format_constraint(format),
        effort=reasoning.text("effort"),
        reasoning_budget=fields.whole("thinking_budget_tokens", 0, MAX_TOKENS),
        logprobs=(top or 0) if top is not None or LOGPROBS in fields.texts("include") else None,
        stream=fields.flag("stream"),
    )
    echoed = {name: usual if fields.get(name) is None else fields.get(name) for name, usual in _ECHOED.items()}
    echoed["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    echoed["tools"] = [{"strict": True, **function.values} for function in functions]
    return ResponsesRequest(chat, echoed, as_summary="summary" in reasoning)


def _functions(fields: Fields) -> Iterator[Fields]:
    """The functions among the tools. Others are OpenAI's servers' own, or have no schema that a model could keep to."""
    if len(fields.items("tools")) > MAX_TOOLS:
        raise fields.wrong("tools", f"a list of at most {MAX_TOOLS}")
    return (tool for tool in fields.objects("tools") if tool.get("type") == "function")


def _tool_choice(fields: Fields, has_tools: bool) -> str:
    if isinstance(fields.get("tool_choice"), dict):
        named = Fields.of(fields.get("tool_choice"), "tool_choice")
        named.choice("type", ("function",))
        return named.needed_text("name")
    chosen = fields.choice("tool_choice", ("auto", "none", "required")) or "auto"
    if chosen == "required" and not has_tools:
        raise ApiError(400, 'tool_choice is "required", but there are no functions in tools', param="tool_choice")
    return chosen


def _read_messages(fields: Fields) -> list[Message]:
    """Instructions and input. An answer of several items is one message."""
    turns: list[Turn] = []
    if instructions := fields.text("instructions"):
        turns.append(Turn("system", [instructions]))
    if isinstance(given := fields.get("input"), str):
        turns.append(Turn("user", [given]))
    else:
        if not isinstance(given, list) or not 0 < len(given) <= MAX_MESSAGES:
            raise fields.wrong("input", f"a text, or a list of 1 to {MAX_MESSAGES} items")
        for item in fields.objects("input"):
            _add(turns, item)
    return messages_of(turns)


def _add(turns: list[Turn], item: Fields) -> None:
    """Adds an item of the history."""
    kind = item.text("type") or "message"
    if (read := _ITEMS.get(kind)) is None:
        raise item.wrong("type", " or ".join(f'"{known}"' for known in _ITEMS))
    add_turn(turns, read(item))


def _message(item: Fields) -> Turn:
    text = text_of_content(item, "content")
    return Turn(item.get("role"), [text] if text else [])


def _reasoning(item: Fields) -> Turn:
    """Its text, or the summaries of it if there is none; what is encrypted is another server's."""
    parts = [*item.objects("content")] or [*item.objects("summary")]
    return Turn("assistant", thoughts=[part.needed_text("text") for part in parts])


def _call(item: Fields) -> Turn:
    call = {"id": item.needed_text("call_id"), "name": item.needed_text("name"), "arguments": item.get("arguments")}
    return Turn("assistant", calls=[call])


def _output(item: Fields) -> Turn:
    return Turn("tool", [text_of_content(item, "output")], tool_call_id=item.needed_text("call_id"))


_ITEMS: dict[str, Callable[[Fields], Turn]] = {
    "message": _message, "reasoning": _reasoning, "function_call": _call, "function_call_output": _output,
}  # fmt: skip
