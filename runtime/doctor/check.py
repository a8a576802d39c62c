"""One line of what a look at machine and installation found."""

from dataclasses import dataclass, field
from typing import Any

from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class Check(Record):
    """name: what was looked at. text: what was found, on a line. advice: what is likely slow or missing, and what to do
    about it; None where all is well. facts: the figures of the text by name, bytes and bytes a second in full."""

    name: str
    text: str
    advice: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def size(n_bytes: float) -> str:
    """Bytes for people: `23.4 GB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
