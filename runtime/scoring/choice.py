"""The most probable of several continuations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from subbyte.runtime.records import Record
from subbyte.runtime.scoring.score import Score

Normalize: TypeAlias = Literal["tokens", "bytes"]
"""What log-probabilities are divided by, so that long candidates have their chance: their number of tokens or bytes."""


@dataclass(frozen=True, slots=True)
class Choice(Record):
    """The best of several candidates: its index, and its text.

    logprobs: of each candidate, in total, natural. probabilities: their softmax, of what they were compared by: without
    normalization that of each candidate, given that it is one of these.
    """

    index: int
    text: str
    probabilities: tuple[float, ...]
    logprobs: tuple[float, ...]


def choose(scores: Sequence[Score], texts: Sequence[str], normalize: Normalize | None) -> Choice:
    """The candidate of the highest log-probability, in total or by `normalize`; of equal ones the first.

    Raises ValueError where there is nothing to divide by.
    """
    totals = [score.total for score in scores]
    compared = [total / _length(i, scores[i], normalize) for i, total in enumerate(totals)]
    best = max(compared)
    shares = [math.exp(each - best) for each in compared]
    index = compared.index(best)
    return Choice(index, texts[index], tuple(share / sum(shares) for share in shares), tuple(totals))


def _length(i: int, score: Score, normalize: Normalize | None) -> int:
    if normalize is None:
        return 1
    if normalize == "tokens":
        return len(score.tokens)
    if not score.n_bytes:
        raise ValueError(f"candidates[{i}] has no bytes to normalize by, only control tokens; normalize by tokens")
    return score.n_bytes
