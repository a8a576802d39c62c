"""Calls written as those of a programming language: Python's, and Gemma 4's."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.reader import Found, Mismatch, Reader, Reading
from subbyte.runtime.tools.tool import Tool
from subbyte.runtime.tools.values import bare_object, keyword_arguments


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """`open [NAME(KEY=VALUE, …), …] close`, values as Python's literals: LFM2; Llama 3.2 without marks.

    JSON's true, false and null are read, too. The close mark may be missing.
    """

    open: str = ""
    close: str = ""

    @property
    def trigger(self) -> str:
        """What a call begins with."""
        return "".join(self.open.split()[:1])

    @property
    def starts(self) -> tuple[str, ...]:
        """What a call begins with where it is not marked."""
        return () if self.open else ("[",)

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return (self.open, self.close)

    def is_certain(self, text: str) -> bool:
        """Whether a text without a trigger is meant as a call."""
        return re.match(r"\[\w+\(", text) is not None

    def read(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads what an open mark begins."""
        yield from reader.mark(self.open + " [")
        while True:
            yield from reader.spaces()
            name = yield from reader.name()
            if name not in tools or not (yield from reader.follows("(")):
                raise Mismatch
            yield Found(name, keyword_arguments((yield from reader.balanced(('"', "'")))))
            yield from reader.spaces()
            if not (yield from reader.skip(",")):
                break
        yield from reader.mark("]")
        reader.take()
        yield from reader.mark(self.close)

    def write(self, calls: Iterable[ToolCall]) -> list[str]:
        """Calls as the model writes them, marks apart from the text between them."""
        texts = (f"{c.name}({', '.join(f'{key}={value!r}' for key, value in c.arguments.items())})" for c in calls)
        return [self.open, f"[{', '.join(texts)}]", self.close]


@dataclass(frozen=True, slots=True)
class BareKeyCalls:
    """`open NAME{KEY:VALUE,…} close`, keys without quotes, texts between a quote mark of their own: Gemma 4."""

    open: str
    close: str
    quote: str

    starts = ()

    @property
    def trigger(self) -> str:
        """What a call begins with."""
        return self.open.split()[0]

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return (self.open, self.close, self.quote)

    def is_certain(self, text: str) -> bool:
        """Whether a text without a trigger is meant as a call: there is none."""
        return False

    def read(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads what an open mark begins."""
        yield from reader.mark(self.open)
        name = yield from reader.name()
        if name not in tools or not (yield from reader.follows("{")):
            raise Mismatch
        arguments = yield from reader.balanced((self.quote,), escapes=False)
        yield Found(name, bare_object(arguments, self.quote))
        yield from reader.mark(self.close)
