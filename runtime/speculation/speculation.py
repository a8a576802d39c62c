"""Speculation: how many of a drafter's guesses are computed with the next token, from what they have given so far."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

from subbyte.errors import SubbyteError
from subbyte.runtime.speculation.drafter import N_KINDS, Drafter, Guess
from subbyte.runtime.step_times import StepTimes

_log = logging.getLogger(__name__)

MAX_DRAFTS = 15  # in a step, of all answers in it
_PRIOR = 2.0  # guesses of each kind that count as counted
_MEMORY = 0.97  # of a kind's counts that is kept with each guess more
_LOSS = 0.005  # of the time of an answer's tokens that drafts which did not come true may have taken
_AT_ONCE = 0.5  # steps that they may have taken beside that
_CREDIT = 16.0  # steps that drafts which came true let them take more, at most
_MARGIN = 0.2  # of a token more that drafts must be expected to give in the time
_GROWTH = 2  # drafts more than the last time, at most, where guesses take time
_LENGTHS = (1, 2, 3, 5, 7, 11, 15)  # numbers of drafts: with few of them, the time of each is known soon
_HOPELESS = 0.05  # of a chance, below which no guess more is asked for


class Speculation:
    """Chooses the number of drafts with which tokens are expected to come fastest; none where drafts do not pay.

    What n drafts give is known by counts: how often guesses of each kind came true, also of those that were not
    computed. What they take is known by `StepTimes`, and what a guess takes by its drafter. Where drafts have lost more
    time than they may, nothing is tried until more tokens have come. None of that changes the tokens of an answer: see
    `Decoder`.
    times: of the steps that the answers are made in. company: how many answers are in each of them.
    """

    def __init__(self, drafter: Drafter, times: StepTimes, company: Callable[[], int] = lambda: 1) -> None:
        self._drafter, self._times, self._company = drafter, times, company
        self._counted = [0.0] * N_KINDS
        self._came_true = [0.0] * N_KINDS
        self._all_true = self._all_expected = _PRIOR  # of guesses of any kind: how many came true, and were expected to
        self._length = _LENGTHS[1]  # drafts of the last step that had some
        self._guesses: deque[Guess] = deque()  # what may come next, computed or not
        self._elapsed = self._lost = 0.0  # seconds: of the tokens without drafts, and more than these by drafts
        self._failed = False
        self._sizes: tuple[int, int] | None = None  # tokens of the last step that had drafts, and without these

    def fork(self) -> "Speculation":
        """One for another conversation that begins with the same tokens. Raises ResourceError."""
        return Speculation(self._drafter.fork(), self._times, self._company)

    def begin(self, context: Sequence[int]) -> None:
        """A new answer, with its prompt."""
        self._guesses.clear()
        self._drafter.begin(context)

    def drafts(self, context: Sequence[int], room: int) -> list[int]:
        """Tokens that are worth to be computed behind the context with the next step, at most `room`."""
        self._guesses.clear()
        self._settle()
        n = self._company()
        step = self._times.seconds(n)
        most = min(room, MAX_DRAFTS // n)
        if self._drafter.seconds_per_guess:
            most = min(most, self._length + _GROWTH)
        if step is None or most < 1 or self._failed:
            return []
        careful = self._lost > _LOSS * self._elapsed + _AT_ONCE * step / n
        if careful and self._drafter.seconds_per_guess:
            return []
        before = self._drafter.seconds
        try:
            best = self._best(context, most, n, step, careful=careful)
        except SubbyteError as error:  # of a draft model, whose file may have changed: no reason to end an answer
            _log.warning("answers go on without drafts: %s", error)
            self._failed = True
            return []
        self._lost += self._drafter.seconds - before
        if best:
            self._sizes, self._length = (n + best, n), best
        return [guess.token for guess in list(self._guesses)[:best]]

    def came(self, token: int, *, drafted: bool) -> None:
        """Takes note of a token that has come. drafted: no step was needed for it."""
        n = self._company()
        share = (self._times.seconds(n) or 0.0) / n
        self._elapsed += share
        if drafted:
            self._lost = max(self._lost - share, -_CREDIT * share)
        if self._guesses:
            guess = self._guesses.popleft()
            self._counted[guess.kind] = self._counted[guess.kind] * _MEMORY + 1.0
            self._came_true[guess.kind] = self._came_true[guess.kind] * _MEMORY + (guess.token == token)
            self._all_expected = self._all_expected * _MEMORY + self._drafter.chances[guess.kind]
            self._all_true = self._all_true * _MEMORY + (guess.token == token)
            if guess.token != token:
                self._guesses.clear()

    def _chance(self, kind: int) -> float:
        """How often a guess of a kind comes true: by its own counts, and where these are few, by those of all."""
        expected = self._drafter.chances[kind] * min(self._all_true / self._all_expected, 1.0)
        return (self._came_true[kind] + _PRIOR * expected) / (self._counted[kind] + _PRIOR)

    def _settle(self) -> None:
        """Adds what the last drafts took to what is lost."""
        if self._sizes is not None:
            with_drafts, without = map(self._times.measured, self._sizes)
            self._lost += max((with_drafts or 0.0) - (without or 0.0), 0.0)
            self._sizes = None

    def _best(self, context: Sequence[int], most: int, n: int, step: float, *, careful: bool) -> int:
        """Asks for guesses as long as one may save more time than it takes; how many of them are best computed.

        n: tokens of the step without them; step: the seconds that takes. careful: only so many that the time is known.
        """
        best, rate = 0, (n + _MARGIN) / step
        chance, expected, taken, reach = 1.0, float(n), 0.0, self._times.reach
        for guess in self._drafter.guesses(context):
            self._guesses.append(guess)
            taken += self._drafter.seconds_per_guess
            chance *= self._chance(guess.kind)
            expected += chance
            n_drafts = len(self._guesses)
            measured = self._times.measured(n + n_drafts)
            seconds = self._times.seconds(n + n_drafts) or step
            worth = self._drafter.seconds_per_guess * expected / (seconds + taken)  # tokens in the time of a guess
            is_last = n_drafts == most or chance <= max(worth, _HOPELESS)
            may_be = (n_drafts in _LENGTHS or is_last) and (
                measured is not None or (not careful and n + n_drafts <= reach)
            )
            if may_be and expected / seconds > rate:
                best, rate = n_drafts, expected / seconds
            if is_last:
                break
        return best
