"""Logits processors: what changes the logits before a token is sampled, or makes them needless."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.protocols import Tokenizer


class LogitsProcessor(Protocol):
    """One step of a chain between the model and the sampler. What a processor does not define, it does not do."""

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """Changes logits, [n_vocab], in place. context: the tokens so far, oldest first."""
        return

    def forced(self) -> Sequence[int]:
        """The tokens that come next whatever the logits say, so that none are computed; empty: the logits decide."""
        return ()

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


class RepetitionPenalty(LogitsProcessor):
    """Makes tokens less probable that are among the last n of the context; n = -1: anywhere in it.

    Each once: positive logits are divided by the penalty, negative ones multiplied with it.
    """

    def __init__(self, penalty: float, last_n: int) -> None:
        self._penalty, self._last_n = penalty, last_n

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        recent = context if self._last_n < 0 else context[max(len(context) - self._last_n, 0) :]
        ids = np.unique(np.asarray(recent, dtype=np.intp))
        values = logits[ids].astype(np.float64)
        values = np.where(values > 0.0, values / self._penalty, values * self._penalty)
        limit = float(np.finfo(np.float32).max)
        logits[ids] = np.where(np.isfinite(values), values.clip(-limit, limit), values)


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

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        if self._closing:
            self._closing.popleft()
