"""What a Python function tells of its parameters: a JSON schema from type hints, descriptions from the docstring."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

_PARAMETER = re.compile(r":param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.+)")  # Sphinx
_SECTION = re.compile(r"(?:Args|Arguments|Parameters)\s*:\s*")  # Google
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Parameters:
    """A function's parameters: the JSON schema of all of them, and the type of each."""

    description: str
    schema: Mapping[str, Any]
    types: Mapping[str, Any]

    def convert(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as the function takes them: dataclasses, enumerations and the like of what JSON has.

        Raises ValueError, which names the function and the parameter.
        """
        import msgspec

        required = self.schema.get("required", ())
        if missing := [each for each in required if each not in values]:
            raise ValueError(f"{name} wants the argument {missing[0]}, which the call does not have")
        if unknown := [each for each in values if each not in self.types]:
            known = ", ".join(self.types) or "none"
            raise ValueError(f"{name} has no parameter {unknown[0]!r:.80}; it takes {known}")
        converted = {}
        for key, value in values.items():
            try:
                converted[key] = msgspec.convert(value, self.types[key], strict=False)
            except msgspec.ValidationError as error:
                raise ValueError(f"{name}: argument {key}: {error}") from None
        return converted


def read_signature(name: str, function: Callable[..., Any]) -> Parameters:
    """The parameters of a function. Raises ValueError for those that a call by name can't give, or of no JSON type."""
    import msgspec

    where = f"tool {name}"
    try:
        parameters = inspect.signature(function).parameters
        hints = get_type_hints(function, include_extras=True) if hasattr(function, "__annotations__") else {}
    except (TypeError, ValueError, NameError) as error:
        raise ValueError(f"{where}: its parameters can't be told: {error}; describe it by a mapping") from None
    for parameter in parameters.values():
        if parameter.kind not in _NAMED:
            raise ValueError(f"{where}: parameter {parameter} can't be given by name; give each a name of its own")
    types = {key: hints.get(key, Any) for key in parameters}
    try:
        schemas, definitions = msgspec.json.schema_components(types.values(), ref_template="#/$defs/{name}")
    except TypeError as error:
        raise ValueError(f"{where}: {_first_line(error)}; describe it by a mapping") from None
    text = inspect.getdoc(function) or ""
    descriptions = parameter_descriptions(text)
    properties: dict[str, Any] = {}
    for (key, parameter), schema in zip(parameters.items(), schemas, strict=True):
        schema = {**schema, **({"description": descriptions[key]} if key in descriptions else {})}
        if parameter.default is not parameter.empty and _is_plain(parameter.default):
            schema["default"] = parameter.default
        properties[key] = schema
    required = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    schema = {"type": "object", "properties": properties, "required": required}
    if definitions:
        schema["$defs"] = definitions
    return Parameters(" ".join(text.split("\n\n")[0].split()), schema, types)


def parameter_descriptions(text: str) -> dict[str, str]:
    """What a docstring says of each parameter, in Google's style or Sphinx's."""
    found = {key: description.strip() for key, description in _PARAMETER.findall(text)}
    lines = iter(text.split("\n"))
    if not any(_SECTION.fullmatch(line.strip()) for line in lines):
        return found
    indent = key = None
    for line in lines:  # those behind the heading
        depth = len(line) - len(line.lstrip())
        if line.strip() and (depth == 0 or (indent is not None and depth < indent)):
            break
        if not line.strip():
            continue
        indent = depth if indent is None else indent
        entry = _ENTRY.fullmatch(line.strip()) if depth == indent else None
        if entry is not None:
            key = entry[1]
            found[key] = entry[2]
        elif key is not None:
            found[key] = f"{found[key]} {line.strip()}".strip()
    return found


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")
