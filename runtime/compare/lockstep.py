"""A base and other models over the same chunk, a batch at a time, their logits a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import Comparison, compare_logits
from subbyte.runtime.compare.base_file import LEAST_LOG_PROB, BaseFile, Values
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.model import Model

BLOCK_BYTES = 32 * 2**20  # of logits of one model
Tokens: TypeAlias = NDArray[np.int32]
Against: TypeAlias = Callable[[Values], Comparison]
"""Takes a model's logits [n, n_vocab] and compares them with the base's."""


class RowBlock(NamedTuple):
    """Rows of a batch whose logits are computed together, int32 [n].

    scored: their indices among the chunk's scored rows. targets: the tokens that they should predict.
    """

    rows: Tokens
    scored: range
    targets: Tokens


def batches(chunk: Chunk, n_batch: int) -> Iterator[tuple[Tokens, int]]:
    """A chunk's tokens in batches, each with the position of its first one."""
    for pos in range(0, len(chunk.tokens), n_batch):
        yield chunk.tokens[pos : pos + n_batch], pos


def row_blocks(chunk: Chunk, n: int, pos: int, n_vocab: int) -> Iterator[RowBlock]:
    """The scored rows of a batch of n tokens at pos, as many at once as BLOCK_BYTES allow."""
    at_once = max(1, BLOCK_BYTES // (4 * n_vocab))
    first, end = np.searchsorted(chunk.rows, [pos, pos + n]).tolist()
    for start in range(first, end, at_once):
        scored = range(start, min(start + at_once, end))
        of = slice(scored.start, scored.stop)
        yield RowBlock(chunk.rows[of] - np.int32(pos), scored, chunk.targets[of])


class Base(Protocol):
    """What models are compared with."""

    def against(self, chunk: int, block: RowBlock) -> Against:
        """What compares with the base's predictions at these rows of its latest batch, or of that chunk in a file."""


class ModelBase:
    """A base whose forward pass is run beside; save: gets all of its scored logits. model: computes the comparison."""

    def __init__(self, model: Model, forward: Forward, save: Callable[[Values], object] | None = None) -> None:
        self._model, self._forward, self._save = model, forward, save

    def against(self, chunk: int, block: RowBlock) -> Against:
        p = self._forward.logits(block.rows)
        if self._save is not None:
            self._save(p)
        return lambda q: compare_logits(p, q, block.targets, n_threads=self._model.n_threads, isa=self._model.isa)


class FileBase:
    """A base whose predictions are in a file. As llama.cpp has it, tokens of p <= e^-16 have no part in a divergence.

    model: computes the comparison.
    """

    def __init__(self, model: Model, file: BaseFile) -> None:
        self._model, self._file = model, file

    def against(self, chunk: int, block: RowBlock) -> Against:
        log_p = self._file.log_probs(chunk, block.scored)
        log_p_targets = log_p[range(len(block.targets)), block.targets].astype(np.float64)
        log_p[log_p <= LEAST_LOG_PROB] = -np.inf

        def against(q: Values) -> Comparison:
            model = self._model
            comparison = compare_logits(
                log_p, q, block.targets, n_threads=model.n_threads, isa=model.isa, p_is_log=True
            )
            return comparison._replace(log_p=log_p_targets)

        return against
