"""What a model answered a case with: its calls as they were written, those of functions that there are not included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.generation.events import Reply
from subbyte.runtime.records import Record
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.format import ToolFormat
from subbyte.runtime.tools.parser import ToolParser
from subbyte.runtime.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class CaseAnswer(Record):
    """An answer's calls and its text beside them. n_tokens: what it took.

    malformed: the text has the beginning of a call that can't be read. is_cut: the limit of tokens ended it. refused:
    why the case could not be put to the model; "" where it was.
    """

    calls: tuple[ToolCall, ...] = ()
    text: str = ""
    n_tokens: int = 0
    malformed: bool = False
    is_cut: bool = False
    refused: str = ""

    @classmethod
    def of(cls, reply: Reply, format: ToolFormat | None) -> CaseAnswer:
        """The answer that a reply is. format: the model's, to find what it meant as calls."""
        calls, text, malformed = [*reply.tool_calls], reply.text, False
        if format is not None:
            parser = ToolParser(format, _AnyTool())
            pieces = [*parser.feed(reply.text), *parser.finish()]
            calls += [piece for piece in pieces if isinstance(piece, ToolCall)]
            text = "".join(piece for piece in pieces if isinstance(piece, str))
            malformed = _has_begun_call(format, text)
        return cls(tuple(calls), text, reply.usage.completion, malformed, reply.stop_reason == "length")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CaseAnswer:
        """What `to_dict` was made of. Raises KeyError, TypeError or ValueError for anything else."""
        calls = tuple(ToolCall(str(call["id"]), str(call["name"]), dict(call["arguments"])) for call in fields["calls"])
        return cls(
            calls, str(fields["text"]), int(fields["n_tokens"]), bool(fields["malformed"]), bool(fields["is_cut"]),
            str(fields["refused"]),
        )  # fmt: skip


def _has_begun_call(format: ToolFormat, text: str) -> bool:
    place = format.find(text, 0, at_start=True)
    return place is not None and bool(place.syntax.trigger or place.syntax.is_certain(text[place.at :]))


class _AnyTool(Mapping[str, Tool]):
    """Has a tool of every name, so that calls of functions that there are not are read as calls."""

    def __getitem__(self, name: str) -> Tool:
        try:
            return Tool(name)
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
