"""Scored tokens, one after the other: the chunk, the text and the position that each of them has.

Conversations have as many scored tokens as their answers, so figures of tokens are kept in one row, not chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.statistics import LEVEL, Floats, Interval, block_bootstrap

FIRST_BUCKET = 64  # positions of the first bucket of conversations; each further one is as long as all before it
_PARTS = 4  # buckets where all positions are of one order of magnitude


@dataclass(frozen=True, eq=False, slots=True)
class ScoredTokens:
    """int32 [n]: the chunk of each scored token, the text it is of, and how many tokens come before it.

    names: of the texts.
    """

    chunk: NDArray[np.int32]
    domain: NDArray[np.int32]
    position: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, chunks: Sequence[Chunk], names: Sequence[str]) -> ScoredTokens:
        """Those of some chunks, at least one; names: of the texts that they are cut from."""
        sizes = [len(chunk.targets) for chunk in chunks]
        return cls(
            np.repeat(np.arange(len(chunks), dtype=np.int32), sizes),
            np.repeat(np.array([chunk.domain for chunk in chunks], np.int32), sizes),
            np.concatenate([chunk.rows for chunk in chunks]) + np.int32(1),
            tuple(names),
        )

    def interval(self, values: Floats, level: float = LEVEL, of: NDArray[np.bool_] | None = None) -> Interval:
        """Mean over the tokens, or over some `of` them, at least one, by block bootstrap over chunks."""
        chunk = self.chunk if of is None else self.chunk[of]
        sizes = np.bincount(chunk)
        sums = np.bincount(chunk, values if of is None else values[of])
        return block_bootstrap(sums[sizes > 0] / sizes[sizes > 0], level, sizes=sizes[sizes > 0])

    def domains(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each text by its name, and which tokens are of it; nothing where there is one text only."""
        for i, name in enumerate(self.names):
            tokens = self.domain == i
            if len(self.names) > 1 and tokens.any():
                yield name, tokens

    def positions(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each bucket of positions, such as "256-319", and which tokens are in it.

        Where the last position is less than four times the first, these are quarters; else powers of two from 64.
        """
        first, end = int(self.position.min()), int(self.position.max()) + 1
        if end <= 4 * first:
            edges = sorted({first + (end - first) * i // _PARTS for i in range(_PARTS + 1)})
        else:
            edges = [0, *(FIRST_BUCKET << i for i in range(end.bit_length()) if FIRST_BUCKET << i < end), end]
        for low, high in pairwise(edges):
            tokens = (self.position >= low) & (self.position < high)
            if tokens.any():
                yield f"{low}-{high - 1}", tokens
