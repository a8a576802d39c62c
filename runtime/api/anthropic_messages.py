"""Anthropic's messages: whole, and as streams of named events (https://docs.anthropic.com/en/docs/build-with-claude/streaming)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from subbyte.runtime.api.chat_request import ChatRequest
from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.serving import Serving, Start
from subbyte.runtime.api.wire_answer import Sent, WireAnswer
from subbyte.runtime.generation.events import Done, Event, Reply, TextDelta, ThinkingDelta
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.tools.call import ToolCall

UNSIGNED = "unsigned"  # Anthropic signs reasoning, and clients want to give a signature back


class AnthropicMessage(WireAnswer):
    """A message: blocks of reasoning, text and calls, in the order in which they come."""

    def __init__(self, request: ChatRequest, serving: Serving, name: str) -> None:
        super().__init__(name, "msg_")
        self._request, self._serving = request, serving
        self.ends_with_call = request.one_call
        self._blocks: list[dict[str, Any]] = []
        self._open: str | None = None  # the field of the last block, while text is added to it
        self._n_prompt = 0
        self._reply: Reply | None = None

    def starts(self) -> Sequence[Start]:
        """See `WireAnswer`."""
        return [partial(self._begin, start) for start in self._request.starts(self._serving)]

    def _begin(self, start: Start) -> Generation:
        answer = start()
        self._n_prompt = answer.reply.usage.prompt
        return answer

    def opened(self) -> Iterable[Sent]:
        """See `WireAnswer`: the prompt's tokens; how many of them were cached is told at the end."""
        yield _sent("message_start", message=self.whole())

    def add(self, index: int, event: Event) -> Iterable[Sent]:
        """See `WireAnswer`."""
        if isinstance(event, TextDelta):
            yield from self._add_text("text", event.text)
        elif isinstance(event, ThinkingDelta):
            yield from self._add_text("thinking", event.text)
        elif isinstance(event, ToolCall):
            yield from self._add_call(event)
        elif isinstance(event, Done):
            self._reply = event.reply
            yield from self._close()

    def alive(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield _sent("ping")

    def closed(self) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield _sent("message_delta", delta=self._end(), usage=self._usage())
        yield _sent("message_stop")

    def failed(self, error: ApiError) -> Iterable[Sent]:
        """See `WireAnswer`."""
        yield Sent(error.to_anthropic(), "error")

    def whole(self) -> dict[str, Any]:
        """See `WireAnswer`; before it has ended, what there is of the message."""
        return {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": list(self._blocks), **self._end(), "usage": self._usage(),
        }  # fmt: skip

    def _add_text(self, kind: str, text: str) -> Iterator[Sent]:
        """Text of a kind, which is also the name of the field that has it."""
        if self._open != kind:
            yield from self._close()
            block = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
            yield self._new_block(block)
            self._open = kind
        self._blocks[-1][kind] += text
        yield self._delta(type=f"{kind}_delta", **{kind: text})

    def _add_call(self, call: ToolCall) -> Iterator[Sent]:
        yield from self._close()
        yield self._new_block({"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        self._blocks[-1]["input"] = call.arguments
        yield self._delta(type="input_json_delta", partial_json=json.dumps(call.arguments, ensure_ascii=False))
        yield self._stop()

    def _new_block(self, block: dict[str, Any]) -> Sent:
        self._blocks.append(block)
        return _sent("content_block_start", index=len(self._blocks) - 1, content_block=dict(block))

    def _delta(self, **delta: Any) -> Sent:
        return _sent("content_block_delta", index=len(self._blocks) - 1, delta=delta)

    def _stop(self) -> Sent:
        return _sent("content_block_stop", index=len(self._blocks) - 1)

    def _close(self) -> Iterator[Sent]:
        """Ends the block of text that is open, if there is one."""
        if self._open == "thinking":
            self._blocks[-1]["signature"] = UNSIGNED
            yield self._delta(type="signature_delta", signature=UNSIGNED)
        if self._open is not None:
            self._open = None
            yield self._stop()

    def _end(self) -> dict[str, Any]:
        """Why it has ended, in Anthropic's words; null while it has not."""
        reply = self._reply
        if reply is None:
            return {"stop_reason": None, "stop_sequence": None}
        if reply.stop_reason in ("length", "timeout"):
            return {"stop_reason": "max_tokens", "stop_sequence": None}
        if reply.tool_calls:
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if reply.stop_string in self._request.stop:  # and none of the template's own
            return {"stop_reason": "stop_sequence", "stop_sequence": reply.stop_string}
        return {"stop_reason": "end_turn", "stop_sequence": None}

    def _usage(self) -> dict[str, Any]:
        """Anthropic counts tokens that came from the cache apart from those that were read."""
        prompt, cached, written = self._n_prompt, 0, 0
        if self._reply is not None:
            used = self._reply.usage
            prompt, cached, written = used.prompt, used.reused, used.completion
        return {
            "input_tokens": prompt - cached, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0,
            "output_tokens": written,
        }  # fmt: skip


def _sent(type: str, **fields: Any) -> Sent:
    return Sent({"type": type, **fields}, type)
