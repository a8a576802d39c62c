"""How long steps of a few tokens take, as measured: what speculation is weighed with."""

from __future__ import annotations

MOST = 32  # tokens of a step at most that is timed
_KEPT = 5  # steps of each size
_ENOUGH = 2  # steps of a size that are believed where they are slower than was expected
_FORGOTTEN = 256  # steps after which a size that did not come again is unknown
_GROWTH = 0.2  # of a step: what a token more is expected to take where only that step is known
_BENT = 0.5  # of what a token more took so far, which it is expected to take from there on
_LEAST = 0.03  # of the shortest step: what it is expected to take at least


class StepTimes:
    """Seconds of a step by its number of tokens, each of which has its logits computed.

    The shortest of the last few counts, since a machine that does something else makes steps longer, never shorter. A
    size that was not measured is expected to take somewhat more than the one below, so that it is tried. Threads may
    share it.
    """

    def __init__(self) -> None:
        self._n_steps = 0
        self._measured: dict[int, tuple[float, ...]] = {}
        self._last: dict[int, int] = {}  # step of the last measurement

    def note(self, n_tokens: int, seconds: float) -> None:
        """Takes in one step."""
        if n_tokens <= MOST:
            self._n_steps += 1
            before = () if self._is_old(n_tokens) else self._measured[n_tokens]
            self._measured[n_tokens] = (*before, seconds)[-_KEPT:]
            self._last[n_tokens] = self._n_steps

    def measured(self, n_tokens: int) -> float | None:
        """What steps of so many tokens took lately; None if there were none."""
        return None if self._is_old(n_tokens) else min(self._measured[n_tokens])

    def seconds(self, n_tokens: int) -> float | None:
        """What a step of so many tokens takes; None while no step of as many or fewer was measured."""
        measured, expected = self.measured(n_tokens), self._expected(n_tokens)
        if measured is None or expected is None:
            return expected if measured is None else measured
        return measured if len(self._measured[n_tokens]) >= _ENOUGH else min(measured, expected)

    def _expected(self, n_tokens: int) -> float | None:
        """What it takes by steps of fewer tokens."""
        known = [(n, seconds) for n in range(1, n_tokens) if (seconds := self.measured(n)) is not None]
        if not known:
            return None
        (fewest, shortest), (n, seconds) = known[0], known[-1]
        slope = _BENT * (seconds - shortest) / (n - fewest) if n > fewest else _GROWTH * shortest
        return seconds + (n_tokens - n) * max(slope, _LEAST * shortest)

    def _is_old(self, n_tokens: int) -> bool:
        return self._n_steps - self._last.get(n_tokens, -_FORGOTTEN) >= _FORGOTTEN
