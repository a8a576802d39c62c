"""A base over one chunk, one layer after the other, for variants of it that differ from some layer on."""

from __future__ import annotations

import os
from tempfile import TemporaryFile, gettempdir

import numpy as np

from subbyte.errors import ResourceError
from subbyte.runtime.compare.base_file import Values
from subbyte.runtime.compare.lockstep import RowBlock, Tokens, batches, row_blocks
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.forward import Forward

KEPT_BYTES = 256 * 2**20  # of logits of a chunk; of more they are computed again whenever they are needed
HELD_BYTES = 256 * 2**20  # of the states of a chunk in memory; more are in a file


class BaseHidden:
    """hidden: the residual stream behind the layers run so far (at first the embeddings), float32 [n, n_embd]."""

    def __init__(self, forward: Forward, chunk: Chunk, n_vocab: int) -> None:
        self._forward, self._batches = forward, list(batches(chunk, forward.n_batch))
        self._kept: dict[int, Values] = {}
        keep = 4 * len(chunk.targets) * n_vocab <= KEPT_BYTES
        for tokens, pos in self._batches:
            forward.run(tokens, pos)
            if not pos:
                self._final, self.hidden = (_array(len(chunk.tokens), forward.hidden.shape[1]) for _ in range(2))
            self._final[pos : pos + len(tokens)] = forward.hidden
            for block in row_blocks(chunk, len(tokens), pos, n_vocab) if keep else ():
                self._kept[block.scored.start] = forward.logits(block.rows)
        for tokens, pos in self._batches:
            forward.embed(tokens, pos)
            self.hidden[pos : pos + len(tokens)] = forward.hidden

    def run(self, layer: int) -> None:
        """Runs the next layer."""
        for tokens, pos in self._batches:
            self._forward.hidden = self.hidden[pos : pos + len(tokens)]
            self._forward.run(tokens, pos, range(layer, layer + 1))
            self.hidden[pos : pos + len(tokens)] = self._forward.hidden

    def logits(self, tokens: Tokens, pos: int, block: RowBlock) -> Values:
        """The base's logits of some rows of this batch."""
        if self._kept:
            return self._kept[block.scored.start]
        n_layer = self._forward.n_layer
        self._forward.hidden = self._final[pos : pos + len(tokens)]
        self._forward.run(tokens, pos, range(n_layer, n_layer))
        return self._forward.logits(block.rows)


def _array(n: int, width: int) -> Values:
    """float32 [n, width], in memory or, as for a long chunk, in a temporary file without a name."""
    if 4 * n * width <= HELD_BYTES:
        return np.empty((n, width), np.float32)
    with TemporaryFile(prefix="subbyte-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 4 * n * width)  # a disk that is full must not be found out later
        except OSError as error:
            raise ResourceError(
                f"{4 * n * width >> 20} MiB in {gettempdir()} for the states of a chunk: {error.strerror}; make room, "
                "set TMPDIR, or take a smaller context"
            ) from None
        return np.memmap(file, np.float32, shape=(n, width))
