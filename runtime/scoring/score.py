"""Log-probabilities of a text, token by token."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """logprobs[i] is the natural log of p(tokens[i] | what comes before); NaN for a first token nothing precedes.

    greedy[i]: whether no other token is more probable there, so that greedy decoding would have chosen it; False where
    logprobs has NaN.
    """

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    logprobs: NDArray[np.float32]
    greedy: NDArray[np.bool_]

    @property
    def total(self) -> float:
        """Log-probability of the whole text, without a first token that has none."""
        return float(np.nansum(self.logprobs, dtype=np.float64))

    @property
    def n_bytes(self) -> int:
        """Bytes of the tokens that have a log-probability."""
        return sum(len(p) for p, lp in zip(self.pieces, self.logprobs, strict=True) if not math.isnan(lp))

    @property
    def bits_per_byte(self) -> float:
        """Code length over the bytes of the scored tokens: comparable between models of different vocabularies."""
        return -self.total / math.log(2) / self.n_bytes if self.n_bytes else math.nan
