"""Logits processors: what changes the logits before a token is sampled, or makes them needless."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import arguments
from subbyte.runtime.generation.options import LogitsFunction
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.protocols import Tokenizer

_MAX_LOG = 88.7228391  # of the largest float32
_MAX_PENALTY = 1e30  # logits stay finite


class LogitsProcessor(Protocol):
    """One step of a chain between the model and the sampler. What a processor does not define, it does not do."""

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """Changes logits, [n_vocab], in place. context: the tokens so far, oldest first."""
        return

    def forced(self) -> Sequence[int]:
        """The tokens that come next whatever the logits say, so that none are computed; empty: the logits decide."""
        return ()

    def n_needed(self) -> int:
        """How many tokens there must be room for, or the answer ends: all of a forced text that comes whole or not."""
        return 1

    def allows(self, tokens: Sequence[int]) -> bool:
        """Whether tokens that another processor forces may come next, one after the other."""
        return True

    def accept(self, token: int) -> None:
        """Takes note of the token that was chosen."""
        return


class SuppressedTokens(LogitsProcessor):
    """Makes some tokens impossible."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = np.array(ids, np.intp)

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        logits[self._ids] = -np.inf


class LogitBias(LogitsProcessor):
    """Adds to the logits of some tokens. Raises ValueError for an id that the vocabulary lacks, and if none is left."""

    def __init__(self, biases: Mapping[int, float], n_vocab: int) -> None:
        if wrong := [token for token in biases if token >= n_vocab]:
            raise ValueError(f"logit_bias names token {wrong[0]}, but the vocabulary has {n_vocab}, from 0 on")
        if sum(bias == -math.inf for bias in biases.values()) == n_vocab:
            raise ValueError("logit_bias bans every token; leave one that may come")
        self._ids, self._biases = np.array(list(biases), np.intp), np.array(list(biases.values()), np.float32)

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        logits[self._ids] += self._biases


class Penalties(LogitsProcessor):
    """Makes tokens less probable that are among the last n of the context; n = -1: anywhere in it.

    Positive logits are divided by `repeat`, negative ones multiplied with it; then `presence` is taken away, and
    `frequency` for each time the token occurred.
    """

    def __init__(self, last_n: int, repeat: float = 1.0, presence: float = 0.0, frequency: float = 0.0) -> None:
        self._last_n, self._repeat, self._presence, self._frequency = last_n, repeat, presence, frequency

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        ids, counts = np.unique(np.asarray(_last(context, self._last_n), dtype=np.intp), return_counts=True)
        values = logits[ids].astype(np.float64)
        values = np.where(values > 0.0, values / self._repeat, values * self._repeat)
        values -= self._presence + counts * self._frequency
        limit = float(np.finfo(np.float32).max)
        logits[ids] = np.where(np.isfinite(values), values.clip(-limit, limit), values)


class Dry(LogitsProcessor):
    """Makes tokens less probable that would go on with a repetition (DRY: "Don't Repeat Yourself").

    If the last n tokens, n >= allowed_length, have come before, multiplier * base ** (n - allowed_length) is taken from
    the logit of the token that followed them then; of several repetitions, the longest counts. No repetition goes
    across a token with the end of one of the breakers in it. last_n: as for `Penalties`.
    """

    def __init__(
        self, multiplier: float, base: float, allowed_length: int, last_n: int, breakers: Sequence[str],
        piece: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._multiplier, self._base, self._allowed, self._last_n = multiplier, base, allowed_length, last_n
        self._breakers, self._piece = [text.encode() for text in breakers], piece
        # Longer repetitions are not told apart: their penalty would not fit into a float.
        self._most = allowed_length + (int(_MAX_LOG / math.log(base)) if base > 1.000001 else 0)

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        recent = _last(context, self._last_n)
        most = min(self._unbroken(recent), self._most)
        if most < self._allowed:
            return
        tokens = np.asarray(recent, np.intp)
        ends = np.flatnonzero(tokens[:-1] == tokens[-1])  # of what may have been the same before
        lengths = np.zeros(logits.size, np.int64)  # by the token that followed
        for length in range(1, most + 1):
            lengths[tokens[ends + 1]] = length
            ends = ends[ends >= length]
            if not ends.size:
                break
            ends = ends[tokens[ends - length] == tokens[-1 - length]]
        ids = np.flatnonzero(lengths >= self._allowed)
        penalties = self._multiplier * self._base ** (lengths[ids] - self._allowed).astype(np.float64)
        logits[ids] -= penalties.clip(max=_MAX_PENALTY).astype(np.float32)

    def _unbroken(self, recent: Sequence[int]) -> int:
        """How many of the last tokens come behind the last end of a breaker."""
        text = b""  # of the tokens looked at
        longest = max(map(len, self._breakers), default=0)
        for n, token in enumerate(reversed(recent[max(len(recent) - self._most - longest, 0) :])):
            piece = self._piece(token)
            text = (piece + text)[: len(piece) + longest - 1] if longest else b""
            ends = [text.rfind(breaker) + len(breaker) for breaker in self._breakers if breaker in text]
            if ends:
                return n - self._tokens_within(recent, n, max(ends) - len(piece))
        return len(recent)

    def _tokens_within(self, recent: Sequence[int], n: int, left: int) -> int:
        """Over how many tokens behind the one with n behind it the next `left` bytes go."""
        count = 0
        while left > 0:
            count += 1
            left -= len(self._piece(recent[len(recent) - 1 - n + count]))
        return count


class CallersProcessor(LogitsProcessor):
    """A function of the caller's own. What it raises ends the answer, as TypeError and ValueError here do: for a result
    that would be passed over, and for logits that no token can be drawn from."""

    def __init__(self, function: LogitsFunction) -> None:
        self._function: Callable[..., object] = function

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        if (result := self._function(logits, tuple(context))) is not None:
            raise arguments.wrong_kind("what a processor returns", result, "None: it changes the logits in place")
        if not math.isfinite(logits.max()):
            raise ValueError("a processor left logits that are NaN, +inf or all -inf; leave a token that may come")


class ReasoningBudget(LogitsProcessor):
    """Forces the text that closes the reasoning, as if the model had written it, once it has used up its budget."""

    def __init__(self, budget: int, output: OutputProcessor, tokenizer: Tokenizer) -> None:
        self._budget, self._output, self._tokenizer = budget, output, tokenizer
        self._closing: deque[int] = deque()

    def forced(self) -> Sequence[int]:
        """See `LogitsProcessor`."""
        if not self._closing and (text := self._output.closing(self._budget)):
            self._closing.extend(self._tokenizer.encode(text, special=True))
        return self._closing

    def n_needed(self) -> int:
        """See `LogitsProcessor`: what closes the reasoning comes as a whole or not at all."""
        return max(len(self.forced()), 1)

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        if self._closing:
            self._closing.popleft()


def _last(context: Sequence[int], n: int) -> Sequence[int]:
    """The last n tokens; n = -1: all of them."""
    return context if n < 0 else context[max(len(context) - n, 0) :]
