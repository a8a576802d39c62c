"""What a comparison finds in one chunk, and its form in a checkpoint and on the way from a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from subbyte.kernels import Comparison
from subbyte.runtime.evaluation.checkpoint import Figures
from subbyte.runtime.evaluation.divergence import TokenFigures
from subbyte.runtime.evaluation.statistics import Floats

_N_FIELDS = 4  # of TokenFigures


class ChunkFigures(NamedTuple):
    """Of one chunk: each model's figures, and the sums of their layers' errors, if they were asked for."""

    per_token: list[TokenFigures]
    layer_sums: Floats | None

    @classmethod
    def of(cls, comparisons: Sequence[Sequence[Comparison]], layer_sums: Floats | None) -> ChunkFigures:
        """From each model's comparisons with the base, block after block."""
        return cls(list(map(_of_blocks, comparisons)), layer_sums)

    @classmethod
    def of_record(cls, record: Figures, n_models: int) -> ChunkFigures:
        """What `to_record` made a record of."""
        n = _N_FIELDS * n_models
        per_token = [
            TokenFigures(loss[None], loss_base[None], kld[None], same_top[None] != 0)
            for loss, loss_base, kld, same_top in (record[i : i + _N_FIELDS] for i in range(0, n, _N_FIELDS))
        ]
        return cls(per_token, record[n] if len(record) > n else None)

    def to_record(self) -> list[Floats]:
        """As arrays of float64: the fields of each model's figures, then the sums of layers."""
        arrays = (array for of in self.per_token for array in (of.loss, of.loss_base, of.kld, of.same_top))
        per_token = [array[0].astype(np.float64) for array in arrays]
        return per_token if self.layer_sums is None else [*per_token, self.layer_sums]


def joined(chunks: Sequence[TokenFigures]) -> TokenFigures:
    """The figures of one model over several chunks."""
    fields = zip(*((of.loss, of.loss_base, of.kld, of.same_top) for of in chunks), strict=True)
    return TokenFigures(*(np.concatenate(of_all) for of_all in fields))


def _of_blocks(blocks: Sequence[Comparison]) -> TokenFigures:
    log_p, log_q, kld, top_p, top_q = (np.concatenate(of_all) for of_all in zip(*blocks, strict=True))
    return TokenFigures(-log_q[None], -log_p[None], kld[None], (top_p == top_q)[None])
