"""Messages as a chat template is given them: roles that it knows, calls and tools in its own way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from subbyte.runtime.chat.messages import Message
from subbyte.runtime.template.chat_template import ChatTemplate

if TYPE_CHECKING:
    from subbyte.runtime.tools.format import ToolFormat
    from subbyte.runtime.tools.tool import Tool

_THINKING = re.compile(r"""message(\.thinking\b|\[['"]thinking['"]\])""")


class PromptRows:
    """Makes rows for one template. format: how calls are written; None where there are none.

    Reasoning goes back to the model while it works on one question, between calls and their results, as it was trained:
    under the key that the template reads. Of earlier turns it does not.
    """

    def __init__(self, template: ChatTemplate, format: ToolFormat | None, tools: Iterable[Tool]) -> None:
        self._template, self._format = template, format
        self._tools = [tool.to_template() for tool in tools]
        self._reasoning_key = _reasoning_key(template.source)

    @property
    def variables(self) -> Mapping[str, Any]:
        """The template's variables that tell of the tools."""
        return {"tools": self._tools} if self._tools and not self._in_system else {}

    def rows(self, system: str | None, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
        """The rows of a conversation."""
        rows: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        if self._tools and self._in_system:
            functions = json.dumps([tool["function"] for tool in self._tools], ensure_ascii=False)
            rows = [{"role": "system", "content": system or "", "tools": functions}]
        last = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
        return [*rows, *(self._row(message, working=i > last) for i, message in enumerate(messages))]

    @property
    def _in_system(self) -> bool:
        return self._format is not None and self._format.in_system

    def _row(self, message: Message, *, working: bool) -> dict[str, Any]:
        key = self._reasoning_key if working and message.tool_calls else None
        if key == "thinking" and message.content:
            key = None  # gpt-oss's template takes one of the two with a call
        row = message.to_row(key)
        if message.role == "tool" and self._format is not None:
            row["role"] = self._format.result_role
        if message.role == "developer" and "developer" not in self._template.source:
            row["role"] = "system"
        if message.tool_calls and self._format is not None and self._format.writer is not None:
            marks, pieces = self._format.marks, self._format.writer.write(message.tool_calls)
            row["content"] += "".join(self._template.marked(piece) if piece in marks else piece for piece in pieces)
            del row["tool_calls"]
        return row


def _reasoning_key(source: str) -> str | None:
    if "reasoning_content" in source:
        return "reasoning_content"
    return "thinking" if _THINKING.search(source) else None
