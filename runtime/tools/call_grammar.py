"""Grammars of calls: what a model may write once a call has begun, so that it is one of a known tool by its schema.

Each syntax has a grammar in llguidance's variant of Lark, of the form that models are trained with, where reading takes
more: arguments in the order of the schema and no others, separators as Python's `json` writes them.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from subbyte.errors import ResourceError
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.grammar.matcher import Matcher
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.tools.format import Syntax
from subbyte.runtime.tools.json_calls import NamedCalls, ObjectCalls
from subbyte.runtime.tools.literal_calls import BareKeyCalls, PythonCalls
from subbyte.runtime.tools.tagged_calls import TaggedCalls
from subbyte.runtime.tools.tool import Tool
from subbyte.runtime.tools.values import kinds_of

_log = logging.getLogger("subbyte")
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}
_JSON_KINDS = {"integer", "number", "boolean", "null"}  # written alike in JSON and in the literals of other syntaxes
_COMBINED = {"allOf", "anyOf", "oneOf", "$ref"}  # with these, properties may be named elsewhere
_DEFINITIONS = {"$defs", "definitions"}
_PYTHON = {"string": "STRING", "boolean": '("True" | "False")'}
_COMMON = r"""
WS: /[ \t\r\n]{0,2}/
ID: /[A-Za-z0-9]{9}/
TEXT: /(?s:.*)/
NUMBER: /-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,3})?/
STRING: /"([^"\\\x00-\x1f]|\\["\\\/bfnrt])*"/ | /'([^'\\\x00-\x1f]|\\['\\\/bfnrt])*'/
NAME: /[A-Za-z_][A-Za-z0-9_]*/
py: NUMBER | STRING | "True" | "False" | "None" | "true" | "false" | "null" | "[" (py (", " py)*)? "]" | "{" pairs? "}"
pairs: STRING ": " py (", " STRING ": " py)*
"""


class CallGrammars:
    """The grammars of one conversation's tools, each made once; none where llguidance is not installed."""

    def __init__(self, tools: Mapping[str, Tool], tokenizer: Tokenizer) -> None:
        self._tools, self._tokenizer = tools, tokenizer
        self._rests: dict[Syntax, Constraint | None] = {}

    def prepare(self, syntaxes: Iterable[Syntax]) -> None:
        """Makes the grammars of syntaxes ahead of the answer, so that none waits for them."""
        for syntax in syntaxes:
            if syntax not in self._rests:
                self._rests[syntax] = self._rest(syntax)

    def matcher(self, syntax: Syntax) -> Matcher | None:
        """The state of a call behind the trigger of a syntax, or, of one without, at its beginning; None: of no known
        grammar."""
        self.prepare([syntax])
        rest = self._rests[syntax]
        return None if rest is None else rest.matcher(self._tokenizer)

    def whole(self, syntax: Syntax, name: str | None) -> Constraint:
        """A call from its beginning on, or several behind each other. name: of the one tool that is called, once.

        Raises ResourceError without llguidance.
        """
        if name is None:
            return Constraint.lark(_Grammar(syntax, self._tools, self._tokenizer).text(whole=True, several=True))
        return Constraint.lark(_Grammar(syntax, {name: self._tools[name]}, self._tokenizer).text(whole=True))

    def _rest(self, syntax: Syntax) -> Constraint | None:
        try:
            rest = Constraint.lark(_Grammar(syntax, self._tools, self._tokenizer).text(whole=False))
            rest.matcher(self._tokenizer)  # which reads the vocabulary, once for a model
        except (ResourceError, ValueError) as error:
            _log.info("calls of tools are not held to their schemas: %s", error)
            return None
        return rest


class _Grammar:
    """The grammar of one syntax, rule by rule."""

    def __init__(self, syntax: Syntax, tools: Mapping[str, Tool], tokenizer: Tokenizer) -> None:
        self._syntax, self._tools, self._tokenizer = syntax, tools, tokenizer
        self._rules: list[str] = []
        self._behind = ""  # what the open mark begins with, if that has come

    def text(self, *, whole: bool, several: bool = False) -> str:
        """The grammar, from the syntax's trigger on, or behind it. several: others may follow."""
        self._behind = "" if whole else self._syntax.trigger
        match self._syntax:
            case ObjectCalls() as syntax:
                body = self._objects(syntax)
            case NamedCalls() as syntax:
                body = self._section(syntax.section, self._named(syntax))
            case TaggedCalls() as syntax:
                body = self._section(syntax.section, self._tagged(syntax))
            case PythonCalls() as syntax:
                body = f'{self._open(syntax.open)} "[" {self._list(self._python())} "]" {self._mark(syntax.close)}'
            case BareKeyCalls() as syntax:
                body = self._bare(syntax)
            case _:
                raise TypeError(f"no grammar for {self._syntax}")
        if several and _marks_each(self._syntax):
            body = f"{(call := self._rule(body))} (WS {call})*"
        return "\n".join([f"start: {body}", *self._rules]) + _COMMON

    def _objects(self, syntax: ObjectCalls) -> str:
        id = r'", \"id\": \"" ID "\""' if syntax.ids else ""
        calls = [
            f"""{_text(f'{{"name": "{name}", "{syntax.arguments}": ')} {self._arguments(tool)} {id} {_text("}")}"""
            for name, tool in self._tools.items()
        ]
        body = f'"[" {self._list(calls)} "]"' if syntax.listed else self._rule(" | ".join(calls))
        blank = " WS " if syntax.open else " "
        close = f" WS {self._mark(syntax.close)}" if syntax.close else ""
        return f"{self._open(syntax.open)}{blank}{body}{close}"

    def _named(self, syntax: NamedCalls) -> str:
        id_before = f"ID {self._mark(syntax.name)}" if syntax.name else ""
        id_behind = f"{self._mark(syntax.id)} ID" if syntax.id else ""
        calls = [
            f"{_text(name)} {id_behind} {self._mark(syntax.arguments)} {self._arguments(tool)}"
            for name, tool in self._tools.items()
        ]
        return f"{self._open(syntax.open)} {id_before} {self._rule(' | '.join(calls))} {self._mark(syntax.close)}"

    def _tagged(self, syntax: TaggedCalls) -> str:
        calls = []
        for name, tool in self._tools.items():
            parameters = ""
            for key, schema, required in _properties(tool):
                value = self._tagged_value(syntax, schema, tool)
                parameter = f"WS {self._mark(syntax.key)} {_text(key)} {self._mark(syntax.value)} {value}"
                parameters += f" {parameter}" if required else f" ({parameter})?"
            calls.append(f"{_text(name)} {self._mark(syntax.behind_name)}{parameters}")
        return f"{self._open(syntax.open)} {self._rule(' | '.join(calls))} WS {self._mark(syntax.close)}"

    def _tagged_value(self, syntax: TaggedCalls, schema: object, tool: Tool) -> str:
        """A value with its end mark."""
        if choices := _choices(schema):
            texts = (each if isinstance(each, str) else json.dumps(each) for each in choices)
            return f"{_one_of(texts)} {self._mark(syntax.end)}"
        kinds = kinds_of(schema, tool.parameters)
        if kinds and "string" not in kinds:
            return f"{self._json(schema, tool)} {self._mark(syntax.end)}"
        return self._until(syntax.end)

    def _python(self) -> list[str]:
        def value(schema: object, tool: Tool) -> str:
            if choices := _choices(schema):
                return _one_of(text for each in choices for text in _python_literals(each))
            kinds = kinds_of(schema, tool.parameters)
            if kinds and kinds <= {"integer", "number"}:
                return self._json(schema, tool)
            return _PYTHON.get("".join(kinds), "py")

        return [
            f"{_text(name + '(')} {self._fields(tool, '=', ', ', value)} {_text(')')}"
            for name, tool in self._tools.items()
        ]

    def _bare(self, syntax: BareKeyCalls) -> str:
        quote = self._mark(syntax.quote)
        text = self._rule(f"{quote} {self._until(syntax.quote)}")
        any_value = f"bare{len(self._rules)}"
        items, fields = f'{any_value} ("," {any_value})*', f'NAME ":" {any_value} ("," NAME ":" {any_value})*'
        self._rules.append(
            f'{any_value}: {text} | NUMBER | "true" | "false" | "null" | "[" ({items})? "]" | "{{" ({fields})? "}}"'
        )

        def value(schema: object, tool: Tool) -> str:
            if choices := _choices(schema):
                quoted = [f"{quote} {_text(each)} {quote}" for each in choices if isinstance(each, str)]
                return f"({' | '.join([*quoted, *(_text(json.dumps(c)) for c in choices if not isinstance(c, str))])})"
            kinds = kinds_of(schema, tool.parameters)
            if kinds and kinds <= _JSON_KINDS:
                return self._json(schema, tool)
            return text if kinds == {"string"} else any_value

        calls = [
            f"{_text(name)} {_text('{')} {self._fields(t, ':', ',', value)} {_text('}')}"
            for name, t in self._tools.items()
        ]
        return f"{self._open(syntax.open)} {self._rule(' | '.join(calls))} {self._mark(syntax.close)}"

    def _fields(self, tool: Tool, assigns: str, comma: str, value: Any) -> str:
        """The arguments of a tool in the order of its schema, those left out that need not be there."""
        rest = '""'
        with_comma = '""'
        for key, schema, required in reversed(_properties(tool)):
            field = f"{_text(key + assigns)} {value(schema, tool)} {with_comma}"
            behind = f"{_text(comma + key + assigns)} {value(schema, tool)} {with_comma}"
            rest = self._rule(field if required else f"{field} | {rest}")
            with_comma = self._rule(behind if required else f"{behind} | {with_comma}")
        return rest

    def _section(self, section: tuple[str, str], call: str) -> str:
        if not section[0]:
            return call
        return f"{self._open(section[0])} WS {self._rule(call)} (WS {self._rule(call)})* WS {self._mark(section[1])}"

    def _list(self, calls: Sequence[str]) -> str:
        call = self._rule(" | ".join(calls))
        return f'{call} (", " {call})*'

    def _arguments(self, tool: Tool) -> str:
        """The JSON of all arguments of a tool."""
        schema: dict[str, Any] = {**tool.parameters, "type": "object"}
        if not schema.keys() & _COMBINED:
            schema.setdefault("additionalProperties", False)
        if not _can_be_kept(schema):
            properties = {key: self._kept(each, tool) for key, each, _ in _properties(tool)}
            schema = {"type": "object", "properties": properties, "required": tool.parameters.get("required", [])}
        return self._json(schema, tool)

    def _json(self, schema: object, tool: Tool) -> str:
        """JSON that is valid by a schema."""
        return self._rule(f"%json {json.dumps({**self._kept(schema, tool), 'x-guidance': _STYLE})}")

    def _kept(self, schema: object, tool: Tool) -> dict[str, Any]:
        """A schema of a tool as one of its own; where that can't be kept to the letter, one of its kinds alone."""
        given = dict(schema) if isinstance(schema, Mapping) else {}
        for key in _DEFINITIONS & tool.parameters.keys():
            given[key] = tool.parameters[key]
        if _can_be_kept(given):
            return given
        kinds = sorted(kinds_of(given, tool.parameters))
        return {"type": kinds} if kinds else {}

    def _until(self, mark: str) -> str:
        """Any text, and the mark that ends it."""
        if self._is_control(mark.split()[0]):
            return f"TEXT {self._mark(mark)}"
        name = f"text{len(self._rules)}"
        self._rules.append(f"{name}[suffix={json.dumps(mark)}]: TEXT")
        return name

    def _open(self, mark: str) -> str:
        """A mark that begins a call; what has come of the first one is left out."""
        if self._behind and mark.startswith(self._behind):
            mark, self._behind = mark.removeprefix(self._behind), ""
        return self._mark(mark)

    def _rule(self, body: str) -> str:
        name = f"rule{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name

    def _is_control(self, text: str) -> bool:
        id = self._tokenizer.id(text)
        return id is not None and not self._tokenizer.piece(id)

    def _mark(self, text: str) -> str:
        """A mark: control tokens by their ids, the rest as text; white space in it as it is."""
        controls = {self._tokenizer.text(id): id for id in self._tokenizer.encode(text, special=True)}
        names = [re.escape(name) for name in controls if name and self._is_control(name)]
        parts = re.split(f"({'|'.join(sorted(names, key=len, reverse=True))})", text) if names else [text]
        return " ".join(f"<[{controls[part]}]>" if i % 2 else _text(part) for i, part in enumerate(parts) if part)


def _marks_each(syntax: Syntax) -> bool:
    """Whether each call has marks of its own, so that others may follow; elsewhere a list or a section has them all."""
    match syntax:
        case ObjectCalls():
            return bool(syntax.open) and not syntax.listed
        case NamedCalls() | TaggedCalls():
            return not syntax.section[0]
        case _:
            return isinstance(syntax, BareKeyCalls)


def _can_be_kept(schema: Mapping[str, Any]) -> bool:
    try:
        Constraint.json_schema(schema)
    except ValueError:
        return False
    return True


def _properties(tool: Tool) -> list[tuple[str, object, bool]]:
    """The parameters of a tool: name, schema, and whether a call must have it."""
    required = tool.parameters.get("required", ())
    return [(key, schema, key in required) for key, schema in tool.parameters.get("properties", {}).items()]


def _choices(schema: object) -> Sequence[str | float | bool | None]:
    """The plain values of which a schema allows one; none if it allows others."""
    choices = schema.get("enum") if isinstance(schema, Mapping) else None
    plain = isinstance(choices, list) and all(each is None or isinstance(each, str | float | int) for each in choices)
    return choices if isinstance(choices, list) and plain else ()


def _python_literals(value: object) -> Sequence[str]:
    return (json.dumps(value, ensure_ascii=False), repr(value)) if isinstance(value, str) else (repr(value),)


def _one_of(texts: Iterable[str]) -> str:
    return f"({' | '.join(_text(text) for text in dict.fromkeys(texts))})"


def _text(text: str) -> str:
    """Text as Lark spells it."""
    return json.dumps(text, ensure_ascii=False)
