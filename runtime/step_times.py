"""How long steps of a few tokens take, as measured: what speculation is weighed with."""

from __future__ import annotations

from collections import deque

MOST = 32  # tokens of a step at most that is timed
_KEPT = 5  # steps of each size
_ENOUGH = 3  # steps of a size that are believed where they are slower than was expected
_FORGOTTEN = 256  # steps after which a size that did not come again is unknown
_GROWTH = 0.15  # of a step of one token: what a token more is expected to take where nothing is measured


class StepTimes:
    """Seconds of a step by its number of tokens, each of which has its logits computed.

    The shortest of the last few counts, since a machine that does something else makes steps longer, never shorter. A
    size that was not measured is expected to take little more than the one below, so that it is tried.

    n_others: tokens of others that are in each step, where the steps are shared.
    """

    def __init__(self) -> None:
        self.n_others = 0
        self._n_steps = 0
        self._measured: dict[int, deque[float]] = {}
        self._last: dict[int, int] = {}  # step of the last measurement

    def note(self, n_tokens: int, seconds: float) -> None:
        """Takes in one step."""
        if n_tokens <= MOST:
            self._n_steps += 1
            if self._is_old(n_tokens):
                self._measured[n_tokens] = deque(maxlen=_KEPT)
            self._measured[n_tokens].append(seconds)
            self._last[n_tokens] = self._n_steps

    def seconds(self, n_tokens: int) -> float | None:
        """What a step of so many tokens takes; None while no step of as many or fewer was measured."""
        below = next((n for n in range(n_tokens - 1, 0, -1) if not self._is_old(n)), None)
        expected = None
        if below is not None:
            shortest = min(self._measured[below])
            expected = shortest * (1.0 + _GROWTH * (n_tokens - below) / (1.0 + _GROWTH * (below - 1)))
        if self._is_old(n_tokens):
            return expected
        measured = self._measured[n_tokens]
        if expected is None or len(measured) >= _ENOUGH:
            return min(measured)
        return min(expected, *measured)

    def _is_old(self, n_tokens: int) -> bool:
        return self._n_steps - self._last.get(n_tokens, -_FORGOTTEN) >= _FORGOTTEN
