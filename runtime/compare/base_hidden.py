"""A base over one chunk, one layer after the other, for variants of it that differ from some layer on."""

from __future__ import annotations

import numpy as np

from subbyte.runtime.compare.base_file import Values
from subbyte.runtime.compare.lockstep import RowBlock, Tokens, batches, row_blocks
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.forward import Forward

KEPT_BYTES = 256 * 2**20  # of logits of a chunk; of more they are computed again whenever they are needed


class BaseHidden:
    """hidden: the residual stream behind the layers run so far (at first the embeddings), float32 [n, n_embd]."""

    def __init__(self, forward: Forward, chunk: Chunk, n_vocab: int) -> None:
        self._forward, self._batches = forward, list(batches(chunk, forward.n_batch))
        self._kept: dict[int, Values] = {}
        keep = 4 * len(chunk.targets) * n_vocab <= KEPT_BYTES
        final = []
        for tokens, pos in self._batches:
            forward.run(tokens, pos)
            final.append(forward.hidden)
            for block in row_blocks(chunk, len(tokens), pos, n_vocab) if keep else ():
                self._kept[block.scored.start] = forward.logits(block.rows)
        self._final = np.concatenate(final)
        self.hidden = np.empty_like(self._final)
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
