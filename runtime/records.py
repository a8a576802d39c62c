"""Records: results as frozen dataclasses that turn into JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from subbyte.runtime.tables import csv_text


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all results: plain values that turn into a `dict` fit for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, nested records as dicts, fit for JSON.

        A number that is not finite is None, bytes are a list of numbers.
        """
        return {name: finite(value) for name, value in asdict(self).items()}


def finite(value: Any) -> Any:
    """The value as JSON has it: None for numbers that are not finite, lists for bytes, also in what it holds."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return type(value)(map(finite, value)) if isinstance(value, (list, tuple)) else value


class Tabular:
    """A result that has rows of figures, for CSV and data frames: `pandas.DataFrame(result.records())`."""

    __slots__ = ()

    def records(self) -> list[dict[str, Any]]:
        """A row each of plain values by name, figures in full."""
        raise NotImplementedError

    def to_csv(self) -> str:
        """The rows as CSV, with a line of headings."""
        return csv_text(self.records())
