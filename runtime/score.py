"""Log-probabilities of a text, token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow

if TYPE_CHECKING:
    from subbyte.runtime.model import Model


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
    def bits_per_byte(self) -> float:
        """Code length over the bytes of the scored tokens: comparable between models of different vocabularies."""
        n_bytes = sum(len(p) for p, lp in zip(self.pieces, self.logprobs, strict=True) if not math.isnan(lp))
        return -self.total / math.log(2) / n_bytes if n_bytes else math.nan


def score(model: Model, text: str | bytes) -> Score:
    """Log-probability of each token of text, after BOS where the model wants one.

    Raises ContextOverflow for more tokens than the model was trained for, and ValueError for none.
    """
    tokens = model.tokenize(text)
    if not tokens:
        raise ValueError("the text has no tokens to score")
    context = model.tokenizer.with_bos(tokens)
    if len(context) > model.config.n_ctx_train:
        raise ContextOverflow(
            f"the text has {len(context)} tokens, the model was trained for {model.config.n_ctx_train}: "
            "score it in parts, or measure its perplexity"
        )
    logprobs = np.full(len(context), np.nan, np.float32)
    if len(context) > 1:
        with model.session(len(context), activations="int8x2") as session:
            logprobs[1:] = session.logprobs(context[:-1], context[1:])
    return Score(tuple(tokens), tuple(model.tokenizer.piece(t) for t in tokens), logprobs[-len(tokens) :])
