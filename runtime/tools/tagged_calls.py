"""Calls whose arguments stand between tags, each value as plain text: Qwen3-Coder, GLM 4.5, MiniMax M2 and others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.tools.marked_calls import MarkedCalls
from subbyte.runtime.tools.reader import Found, Mismatch, Reader, Reading
from subbyte.runtime.tools.tool import Tool
from subbyte.runtime.tools.values import typed

_CDATA = ("<![CDATA[", "]]>")


@dataclass(frozen=True, slots=True)
class TaggedCalls(MarkedCalls):
    """`open NAME behind_name (key KEY value TEXT end)… close`, with whatever white space between.

    section: what stands around all calls of an answer, where that is not part of open and close. Values of one call
    take the kinds that the tool's schema names; where a value may be text it is kept as it is, but for one newline at
    each side where the format writes such. A value may have the end mark in it: it ends where the next parameter, or
    the end of the call, follows. cdata: values may stand in XML's CDATA.
    """

    open: str
    behind_name: str
    key: str
    value: str
    end: str
    close: str
    section: tuple[str, str] = ("", "")
    cdata: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return (*self.section, self.open, self.behind_name, self.key, self.value, self.end, self.close)

    def _call(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        close, *behind = self.close.split()
        name = yield from reader.name()
        if name not in tools:
            raise Mismatch
        yield from reader.mark(self.behind_name)
        yield Found(name, (yield from self._arguments(reader, tools[name], close)))
        yield from reader.mark(" ".join(behind))

    def _arguments(self, reader: Reader, tool: Tool, close: str) -> Reading[dict[str, Any]]:
        arguments: dict[str, Any] = {}
        first, *rest = self.value.split()
        schemas = tool.parameters.get("properties", {})
        while True:
            yield from reader.spaces()
            if (yield from reader.skip(close)):
                return arguments
            yield from reader.mark(self.key)
            key = (yield from reader.until(first)).strip()
            yield from reader.mark(" ".join(rest))
            text = yield from self._text(reader, close)
            arguments[key] = typed(text, schemas.get(key), tool.parameters)

    def _text(self, reader: Reader, close: str) -> Reading[str]:
        """The text of a value, up to an end mark that a key or the call's end follows."""
        if self.value[-1:].isspace():
            yield from reader.skip("\n")
        start = reader.at
        if self.cdata and (yield from reader.skip(_CDATA[0])):
            text = yield from reader.until(_CDATA[1])
            yield from reader.mark(self.end)
            return text
        end = self.end.strip()
        while True:
            yield from reader.until(end)
            behind = reader.at
            yield from reader.spaces()
            if (yield from reader.follows(self.key.split()[0])) or (yield from reader.follows(close)):
                break
            reader.at = behind
        text = reader.text[start : behind - len(end)]
        return text.removesuffix("\n") if self.end[:1].isspace() else text
