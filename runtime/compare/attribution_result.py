"""What blaming a model's tensors found."""

from __future__ import annotations

from dataclasses import dataclass

from subbyte.runtime.compare.groups import By
from subbyte.runtime.compare.table import blame_table
from subbyte.runtime.evaluation.divergence import Estimate
from subbyte.runtime.evaluation.tables import html
from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class Blame(Record):
    """A group of tensors: what it adds to the base's divergence, in nats, and how many bytes it has here and there."""

    group: str
    types: str
    base_bytes: int
    n_bytes: int
    kld: Estimate
    kld_per_mb: float
    """for each 10^6 bytes saved; infinite where a divergence saves none"""


@dataclass(frozen=True, slots=True)
class BlameRun(Record):
    """All groups in which a model differs from its base, the dearest for what it saves first.

    whole: the divergence of the model, that is of all groups at once.
    """

    base: str
    model: str
    by: By
    groups: tuple[Blame, ...]
    whole: Estimate
    n_ctx: int
    chunks: int
    n_scored: int
    text_sha256: str | None
    cache_type: str
    activations: str
    seconds: float

    def _repr_html_(self) -> str:
        return html([blame_table(self)])
