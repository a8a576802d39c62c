"""Calls whose arguments are JSON: an object with name and arguments, or a name with an object behind it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.marked_calls import MarkedCalls
from subbyte.runtime.tools.reader import Found, Mismatch, Reader, Reading
from subbyte.runtime.tools.tool import Tool
from subbyte.runtime.tools.values import json_object

_QUOTES = ('"',)
_ARGUMENTS = ("arguments", "parameters")
_KEYS = {"name", "id", "type", *_ARGUMENTS}


@dataclass(frozen=True, slots=True)
class ObjectCalls:
    """`open {"name": …, "arguments": {…}} close`, or a list of such objects between the marks.

    open: "" where a call is the answer's whole text, as of Llama 3. listed: whether a list is what the model writes;
    both are read. arguments: the key of the arguments; either of the two known ones is read. ids: whether an object
    ends with an id. The close mark may be missing.
    """

    open: str
    close: str = ""
    listed: bool = False
    arguments: str = "arguments"
    ids: bool = False

    @property
    def trigger(self) -> str:
        """What a call begins with."""
        return "".join(self.open.split()[:1])

    @property
    def starts(self) -> tuple[str, ...]:
        """What a call begins with where it is not marked."""
        return () if self.open else ("{",)

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return (self.open, self.close)

    def is_certain(self, text: str) -> bool:
        """Whether a text without a trigger is meant as a call."""
        return text.startswith('{"name": "')

    def read(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads what an open mark begins."""
        yield from reader.mark(self.open)
        yield from reader.spaces()
        if (yield from reader.skip("[")):
            yield from self._list(reader, tools)
        else:
            yield (yield from self._object(reader, tools))
        if not self.open:
            yield from self._further(reader, tools)
        yield from reader.mark(self.close)

    def write(self, calls: Iterable[ToolCall]) -> list[str]:
        """Calls as the model writes them, marks apart from the text between them."""
        objects = [json.dumps({"name": c.name, self.arguments: c.arguments}, ensure_ascii=False) for c in calls]
        if self.listed:
            return [self.open, f"[{', '.join(objects)}]", self.close]
        return [piece for text in objects for piece in (self.open, text, self.close)]

    def _list(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        while True:
            yield from reader.spaces()
            yield (yield from self._object(reader, tools))
            yield from reader.spaces()
            if not (yield from reader.skip(",")):
                break
        yield from reader.mark("]")
        reader.take()

    def _further(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """More objects without marks, a semicolon between them."""
        while True:
            reader.take()
            yield from reader.mark(";")
            yield from reader.spaces()
            yield (yield from self._object(reader, tools))

    def _object(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[Found]:
        start = reader.at
        yield from reader.mark('{ "')
        if (yield from reader.name()) not in _KEYS:  # told early: an answer that is JSON is shown as it comes
            raise Mismatch
        reader.at = start
        fields = json_object((yield from reader.balanced(_QUOTES)))
        name, id = fields.get("name"), fields.get("id")
        if not isinstance(name, str) or name not in tools:
            raise Mismatch
        arguments: Any = next((fields[key] for key in _ARGUMENTS if key in fields), {})
        if isinstance(arguments, str):  # JSON in a string, as OpenAI's API has it
            arguments = json_object(arguments)
        if not isinstance(arguments, dict):
            raise Mismatch
        return Found(name, arguments, id if isinstance(id, str) and id else None)


@dataclass(frozen=True, slots=True)
class NamedCalls(MarkedCalls):
    """`open NAME arguments {…} close`: a name, and JSON behind it.

    section: what stands around all calls of an answer. id: what stands before an id behind the name. name: what stands
    between an id behind the open mark and the name.
    """

    open: str
    arguments: str
    close: str = ""
    section: tuple[str, str] = ("", "")
    id: str = ""
    name: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return (*self.section, self.open, self.name, self.id, self.arguments, self.close)

    def _call(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        id = (yield from reader.until(self.name)) if self.name else None
        name = yield from reader.name()
        if name not in tools:
            raise Mismatch
        if self.id and (yield from reader.skip(self.id)):
            id = yield from reader.name()
        yield from reader.mark(self.arguments)
        yield from reader.spaces()
        yield Found(name, json_object((yield from reader.balanced(_QUOTES))), id)
        yield from reader.mark(self.close)
