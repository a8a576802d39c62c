"""A piece: what one step computes for one answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.generation.prefill import Wanted
from subbyte.runtime.scheduler.request import Request
from subbyte.runtime.session.runner import Segment


class Piece(NamedTuple):
    """Tokens of a request, of how many of the last of them logits, and whether its decoder then wants no more."""

    request: Request
    tokens: NDArray[np.int32]
    n_logits: int
    is_last: bool

    @property
    def segment(self) -> Segment:
        """The same for the runner."""
        assert self.request.sequence is not None
        n = len(self.tokens)
        return Segment(self.request.sequence, self.tokens, range(n - self.n_logits, n))


def next_piece(request: Request, missing: Wanted, room: int) -> Piece:
    """The next of the tokens that are missing: as many as there is room for and the sequence takes in a step."""
    assert request.sequence is not None
    n = request.sequence.room_in_step(min(room, len(missing.tokens)))
    n_left = len(missing.tokens) - n
    return Piece(request, np.array(missing.tokens[:n], np.int32), max(missing.n_logits - n_left, 0), not n_left)
