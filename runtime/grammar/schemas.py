"""Types as JSON schemas, and JSON as values of those types: by msgspec, or by pydantic for its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from subbyte.runtime import arguments
from subbyte.runtime.text import one_line

TAKEN = "a dataclass, TypedDict, msgspec.Struct or pydantic model, or a JSON schema (a dict)"


def schema_of(kind: Any) -> Mapping[str, Any]:
    """The JSON schema of a type; objects have no more members than those that the type names.

    Raises ValueError for what is no such type.
    """
    if _is_pydantic(kind):
        schema = kind.model_json_schema()
    else:
        import msgspec

        try:
            schema = msgspec.json.schema(kind)
        except (TypeError, RecursionError) as error:
            taken = f"{TAKEN}, of types that JSON has: {one_line(str(error))[:200]}"
            raise arguments.wrong_kind("schema", kind, taken) from None
    return _closed(schema)


def read(kind: Any, text: str) -> Any:
    """The value of a type, or plain data for a schema, that a JSON text holds. Raises ValueError for any other text."""
    if isinstance(kind, Mapping | str):
        return json.loads(text)
    if _is_pydantic(kind):
        return kind.model_validate_json(text)  # its ValidationError is a ValueError
    import msgspec

    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _is_pydantic(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, where no object of named members takes others: what a model adds would only be thrown away."""
    for each in (schema, *schema.get("$defs", {}).values()):
        if "properties" in each:
            each.setdefault("additionalProperties", False)
    return schema
