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

PIECE_BYTES = 32 * 2**20  # of logits of one model
Tokens: TypeAlias = NDArray[np.int32]
Against: TypeAlias = Callable[[Values], Comparison]
"""Takes a model's logits [n, n_vocab] and compares them with the base's."""


class Piece(NamedTuple):
    """Rows of a batch whose logits are looked at together.

    scored: their places among the chunk's scored rows. wanted: the tokens that they should predict.
    """

    rows: range
    scored: range
    wanted: Tokens


def batches(chunk: Chunk, n_batch: int) -> Iterator[tuple[Tokens, int]]:
    """A chunk's tokens in batches, each with the position of its first one."""
    for pos in range(0, len(chunk.tokens), n_batch):
        yield chunk.tokens[pos : pos + n_batch], pos


def pieces(chunk: Chunk, n: int, pos: int, n_vocab: int) -> Iterator[Piece]:
    """The scored rows of a batch of n tokens at pos, as few at once as PIECE_BYTES ask for."""
    at_once = max(1, PIECE_BYTES // (4 * n_vocab))
    for start in range(max(chunk.first - pos, 0), n, at_once):
        rows = range(start, min(start + at_once, n))
        first = pos + start - chunk.first
        scored = range(first, first + len(rows))
        yield Piece(rows, scored, chunk.wanted[scored.start : scored.stop])


class Base(Protocol):
    """What models are compared with."""

    def against(self, chunk: int, piece: Piece) -> Against:
        """What compares with the base's predictions at these rows of its latest batch, or of that chunk in a file."""


class ModelBase:
    """A base whose forward pass is run beside; save: gets all of its scored logits. model: computes the comparison."""

    def __init__(self, model: Model, forward: Forward, save: Callable[[Values], object] | None = None) -> None:
        self._model, self._forward, self._save = model, forward, save

    def against(self, chunk: int, piece: Piece) -> Against:
        p = self._forward.logits(piece.rows)
        if self._save is not None:
            self._save(p)
        return lambda q: compare_logits(p, q, piece.wanted, n_threads=self._model.n_threads, isa=self._model.isa)


class FileBase:
    """A base whose predictions are in a file. As llama.cpp has it, tokens of p <= e^-16 have no part in a divergence.

    model: computes the comparison.
    """

    def __init__(self, model: Model, file: BaseFile) -> None:
        self._model, self._file = model, file

    def against(self, chunk: int, piece: Piece) -> Against:
        log_p = self._file.log_probs(chunk, piece.scored)
        wanted = log_p[range(len(piece.wanted)), piece.wanted].astype(np.float64)
        log_p[log_p <= LEAST_LOG_PROB] = -np.inf

        def against(q: Values) -> Comparison:
            model = self._model
            found = compare_logits(log_p, q, piece.wanted, n_threads=model.n_threads, isa=model.isa, p_is_log=True)
            return found._replace(log_p=wanted)

        return against
