"""The JSON of an answer as the value that was asked for."""

from typing import Any

from subbyte.errors import UnfitAnswer
from subbyte.runtime.generation.events import Reply
from subbyte.runtime.grammar.schemas import read

_CUT = {
    "length": "max_tokens, or the context, left no more room; raise it, or bound the schema's strings and arrays",
    "stop": "a stop string ended it; choose others",
    "cancelled": "it was cancelled",
    "timeout": "its time was up; raise timeout",
}


def as_object(schema: Any, reply: Reply) -> Any:
    """The value of a type, or plain data for a JSON schema. Raises UnfitAnswer for an answer that is none."""
    try:
        return read(schema, reply.text)
    except ValueError as error:
        if reply.stop_reason in _CUT:
            what = f"the answer ended before its JSON was whole: {_CUT[reply.stop_reason]}"
        else:
            what = f"the answer is no valid {getattr(schema, '__name__', 'object')}: {error}"
        raise UnfitAnswer(what, reply.text) from None
