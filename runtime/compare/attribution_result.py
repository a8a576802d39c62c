"""What attributing a model's divergence to its tensors found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.compare.groups import By
from subbyte.runtime.evaluation.statistics import Estimate
from subbyte.runtime.pictures.frontier import shortened
from subbyte.runtime.pictures.picture import Picture, write_plot
from subbyte.runtime.pictures.sensitivity_plot import Cost, draw_sensitivities
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names
from subbyte.runtime.text import escaped


@dataclass(frozen=True, slots=True)
class Sensitivity(Record):
    """Of a base to one group of a model's tensors: the divergence that the group alone causes, in nats.

    base_bytes, n_bytes: what the group takes in the base and in the model.
    """

    group: str
    types: str
    base_bytes: int
    n_bytes: int
    kld: Estimate
    kld_per_mb: float
    """for each 10^6 bytes saved; infinite where a divergence saves none"""


@dataclass(frozen=True, slots=True)
class Attribution(Record, Tabular):
    """The divergence of a model from its base by groups of tensors, the dearest for what it saves first.

    whole: the divergence of the model, that is of all groups at once.
    """

    base: str
    model: str
    by: By
    groups: tuple[Sensitivity, ...]
    whole: Estimate
    n_ctx: int
    chunks: int
    n_scored: int
    text_sha256: str | None
    cache_type: str
    activations: str
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A group each, in the order of `groups`."""
        return [
            {"model": self.model, "base": self.base, "by": self.by, **dict(flat(of.to_dict()))} for of in self.groups
        ]

    def table(self) -> Table:
        """A row for each group, in the order of `groups`."""
        rows = [
            (of.group, of.types, f"{of.base_bytes / 1e6:.2f}", f"{of.n_bytes / 1e6:.2f}", of.kld.text(6),
             f"{of.kld_per_mb:.4g}")
            for of in self.groups
        ]  # fmt: skip
        columns = (self.by, "types", "MB of base", "MB", "KLD", "KLD per MB saved")
        name = short_names([self.model])[0]
        if not rows:
            return Table.of_figures(f"Blame: nothing differs between the base and {name}", columns, rows)
        sums = f"all of {name} {self.whole.text(6)}, sum of parts {sum(of.kld.value for of in self.groups):.6f}"
        return Table.of_figures(f"Blame: KLD of the base with one part of {name} at a time; {sums}", columns, rows)

    def save_plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes what each tensor costs as a grid of layers and kinds, an .svg or a .png; `by` must be "tensor".

        Needs matplotlib, of the extra `plot`. overwrite: also over an older plot. Raises ValueError for another ending,
        another `by` or where nothing differs, ResourceError without matplotlib, and FileExists for any other file.
        """
        if self.by != "tensor":
            raise ValueError(f'a plot of tensors is of a blame by="tensor", and this is one by={self.by!r}')
        write_plot(path, self._picture, overwrite=overwrite)

    def _picture(self) -> Picture:
        costs = [Cost(of.group, of.types, of.kld.value, of.kld.error, of.kld_per_mb) for of in self.groups]
        model, base = (shortened(escaped(name)) for name in short_names([self.model, self.base]))
        text = f", text sha256 {self.text_sha256[:16]}…" if self.text_sha256 else ""
        chunks = "1 chunk" if self.chunks == 1 else f"{self.chunks} chunks"
        conditions = f"each alone put into {base}, {chunks} of {self.n_ctx} tokens{text}"
        return draw_sensitivities(costs, model, conditions)

    def _repr_html_(self) -> str:
        return html(self.table())
