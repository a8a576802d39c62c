"""Argument values: literals of Python and of Gemma, and plain text to values by a tool's schema."""

import json
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from subbyte.runtime.tools.reader import MAX_DEPTH, Mismatch

_KINDS = {bool: "boolean", int: "integer", float: "number", dict: "object", list: "array", type(None): "null"}
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\s\S]))")
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]*)?(?:\.\d*)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"\w[\w.-]*")
_BRACKET = re.compile(r"[()\[\]{}]")


def json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text is; Mismatch if it is none."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Mismatch from None
    if not isinstance(value, dict):
        raise Mismatch
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


def keyword_arguments(text: str) -> dict[str, Any]:
    """The arguments of `(a="x", b=[1, None])`, a Python call whose values are literals, JSON's words included."""
    return _Literals(text, ('"', "'"), escapes=True).fields("(", "=", ")")


def bare_object(text: str, quote: str) -> dict[str, Any]:
    """The object of `{a:<quote>x<quote>,b:[1,true]}`: keys without quotes, no escapes in texts."""
    return _Literals(text, (quote,), escapes=False).fields("{", ":", "}")


class _Literals:
    """Values in a text that is there as a whole; brackets in it are known not to be nested deeply."""

    def __init__(self, text: str, quotes: tuple[str, ...], *, escapes: bool) -> None:
        self._text, self._at, self._quotes, self._escapes = text, 0, quotes, escapes

    def fields(self, open: str, between: str, close: str) -> dict[str, Any]:
        """All fields of the text, from bracket to bracket."""
        fields = self._fields(open, between, close)
        if self._at != len(self._text):
            raise Mismatch
        return fields

    def _fields(self, open: str, between: str, close: str) -> dict[str, Any]:
        self._expect(open)
        fields: dict[str, Any] = {}
        while not self._skip(close):
            if fields:
                self._expect(",")
                if self._skip(close):
                    break
            key = self._string()
            key = self._match(_WORD) if key is None else key
            self._expect(between)
            fields[key] = self._value()
        return fields

    def _value(self) -> Any:
        self._spaces()
        if (string := self._string()) is not None:
            return string
        next_one = self._text[self._at : self._at + 1]
        if next_one == "{":
            return self._fields("{", ":", "}")
        if next_one in ("[", "("):
            return self._items(next_one, "]" if next_one == "[" else ")")
        if (number := _NUMBER.match(self._text, self._at)) is not None and any(map(str.isdigit, number[0])):
            self._at = number.end()
            try:
                return float(number[0]) if set(number[0]) & set(".eE") else int(number[0])
            except ValueError:
                raise Mismatch from None
        word = self._match(_WORD)
        if word not in _WORDS:
            raise Mismatch
        return _WORDS[word]

    def _items(self, open: str, close: str) -> list[Any]:
        self._expect(open)
        items: list[Any] = []
        while not self._skip(close):
            if items:
                self._expect(",")
                if self._skip(close):
                    break
            items.append(self._value())
        return items

    def _string(self) -> str | None:
        """The text between quotes, if a quote comes next."""
        self._spaces()
        quote = next((quote for quote in self._quotes if self._text.startswith(quote, self._at)), None)
        if quote is None:
            return None
        start = end = self._at + len(quote)
        while not self._text.startswith(quote, end):
            if end >= len(self._text):
                raise Mismatch
            end += 2 if self._escapes and self._text[end] == "\\" else 1
        self._at = end + len(quote)
        string = self._text[start:end]
        return _ESCAPE.sub(_unescaped, string) if self._escapes else string

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._spaces()
        found = pattern.match(self._text, self._at)
        if found is None:
            raise Mismatch
        self._at = found.end()
        return found[0]

    def _expect(self, literal: str) -> None:
        if not self._skip(literal):
            raise Mismatch

    def _skip(self, literal: str) -> bool:
        self._spaces()
        found = self._text.startswith(literal, self._at)
        self._at += len(literal) if found else 0
        return found

    def _spaces(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1


def _unescaped(found: re.Match[str]) -> str:
    if found[1] or found[2]:
        return chr(int(found[1] or found[2], 16))
    return _ESCAPES.get(found[3], found[3])


def typed(text: str, schema: object, root: Mapping[str, Any]) -> Any:
    """The value that a text stands for, by the schema of its parameter: text where that takes text alone.

    root: the whole schema, which `$ref` refers to. Text that is no value of the schema's kinds stays text; a schema
    that names no kind takes what is JSON as that.
    """
    kinds = kinds_of(schema, root)
    if kinds == {"string"}:
        return text
    value = _parsed(text.strip())
    kind = _KINDS.get(type(value))
    if kind is None or (kinds and kind not in kinds and not (kind == "integer" and "number" in kinds)):
        return text
    return value


def _parsed(text: str) -> Any:
    """The value of JSON or of a Python literal, since some templates write Python's; the text itself if it is none."""
    if _depth(text) > MAX_DEPTH:
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        pass
    try:
        return keyword_arguments(f"(value={text})")["value"]
    except (Mismatch, KeyError):
        return text


def _depth(text: str) -> int:
    """How deeply brackets lie within each other, at most; those in strings are counted, too."""
    return max(accumulate((1 if bracket in "([{" else -1 for bracket in _BRACKET.findall(text)), initial=0))


def kinds_of(schema: object, root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows; none if it names none. root: the whole, which `$ref` refers to."""
    return _kinds(schema, root, 8)


def _kinds(schema: object, root: Mapping[str, Any], depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or not depth:
        return set()
    if isinstance(reference := schema.get("$ref"), str):
        return _kinds(_referred(reference, root), root, depth - 1)
    given = schema.get("type")
    if isinstance(given, str):
        return {given}
    if isinstance(given, list):
        return {kind for kind in given if isinstance(kind, str)}
    values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
    kinds = {_KINDS.get(type(value), "string") for value in values}
    for name in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(name), list):
            found = [_kinds(part, root, depth - 1) for part in parts]
            kinds = kinds.union(*found) if all(found) else kinds
    return kinds


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    value: object = root
    for name in reference.removeprefix("#/").split("/"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def well_formed(value: Any) -> Any:
    """A value whose texts are real Unicode: surrogates that are left alone, which JSON can spell, become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {well_formed(key): well_formed(each) for key, each in value.items()}
    return list(map(well_formed, value)) if isinstance(value, list) else value
