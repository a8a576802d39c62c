"""OpenAI's responses: whole, and as streams of named events (https://platform.openai.com/docs/api-reference/responses-streaming)."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.logprobs import LogprobsOfText, chat_logprobs
from subbyte.runtime.api.responses_request import ResponsesRequest
from subbyte.runtime.api.serving import Serving, Start
from subbyte.runtime.api.usage import finish_reason
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.generation.events import Done, Event, Reply, TextDelta, ThinkingDelta, TokenLogprob
from subbyte.runtime.tools.call import ToolCall


class _Kind(NamedTuple):
    """An item of text: its type, the list that has its one part, that part's type, and the words of its events."""

    type: str
    parts: str
    part_type: str
    part_event: str
    text_event: str
    place: str


_MESSAGE = _Kind("message", "content", "output_text", "content_part", "output_text", "content_index")
_REASONING = _Kind("reasoning", "content", "reasoning_text", "content_part", "reasoning_text", "content_index")
_SUMMARY = _Kind(
    "reasoning", "summary", "summary_text", "reasoning_summary_part", "reasoning_summary_text", "summary_index"
)
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_"}


class ResponsesAnswer(WireAnswer):
    """A response: items of reasoning, text and calls, in the order in which they come."""

    def __init__(self, request: ResponsesRequest, serving: Serving, name: str) -> None:
        super().__init__(name, "resp_")
        self._request, self._serving = request, serving
        self.ends_with_call = request.chat.one_call
        self._n_sent = 0
        self._items: list[dict[str, Any]] = []
        self._open: _Kind | None = None  # the kind of the last item, while text is added to it
        self._waiting = LogprobsOfText()
        self._reply: Reply | None = None
        self._error: ApiError | None = None

    def starts(self) -> Sequence[Start]:
        """See `WireAnswer`."""
        return self._request.chat.starts(self._serving)

    def opened(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield self._event("created", response=self.whole())
        yield self._event("in_progress", response=self.whole())

    def add(self, index: int, event: Event) -> Iterable[Sent]:
        """See `WireAnswer`."""
        if isinstance(event, TextDelta):
            yield from self._add_text(_MESSAGE, event.text)
        elif isinstance(event, ThinkingDelta):
            yield from self._add_text(_SUMMARY if self._request.as_summary else _REASONING, event.text)
        elif isinstance(event, ToolCall):
            yield from self._add_call(event)
        elif isinstance(event, TokenLogprob):
            self._waiting.add(event)
        elif isinstance(event, Done):
            self._reply = event.reply
            yield from self._close("incomplete" if self._status == "incomplete" else "completed")

    def closed(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield self._event(self._status, response=self.whole())

    def failed(self, error: ApiError) -> Iterable[Sent]:
        """See `WireAnswer`."""
        self._error = error
        yield self._event("failed", response=self.whole())

    def whole(self) -> dict[str, Any]:
        """See `WireAnswer`; before it has ended, what there is of the response."""
        status, error = self._status, self._error
        return {
            "id": self.id, "object": "response", "created_at": self.created, "model": self.model, "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": None if error is None else {"code": error.code or "server_error", "message": error.message},
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": list(self._items), "usage": None if self._reply is None else _usage(self._reply),
            "background": False, "previous_response_id": None, "store": False, "truncation": "disabled",
            "service_tier": "default", **self._request.echoed,
        }  # fmt: skip

    @property
    def _status(self) -> str:
        if self._error is not None:
            return "failed"
        if self._reply is None:
            return "in_progress"
        return "incomplete" if finish_reason(self._reply.stop_reason, calls=False) == "length" else "completed"

    def _event(self, event: str, **fields: Any) -> Sent:
        """The next event of the stream."""
        name, number = f"response.{event}", self._n_sent
        self._n_sent += 1
        return Sent({"type": name, "sequence_number": number, **fields}, name)

    def _item_event(self, event: str, **fields: Any) -> Sent:
        """An event of the last item."""
        return self._event(event, output_index=len(self._items) - 1, item_id=self._items[-1]["id"], **fields)

    def _new_item(self, type: str, **fields: Any) -> Sent:
        id = _PREFIXES[type] + secrets.token_hex(12)
        self._items.append({"id": id, "type": type, "status": "in_progress", **fields})
        return self._event("output_item.added", output_index=len(self._items) - 1, item=dict(self._items[-1]))

    def _add_text(self, kind: _Kind, text: str) -> Iterator[Sent]:
        if self._open is not kind:
            yield from self._close()
            yield from self._begin_text(kind)
        part, more = self._part(kind), {}
        part["text"] += text
        if kind is not _MESSAGE:
            self._waiting.drop()
        else:
            found = [] if self._request.chat.logprobs is None else chat_logprobs(self._waiting.take(text))
            part["logprobs"] += found
            more = {"logprobs": found}
        yield self._item_event(f"{kind.text_event}.delta", **{kind.place: 0}, delta=text, **more)

    def _begin_text(self, kind: _Kind) -> Iterator[Sent]:
        self._open = kind
        part: dict[str, Any] = {"type": kind.part_type, "text": ""}
        if kind is _MESSAGE:
            part |= {"annotations": [], "logprobs": []}
            yield self._new_item(kind.type, role="assistant", content=[])
        else:
            yield self._new_item(kind.type, summary=[], content=[])
        self._items[-1][kind.parts] = [part]
        yield self._item_event(f"{kind.part_event}.added", **{kind.place: 0}, part=_copy(part))

    def _part(self, kind: _Kind) -> dict[str, Any]:
        part: dict[str, Any] = self._items[-1][kind.parts][0]
        return part

    def _close(self, status: str = "completed") -> Iterator[Sent]:
        """Ends the item of text that is open, if there is one."""
        if self._open is None:
            return
        kind, self._open = self._open, None
        part, at = self._part(kind), {kind.place: 0}
        more = {"logprobs": part["logprobs"]} if kind is _MESSAGE else {}
        yield self._item_event(f"{kind.text_event}.done", **at, text=part["text"], **more)
        yield self._item_event(f"{kind.part_event}.done", **at, part=part)
        yield self._end_item(status)

    def _end_item(self, status: str = "completed") -> Sent:
        self._items[-1]["status"] = status
        return self._event("output_item.done", output_index=len(self._items) - 1, item=self._items[-1])

    def _add_call(self, call: ToolCall) -> Iterator[Sent]:
        yield from self._close()
        self._waiting.drop()
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        yield self._new_item("function_call", call_id=call.id, name=call.name, arguments="")
        self._items[-1]["arguments"] = arguments
        yield self._item_event("function_call_arguments.delta", delta=arguments)
        yield self._item_event("function_call_arguments.done", name=call.name, arguments=arguments)
        yield self._end_item()


def _copy(part: dict[str, Any]) -> dict[str, Any]:
    """A part as it is now; it goes on growing."""
    return {name: list(value) if isinstance(value, list) else value for name, value in part.items()}


def _usage(reply: Reply) -> dict[str, Any]:
    used = reply.usage
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.reused, "cache_write_tokens": 0},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": used.thinking},
        "total_tokens": used.prompt + used.completion,
    }
