"""Whether an argument's value is one of those that are right, by the rules of BFCL's AST checker.

Texts are equal whatever their case, spaces and the punctuation `,./-_*^`, and one quote is as good as the other.
Lists have their items in order. Of objects each key has its own list of acceptable values, with "" for a key that may
be left out. A whole number does for a number; a number with a fraction, even .0, is no whole one, and True is no 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

LEFT_OUT = ""  # among acceptable values: the argument need not be there
_KINDS = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null",
}  # fmt: skip
_NO_MATTER = str.maketrans("'", '"', " ,./-_*^")


def is_acceptable(value: Any, acceptable: Sequence[Any]) -> bool:
    """Whether a value is one of those that are right."""
    return any(_equal(value, right) for right in acceptable)


def has_right_type(value: Any, schema: object, acceptable: Sequence[Any]) -> bool:
    """Whether a value is of a type that its schema names, or that one of the values that are right has."""
    if not _fits(kind_of(value), _schema_kinds(schema), [kind_of(a) for a in acceptable if a != LEFT_OUT]):
        return False
    if not isinstance(value, list):
        return True
    items = schema.get("items") if isinstance(schema, Mapping) else None
    right = [kind_of(item) for each in acceptable if isinstance(each, list) for item in each]
    return all(_fits(kind_of(item), _schema_kinds(items), right) for item in value)


def kind_of(value: Any) -> str:
    """JSON's word for the type of a value."""
    return _KINDS.get(type(value), "null")


def may_be_left_out(acceptable: Sequence[Any]) -> bool:
    """Whether an argument need not be there."""
    return any(isinstance(right, str) and right == LEFT_OUT for right in acceptable)


def _fits(kind: str, by_schema: Collection[str], by_answers: Collection[str]) -> bool:
    allowed = {*by_schema, *by_answers}
    return not by_schema or kind in allowed or (kind == "integer" and "number" in allowed)


def _schema_kinds(schema: object) -> Collection[str]:
    given = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(given, str):
        return (given,)
    return [kind for kind in given if isinstance(kind, str)] if isinstance(given, list) else ()


def _equal(value: Any, right: Any) -> bool:
    if isinstance(value, str) and isinstance(right, str):
        return _plain(value) == _plain(right)
    if isinstance(value, list) and isinstance(right, list):
        return len(value) == len(right) and all(map(_equal, value, right))
    if isinstance(value, dict) and isinstance(right, dict):
        return _fields_equal(value, right)
    if isinstance(value, bool) or isinstance(right, bool):
        return value is right
    return bool(value == right)


def _fields_equal(value: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """An object, and its keys' acceptable values; a value that is no list of such is itself the one."""
    choices = {key: each if isinstance(each, list) else [each] for key, each in right.items()}
    return all(key in choices and is_acceptable(each, choices[key]) for key, each in value.items()) and all(
        key in value or may_be_left_out(each) for key, each in choices.items()
    )


def _plain(text: str) -> str:
    return text.translate(_NO_MATTER).lower()
