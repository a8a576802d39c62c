"""Log-probabilities of a text, token by token."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.session.session import Session


@dataclass(frozen=True)
class Score:
    """logprobs[i] is the natural log of p(tokens[i] | what comes before); NaN for a first token nothing precedes."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    logprobs: NDArray[np.float32]

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


def score(text: str | bytes, tokenizer: Tokenizer, n_ctx_train: int, new_session: Callable[[int], Session]) -> Score:
    """Log-probability of each token of text, after BOS where the model wants one.

    new_session: makes one with so many positions. Raises ContextOverflow for more than n_ctx_train tokens, and
    ValueError for none.
    """
    tokens = tokenizer.encode(text)
    if not tokens:
        raise ValueError("the text has no tokens to score")
    context = tokenizer.with_bos(tokens)
    if len(context) > n_ctx_train:
        raise ContextOverflow(
            f"the text has {len(context)} tokens, the model was trained for {n_ctx_train}: "
            "score it in parts, or measure its perplexity"
        )
    logprobs = np.full(len(context), np.nan, np.float32)
    if len(context) > 1:
        with new_session(len(context)) as session:
            logprobs[1:] = session.logprobs(context[:-1], context[1:])
    return Score(tuple(tokens), tuple(tokenizer.piece(t) for t in tokens), logprobs[-len(tokens) :])
