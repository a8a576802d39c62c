"""What an answer must be: a JSON schema, a regular expression, one of some texts, or a grammar; as a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from subbyte.runtime import arguments
from subbyte.runtime.grammar.bounds import check_repetitions, check_schema
from subbyte.runtime.grammar.library import MAX_SOURCE, llguidance, with_deep_stack
from subbyte.runtime.grammar.matcher import Matcher, limits
from subbyte.runtime.grammar.schemas import TAKEN, schema_of
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.text import one_line

ConstraintKind: TypeAlias = Literal["JSON schema", "regular expression", "choice", "Lark grammar", "GBNF grammar"]

# JSON as models write it: compact, with a space behind colon and comma, or indented. At each place where JSON allows
# white space it is one space, or a line end with an indentation: a model can't lose itself in blanks.
WHITESPACE = r"[ ]|\r?\n[ \t]{0,32}"
_JSON_OPTIONS = {
    "whitespace_pattern": WHITESPACE,
    "whitespace_flexible": True,
    "coerce_one_of": False,
    "lenient": False,
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the whole text of an answer must be. Immutable and hashable; equal sources make equal constraints.

    Made by `json_schema`, `regex`, `choice`, `lark` and `gbnf`, which raise ValueError, in one line, for what is wrong
    or can't be kept to the letter, and ResourceError without llguidance (`pip install 'subbyte[json]'`).
    kind, source: what it was made of, as text. grammar: the same as llguidance reads it.
    """

    kind: ConstraintKind
    source: str
    grammar: str = field(compare=False, repr=False)

    def __repr__(self) -> str:
        return f"Constraint({self.kind}: {arguments.shown(self.source)})"

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str | type) -> Constraint:
        """JSON that is valid by a schema (draft 2020-12), given as a mapping, as its text, or as a type.

        A type is a dataclass, TypedDict, msgspec.Struct or pydantic model; its objects have no other members.

        Properties come in the order of the schema. White space is a space, or a line end with up to 32 blanks of
        indentation, wherever JSON allows some. Keywords that can't be enforced (`not`, `if`, `contains`, `uniqueItems`
        and others), formats that are not known, and `oneOf` whose branches may overlap are refused.
        """
        source = _schema_text(schema)
        check_schema(json.loads(source))
        return _compiled(
            "JSON schema", source,
            lambda: str(llguidance().LLMatcher.grammar_from_json_schema(source, overrides=_JSON_OPTIONS)),
        )  # fmt: skip

    @classmethod
    def regex(cls, pattern: str) -> Constraint:
        """Text that a regular expression matches as a whole, in the syntax of Rust's `regex`: no look-around."""
        source = arguments.text("pattern", pattern)
        check_repetitions("pattern", source)
        return _compiled("regular expression", source, lambda: str(llguidance().LLMatcher.grammar_from_regex(source)))

    @classmethod
    def choice(cls, texts: Iterable[str]) -> Constraint:
        """One of some texts."""
        found = arguments.strings("texts", texts)
        if not found:
            raise ValueError("texts is empty; give at least one text to choose")
        words = [json.dumps(text, ensure_ascii=False) for text in dict.fromkeys(found)]
        lark = "start: CHOICE\nCHOICE: " + " | ".join(words)
        return _compiled("choice", f"[{', '.join(words)}]", lambda: str(llguidance().LLMatcher.grammar_from_lark(lark)))

    @classmethod
    def lark(cls, text: str) -> Constraint:
        """A text of a context-free grammar in llguidance's variant of Lark's syntax; it begins with the rule `start`.

        Its regular expressions are bounded as those of `regex`; who writes grammars for others should still be trusted
        with the time that they take.
        """
        source = arguments.text("text", text)
        check_repetitions("text", source)
        return _compiled("Lark grammar", source, lambda: str(llguidance().LLMatcher.grammar_from_lark(source)))

    @classmethod
    def gbnf(cls, text: str) -> Constraint:
        """A text of a context-free grammar in llama.cpp's GBNF; it begins with the rule `root`."""
        source = arguments.text("text", text)
        llguidance()

        def converted() -> str:
            from llguidance.gbnf_to_lark import gbnf_to_lark

            lark = gbnf_to_lark(source)
            check_repetitions("text", lark)
            return str(llguidance().LLMatcher.grammar_from_lark(lark))

        return _compiled("GBNF grammar", source, converted)

    def matcher(self, tokenizer: Tokenizer) -> Matcher:
        """The state of one answer before its first token, over the vocabulary of a tokenizer.

        Raises ValueError where no answer is possible: nothing is allowed, or no token can begin it.
        """
        return Matcher(self.kind, self.grammar, tokenizer)


def _schema_text(schema: Mapping[str, Any] | str | type) -> str:
    """A schema as JSON: its properties in the order in which they are given, which is that of the answer."""
    taken = f"{TAKEN} or its JSON as a text"
    if not isinstance(schema, Mapping | str):
        schema = schema_of(schema)
    try:
        found = json.loads(schema) if isinstance(schema, str) else schema
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(str(error))
        raise ValueError(f"schema is no JSON: {reason}; it must be {taken}") from None
    if not isinstance(found, Mapping):
        raise arguments.wrong_kind("schema", found, taken)
    return text


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} in it")


def _compiled(kind: ConstraintKind, source: str, compile: Callable[[], str]) -> Constraint:
    """The constraint, once llguidance has taken its grammar."""
    n_bytes = len(source.encode("utf-8", "surrogatepass"))
    if n_bytes > MAX_SOURCE:
        raise ValueError(f"the {kind} has {n_bytes} bytes, but at most {MAX_SOURCE} are compiled; make it smaller")
    library = llguidance()

    def work() -> tuple[str, str]:
        grammar = compile()
        wrong, messages = library.LLMatcher.validate_grammar_with_warnings(grammar, limits=limits(library))
        return grammar, messages[0] if wrong else ""

    try:
        grammar, message = with_deep_stack(n_bytes, work)
    except (ValueError, TypeError, RecursionError) as error:
        grammar, message = "", str(error) or "it is nested too deeply"
    except Exception as error:  # the converter's own
        grammar, message = "", str(error)
    if message:
        raise ValueError(f"the {kind} can't be used: {one_line(message)[:300]}")
    return Constraint(kind, source, grammar)
