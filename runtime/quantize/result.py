"""What quantizing has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from subbyte.runtime.quantize.plan import QuantPlan
from subbyte.runtime.records import Tabular


@dataclass(frozen=True)
class Quantized(Tabular):
    """What was written, or with dry_run would be. n_bytes: of the file. resumed: tensors that an earlier run left."""

    source: Path
    out: Path
    plan: QuantPlan
    n_bytes: int
    dry_run: bool
    resumed: int
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A block type each, most bytes first."""
        return [asdict(share) for share in self.plan.shares()]

    def to_dict(self) -> dict[str, Any]:
        """All of it, fit for JSON; tensors with their types."""
        own = {"source": str(self.source), "out": str(self.out), "file_bytes": self.n_bytes, "dry_run": self.dry_run,
               "resumed": self.resumed, "seconds": self.seconds}  # fmt: skip
        return {**own, **self.plan.to_dict()}

    def _repr_html_(self) -> str:
        size = f"{self.n_bytes / 1e6:.1f} MB, {self.plan.bits_per_weight:.2f} bits per weight"
        rows = "".join(
            f"<tr><td>{share.type}</td><td>{share.n_tensors}</td><td>{share.n_bytes / 1e6:.1f} MB</td></tr>"
            for share in self.plan.shares()
        )
        head = "<tr><th>type</th><th>tensors</th><th>size</th></tr>"
        return f"<p>{escape(self.plan.recipe.name)}: {size}</p><table>{head}{rows}</table>"
