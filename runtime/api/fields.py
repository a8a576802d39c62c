"""Fields of a request: a JSON object read field by field, each checked, with errors that name the field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime import arguments
from subbyte.runtime.api.errors import ApiError

MAX_TEXTS = 64  # stop strings and the like


@dataclass(frozen=True)
class Fields:
    """The fields of a JSON object; null counts as absent, and what nobody reads is ignored.

    where: the object's place in the request, as `tools[0].function`; "" is the request itself.
    """

    values: Mapping[str, Any]
    where: str = ""

    @classmethod
    def of(cls, value: object, where: str = "") -> Fields:
        """Those of a value that must be an object."""
        if not isinstance(value, Mapping):
            found = f"{where} is" if where else "the request is"
            raise ApiError(400, f"{found} {arguments.shown(value)}, but must be an object", param=where or None)
        return cls(value, where)

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def get(self, name: str) -> Any:
        """The value as it is; None where there is none."""
        return self.values.get(name)

    def place(self, name: str) -> str:
        """The field's place in the request."""
        return f"{self.where}.{name}" if self.where else name

    def wrong(self, name: str, taken: str) -> ApiError:
        """The error for a field that is no `taken`."""
        place = self.place(name)
        if name not in self:
            return ApiError(400, f"{place} is missing; it must be {taken}", param=place)
        return ApiError(400, f"{place} is {arguments.shown(self.values[name])}, but must be {taken}", param=place)

    def text(self, name: str) -> str | None:
        """A text."""
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def needed_text(self, name: str) -> str:
        """A text that must be there."""
        if (value := self.text(name)) is None:
            raise self.wrong(name, "a text")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return default if value is None else value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number from low to high."""
        value = self.get(name)
        if isinstance(value, float) and value.is_integer():  # as JavaScript may write it
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from low to high."""
        value = self.get(name)
        if value is None:
            return None
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not fits or not math.isfinite(value):
            raise self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of some words."""
        value = self.get(name)
        if value is not None and value not in allowed:
            raise self.wrong(name, " or ".join(f'"{word}"' for word in allowed))
        return None if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A text or a list of texts; empty ones are left out."""
        value = self.get(name)
        found = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise self.wrong(name, "a text or a list of texts")
        if len(found) > MAX_TEXTS:
            raise self.wrong(name, f"a list of at most {MAX_TEXTS} texts")
        return tuple(each for each in found if each)

    def items(self, name: str) -> list[Any]:
        """A list; empty where there is none."""
        value = self.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, "a list")
        return value or []

    def object(self, name: str) -> Fields | None:
        """An object."""
        value = self.get(name)
        return None if value is None else Fields.of(value, self.place(name))

    def objects(self, name: str) -> Iterator[Fields]:
        """A list of objects."""
        for i, value in enumerate(self.items(name)):
            yield Fields.of(value, f"{self.place(name)}[{i}]")


def are_token_ids(value: object) -> bool:
    """Whether a value is a list of token ids, which stands where APIs take texts as well."""
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)
