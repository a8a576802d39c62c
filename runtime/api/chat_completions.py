"""OpenAI's chat completions: requests, whole answers, and streams of chunks (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from subbyte.runtime.api.chat_request import MAX_CHOICES, ChatRequest, begun_variables
from subbyte.runtime.api.content import MAX_MESSAGES, MAX_TOOLS, text_of_content
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.api.logprobs import LogprobsOfText, chat_logprobs
from subbyte.runtime.api.sampling_fields import MAX_LOGPROBS, MAX_TOKENS, limit_of, sampling_fields, text_constraint
from subbyte.runtime.api.serving import Serving, Start
from subbyte.runtime.api.usage import finish_reason, timings, usage
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.generation.events import (
    Done,
    Event,
    PrefillProgress,
    Reply,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
)
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.tool import Tool, tools_by_name


def read_chat_request(fields: Fields) -> ChatRequest:
    """A chat completion's request. Raises ApiError, or ValueError in the library's words, for what is wrong in it."""
    if "chat_template" in fields:
        raise ApiError(400, "chat_template: the model's own is used; leave it out", param="chat_template")
    tools = tuple(tools_by_name(_tools(fields)).values())
    options = fields.object("stream_options") or Fields({})
    template = fields.object("chat_template_kwargs") or Fields({})
    variables = dict(begun_variables(template.values))
    thinking = variables.pop("enable_thinking", None)
    if thinking is not None and not isinstance(thinking, bool):
        raise template.wrong("enable_thinking", "true or false")
    top = fields.whole("top_logprobs", 0, MAX_LOGPROBS)
    return ChatRequest(
        fields.text("model") or "",
        read_messages(fields),
        tools,
        _tool_choice(fields, tools),
        one_call=not fields.flag("parallel_tool_calls", True),
        sampling=sampling_fields(fields),
        max_tokens=limit_of(fields, "max_completion_tokens", "max_tokens"),
        stop=fields.texts("stop"),
        constraint=text_constraint(fields),
        thinking=thinking,
        effort=fields.text("reasoning_effort"),
        reasoning_budget=fields.whole("thinking_budget_tokens", 0, MAX_TOKENS),
        variables=variables,
        logprobs=(top or 0) if fields.flag("logprobs") else None,
        n=fields.whole("n", 1, MAX_CHOICES) or 1,
        stream=fields.flag("stream"),
        with_usage=options.flag("include_usage"),
        with_progress=fields.flag("return_progress"),
    )


def read_messages(fields: Fields) -> list[Message]:
    """The messages of a request; parts of text become one text, and those of another kind are refused."""
    rows = [_message(row) for row in fields.objects("messages")]
    if not rows or len(rows) > MAX_MESSAGES:
        raise fields.wrong("messages", f"a list of 1 to {MAX_MESSAGES} messages")
    return checked_messages(rows)


def _message(row: Fields) -> Mapping[str, Any]:
    message = dict(row.values)
    if message.get("role") == "function":  # what tools were called before they had ids
        message["role"] = "tool"
    message["content"] = text_of_content(row, "content")
    if not message.get("reasoning_content") and isinstance(message.get("reasoning"), str):
        message["reasoning_content"] = message["reasoning"]
    return message


def _tools(fields: Fields) -> Iterator[Mapping[str, Any]]:
    """The functions of a request. `functions` is their older name."""
    if len(fields.items("tools")) > MAX_TOOLS:
        raise fields.wrong("tools", f"a list of at most {MAX_TOOLS}")
    for tool in fields.objects("tools"):
        tool.choice("type", ("function",))
        function = tool.object("function")
        if function is None:
            raise tool.wrong("function", "an object with a name")
        yield function.values


def _tool_choice(fields: Fields, tools: Sequence[Tool]) -> str:
    choice = fields.get("tool_choice")
    if isinstance(choice, dict):
        named = fields.object("tool_choice")
        function = named and named.object("function")
        if function is None:
            raise fields.wrong("tool_choice", '"auto", "none", "required", or {"type": "function", "function": {…}}')
        return function.needed_text("name")
    chosen = fields.choice("tool_choice", ("auto", "none", "required")) or "auto"
    if chosen == "required" and not tools:
        raise ApiError(400, 'tool_choice is "required", but there are no tools', param="tool_choice")
    return chosen


@dataclass
class _Choice:
    """What has come of one answer."""

    text: str = ""
    thinking: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    waiting: LogprobsOfText = field(default_factory=LogprobsOfText)
    reply: Reply | None = None


class ChatCompletion(WireAnswer):
    """A chat completion, and its chunks. `reasoning_content` has the reasoning; `timings` are llama.cpp's."""

    def __init__(self, request: ChatRequest, serving: Serving, name: str) -> None:
        super().__init__(name, "chatcmpl-")
        self._request, self._serving, self._began = request, serving, time.monotonic()
        self.ends_with_call = request.one_call
        self._choices = [_Choice() for _ in range(request.n)]

    def starts(self) -> Sequence[Start]:
        """See `WireAnswer`."""
        return self._request.starts(self._serving)

    def opened(self) -> Iterable[Sent]:
        """See `WireAnswer`: the role of each answer."""
        for index in range(len(self._choices)):
            yield self._chunk(index, {"role": "assistant", "content": ""})

    def add(self, index: int, event: Event) -> Iterable[Sent]:
        """See `WireAnswer`."""
        choice = self._choices[index]
        if isinstance(event, TextDelta):
            logprobs = self._take_logprobs(choice, event.text)
            choice.text += event.text
            yield self._chunk(index, {"content": event.text}, logprobs=logprobs)
        elif isinstance(event, ThinkingDelta):
            choice.waiting.drop()
            choice.thinking += event.text
            yield self._chunk(index, {"reasoning_content": event.text})
        elif isinstance(event, ToolCall):
            choice.waiting.drop()
            choice.calls.append(wire_call(event))
            yield self._chunk(index, {"tool_calls": [{"index": len(choice.calls) - 1, **choice.calls[-1]}]})
        elif isinstance(event, TokenLogprob):
            choice.waiting.add(event)
        elif isinstance(event, PrefillProgress):
            if self._request.with_progress and index == 0:
                yield self._progress(event)
        elif isinstance(event, Done):
            choice.reply = event.reply
            yield self._chunk(index, {}, finish=self._finish(choice), more={"timings": timings(event.reply)})

    def closed(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        if self._request.with_usage:
            yield Sent({**self._head("chat.completion.chunk"), "choices": [], "usage": usage(self._replies())})
        yield Sent("[DONE]")

    def failed(self, error: ApiError) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield Sent(error.to_openai())
        yield Sent("[DONE]")

    def whole(self) -> dict[str, Any]:
        """See `WireAnswer`."""
        choices = [self._whole_choice(index, choice) for index, choice in enumerate(self._choices)]
        replies = self._replies()
        return {
            **self._head("chat.completion"),
            "choices": choices,
            "usage": usage(replies),
            "timings": timings(replies[0]),
        }

    def _replies(self) -> list[Reply]:
        return [choice.reply for choice in self._choices if choice.reply is not None]

    def _head(self, object: str) -> dict[str, Any]:
        return {
            "id": self.id, "object": object, "created": self.created, "model": self.model,
            "system_fingerprint": "subbyte",
        }  # fmt: skip

    def _chunk(
        self, index: int, delta: dict[str, Any], *, finish: str | None = None,
        logprobs: list[dict[str, Any]] | None = None, more: Mapping[str, Any] | None = None,
    ) -> Sent:  # fmt: skip
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        if logprobs is not None:
            choice["logprobs"] = {"content": logprobs, "refusal": None}
        return Sent({**self._head("chat.completion.chunk"), "choices": [choice], **(more or {})})

    def _progress(self, event: PrefillProgress) -> Sent:
        """How much of the prompt has been read, as llama.cpp's server tells it: what is cached counts as read."""
        progress = {
            "total": event.cached + event.total, "cache": event.cached, "processed": event.cached + event.done,
            "time_ms": (time.monotonic() - self._began) * 1e3,
        }  # fmt: skip
        choice = {"index": 0, "delta": {}, "finish_reason": None, "logprobs": None}
        return Sent({**self._head("chat.completion.chunk"), "choices": [choice], "prompt_progress": progress})

    def _take_logprobs(self, choice: _Choice, text: str) -> list[dict[str, Any]] | None:
        if self._request.logprobs is None:
            return None
        found = chat_logprobs(choice.waiting.take(text))
        choice.logprobs += found
        return found

    def _finish(self, choice: _Choice) -> str:
        assert choice.reply is not None
        if self._request.one_call and choice.calls:
            return "tool_calls"
        return finish_reason(choice.reply.stop_reason, bool(choice.calls))

    def _whole_choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant", "content": choice.text or (None if choice.calls else ""), "refusal": None,
        }  # fmt: skip
        if choice.thinking:
            message["reasoning_content"] = choice.thinking
        if choice.calls:
            message["tool_calls"] = choice.calls
        logprobs = None if self._request.logprobs is None else {"content": choice.logprobs, "refusal": None}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": self._finish(choice)}


def wire_call(call: ToolCall) -> dict[str, Any]:
    """A call as OpenAI's API has it; its arguments are JSON text."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
