"""Choosing the next token from the logits: the filters of llama.cpp, in its order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError

_FOLDS = 64  # top_ids: so many logits share one maximum


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; the defaults are llama.cpp's. Raises ValueError for a value that makes no sense.

    Applied in this order: repetition penalty, top_k, top_p, min_p, temperature.
    """

    temperature: float = 0.8  # 0: always the most probable token
    top_k: int = 40  # the k most probable tokens; 0: all
    top_p: float = 0.95  # the most probable tokens that together reach this probability; 1: all
    min_p: float = 0.05  # tokens at least this probable relative to the best one; 0: all
    repeat_penalty: float = 1.0  # divides positive logits of recent tokens, multiplies negative ones; 1: off
    repeat_last_n: int = 64  # how many tokens are recent; 0: none, -1: all in the context
    seed: int | None = None  # None: different each time

    def __post_init__(self) -> None:
        _number("temperature", self.temperature, 0.0, math.inf)
        _number("top_p", self.top_p, 0.0, 1.0)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("repeat_penalty", self.repeat_penalty, 0.01, 100.0)
        _integer("top_k", self.top_k, 0, "0 keeps all tokens")
        _integer("repeat_last_n", self.repeat_last_n, -1, "-1 means the whole context")
        if self.seed is not None:
            _integer("seed", self.seed, 0, "None gives a different text each time")


def _number(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, but must be a finite number")
    if not low <= value <= high:
        limits = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
        raise ValueError(f"{name} is {value:g}, but must be {limits}")


def _integer(name: str, value: int, low: int, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}, but must be a whole number")
    if value < low:
        raise ValueError(f"{name} is {value}, but must be at least {low} ({hint})")


class Sampler:
    """Picks tokens; holds the random generator, so the same seed and the same logits give the same tokens."""

    def __init__(self, sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self._random = np.random.default_rng(self.sampling.seed)

    def pick(self, logits: NDArray[np.float32], recent: Sequence[int] = ()) -> int:
        """The next token's id, from `logits` [n_vocab] (unchanged) and the tokens so far, oldest first.

        Raises NumericError if a logit is NaN or +inf or all are -inf.
        """
        s = self.sampling
        if s.repeat_penalty != 1.0 and s.repeat_last_n and len(recent):
            logits = _penalized(logits, recent if s.repeat_last_n < 0 else recent[-s.repeat_last_n :], s.repeat_penalty)
        best = logits.max()  # NaN if any logit is: one pass checks them all
        if not math.isfinite(best):
            raise NumericError(f"the model's output is not finite: its largest logit is {best}")
        if s.temperature == 0.0:
            return int(logits.argmax())
        ids = self._candidates(logits, best)
        with np.errstate(over="ignore"):  # a tiny temperature: the quotient may be -inf, its exp is then 0
            weights = np.exp((logits[ids].astype(np.float64) - best) / s.temperature)
        reached = np.cumsum(weights)
        choice = reached.searchsorted(self._random.random() * reached[-1], "right")
        last = reached.searchsorted(reached[-1], "left")  # never a token of weight 0 behind the last real one
        return int(ids[min(choice, last)])

    def _candidates(self, logits: NDArray[np.float32], best: np.float32) -> NDArray[np.intp]:
        """Ids that pass top_k, top_p and min_p: at least the best one."""
        s, n = self.sampling, logits.size
        if 0 < s.top_k < n:
            ids = top_ids(logits, s.top_k)
            weights = np.exp(logits[ids].astype(np.float64) - best)
            total = weights.sum()
        elif s.top_p < 1.0:
            total = np.exp(logits - best).sum(dtype=np.float64)
            # All tokens below (1 - top_p) / n sum to less than 1 - top_p: what is needed for top_p lies above.
            # The small slack covers rounding in float32.
            floor = best + math.log(max(1.0 - s.top_p, 1e-9) * total / n) - 0.001
            ids = descending(logits, np.flatnonzero(logits >= np.float32(floor)))
            weights = np.exp(logits[ids].astype(np.float64) - best)
        else:
            floor = best + math.log(s.min_p) if s.min_p > 0.0 else -np.inf
            return np.flatnonzero(logits >= np.float32(floor))
        if s.top_p < 1.0:
            count = int(np.cumsum(weights).searchsorted(s.top_p * total, "left")) + 1
            ids, weights = ids[:count], weights[:count]
        return ids[weights >= s.min_p]  # the best one weighs 1


def top_ids(logits: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Ids of the k largest of `logits` [n], largest first, equal ones by id; exact, 1 <= k <= n.

    A partition of the whole vocabulary would take milliseconds. Instead the vocabulary is folded into groups of 64:
    the k-th largest of the groups' maxima is a floor that at least k logits reach, and few more do.
    """
    groups = logits.size // _FOLDS
    if groups > k:
        maxima = logits[: groups * _FOLDS].reshape(_FOLDS, groups).max(axis=0)
        ids = np.flatnonzero(logits >= np.partition(maxima, groups - k)[groups - k])
    else:
        ids = np.arange(logits.size)
    if ids.size > k:
        values = logits[ids]
        ids = ids[values >= np.partition(values, ids.size - k)[ids.size - k]]
    return descending(logits, ids)[:k]


def descending(logits: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.intp]:
    """`ids` (ascending) sorted by falling logit, equal ones by id."""
    return ids[np.argsort(-logits[ids], kind="stable")]


def _penalized(logits: NDArray[np.float32], recent: Sequence[int], penalty: float) -> NDArray[np.float32]:
    ids = np.unique(np.asarray(recent, dtype=np.intp))
    values = logits[ids].astype(np.float64)
    values = np.where(values > 0.0, values / penalty, values * penalty)
    limit = float(np.finfo(np.float32).max)
    penalized: NDArray[np.float32] = logits.copy()
    penalized[ids] = np.where(np.isfinite(values), values.clip(-limit, limit), values)
    return penalized
