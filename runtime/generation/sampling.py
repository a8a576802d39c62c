"""Sampling the next token from the logits: the filters of llama.cpp, in its order."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import sample, top_k


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; the defaults are llama.cpp's. Raises ValueError for a value that makes no sense.

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
            _integer("seed", self.seed, 0, "without one, the text differs each time")


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
    """Samples tokens. Holds the random generator, so the same seed and the same logits give the same tokens.

    The repetition penalty is not its own: `RepetitionPenalty` changes the logits before.
    """

    def __init__(self, sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self._random = np.random.default_rng(self.sampling.seed)

    def sample(self, logits: NDArray[np.float32]) -> int:
        """The next token's id, from `logits` [n_vocab] (unchanged).

        Raises NumericError if a logit is NaN or +inf or all are -inf.
        """
        s = self.sampling
        if s.temperature == 0.0:
            return int(top_k(logits, 1)[0])
        k, total = self._candidates(logits)
        return sample(logits, k, total, s.top_p, s.min_p, s.temperature, self._random.random())

    def _candidates(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        """How many of the largest logits top_k, top_p and min_p may keep, and the denominator of the softmax.

        The sum is that of exp(logit - largest logit); 0 for the sum over these candidates.
        """
        s, n = self.sampling, logits.size
        if 0 < s.top_k < n:
            return s.top_k, 0.0
        best = float(logits[top_k(logits, 1)[0]])
        total = float(np.exp(logits - np.float32(best)).sum(dtype=np.float64))
        # Tokens below (1 - top_p) / n sum to less than 1 - top_p: what top_p needs lies above. Slack covers rounding.
        share = max((1.0 - s.top_p) * total / n, s.min_p)
        floor = best + math.log(share) - 0.001 if share > 0.0 else -math.inf
        return max(1, int(np.count_nonzero(logits >= np.float32(floor)))), total
