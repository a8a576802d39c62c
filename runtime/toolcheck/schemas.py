"""BFCL's descriptions of functions as tools: their types are Python's names, a tool's are JSON schema's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from subbyte.runtime.text import quoted
from subbyte.runtime.tools.tool import Tool

_TYPES = {
    "dict": "object", "hashmap": "object", "float": "number", "double": "number", "int": "integer", "bool": "boolean",
    "str": "string", "list": "array", "tuple": "array",
}  # fmt: skip
_JSON = {"object", "number", "integer", "boolean", "string", "array", "null"}
_MAX_DEPTH = 64


def tool_of(function: object) -> Tool:
    """The tool that a function of a case is. Raises ValueError for what is no function."""
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError('a function must be an object with a "name"')
    name, parameters = function["name"], function.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise ValueError(f'function {quoted(name)}: "parameters" must be an object')
    schema = {"properties": {}, **json_schema(parameters), "type": "object"}
    return Tool(tool_name(name), str(function.get("description") or ""), schema)


def tool_name(name: str) -> str:
    """A function's name as models are given it: APIs take no dots, so that few models were trained with them."""
    return name.replace(".", "_")


def json_schema(described: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A parameter's description as a JSON schema; "any" is one without a type. What else it says is kept."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"schemas lie within each other, deeper than {_MAX_DEPTH}")
    schema = dict(described)
    if (kind := _type(described.get("type"))) is None:
        schema.pop("type", None)
    else:
        schema["type"] = kind
    if isinstance(properties := described.get("properties"), Mapping):
        schema["properties"] = {
            key: json_schema(each, depth + 1) if isinstance(each, Mapping) else each for key, each in properties.items()
        }
    if isinstance(items := described.get("items"), Mapping):
        schema["items"] = json_schema(items, depth + 1)
    return schema


def _type(given: object) -> object:
    """JSON schema's word for a type; None for any. Raises ValueError for one that is not known."""
    if given is None or not isinstance(given, str):
        return given
    word = given.lower()
    if word == "any":
        return None
    found = _TYPES.get(word, word)
    if found not in _JSON:
        raise ValueError(f"a type {given!r:.40}; known are any, {', '.join(sorted({*_TYPES, *_JSON}))}")
    return found
