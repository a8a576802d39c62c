"""Records: results as frozen dataclasses that turn into JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all results: plain values that turn into a `dict` fit for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, nested records as dicts; a number that is not finite, which JSON lacks, is None."""
        return {name: finite(value) for name, value in asdict(self).items()}


def finite(value: Any) -> Any:
    """The value with None in place of numbers that are not finite, also in what it holds."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return type(value)(map(finite, value)) if isinstance(value, (list, tuple)) else value
