"""Records: results as frozen dataclasses that turn into JSON."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all results: plain values that turn into a `dict` fit for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, nested records as dicts."""
        return asdict(self)
