"""What a comparison finds in one chunk, and its form in a checkpoint and on the way from a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from subbyte.kernels import Comparison
from subbyte.runtime.compare.lockstep import Tokens
from subbyte.runtime.evaluation.checkpoint import Figures
from subbyte.runtime.evaluation.divergence import TokenFigures
from subbyte.runtime.evaluation.statistics import Floats

_FIELDS = tuple(field.name for field in fields(TokenFigures))
_FLAGS = ("same_top", "right", "right_base")
N_FIELDS = len(_FIELDS)


class ChunkFigures(NamedTuple):
    """Of one chunk: each model's figures, and the sums of their layers' errors, if they were asked for."""

    per_token: list[TokenFigures]
    layer_sums: Floats | None

    @classmethod
    def of(
        cls, comparisons: Sequence[Sequence[Comparison]], targets: Tokens, layer_sums: Floats | None
    ) -> ChunkFigures:
        """From each model's comparisons with the base, block after block. targets: of the chunk."""
        return cls([_of_blocks(blocks, targets) for blocks in comparisons], layer_sums)

    @classmethod
    def of_record(cls, record: Figures, n_models: int) -> ChunkFigures:
        """What `to_record` made a record of."""
        n = N_FIELDS * n_models
        per_token = [_of_arrays(record[i : i + N_FIELDS]) for i in range(0, n, N_FIELDS)]
        return cls(per_token, record[n] if len(record) > n else None)

    def to_record(self) -> list[Floats]:
        """As arrays of float64: the fields of each model's figures, then the sums of layers."""
        per_token = [getattr(of, name).astype(np.float64) for of in self.per_token for name in _FIELDS]
        return per_token if self.layer_sums is None else [*per_token, self.layer_sums]


def joined(chunks: Sequence[TokenFigures]) -> TokenFigures:
    """The figures of one model over several chunks."""
    return TokenFigures(*(np.concatenate([getattr(of, name) for of in chunks]) for name in _FIELDS))


def _of_arrays(arrays: Figures) -> TokenFigures:
    named = zip(_FIELDS, arrays, strict=True)
    return TokenFigures(*(array != 0 if name in _FLAGS else array for name, array in named))  # type: ignore[arg-type]


def _of_blocks(blocks: Sequence[Comparison], targets: Tokens) -> TokenFigures:
    log_p, log_q, kld, reverse, common, top_p, top_q = (np.concatenate(of_all) for of_all in zip(*blocks, strict=True))
    return TokenFigures(-log_q, -log_p, kld, reverse, common, top_p == top_q, top_q == targets, top_p == targets)
