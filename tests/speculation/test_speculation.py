"""How many tokens are drafted: as many as save time, by counts and measured times, here of a clock that is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from subbyte.errors import ModelChanged
from subbyte.runtime.speculation.drafter import N_KINDS, Guess
from subbyte.runtime.speculation.prompt_lookup import PromptLookup
from subbyte.runtime.speculation.speculation import MAX_DRAFTS, Speculation
from subbyte.runtime.step_times import StepTimes

N_TOKENS = 600
Clock = Callable[[int], float]  # seconds of a step by its tokens

CLOCKS: dict[str, Clock] = {
    "memory-bound": lambda n: 1.0 + 0.05 * (n - 1),
    "stairs": lambda n: 1.0 + 0.4 * ((n - 1 + 3) // 4),
    "dear": lambda n: 1.0 + 0.8 * (n - 1),
    "in proportion": float,
}


class Oracle:
    """Knows the text, but each guess of it is right with a chance only; a guess takes some seconds."""

    chances = PromptLookup.chances

    def __init__(self, text: Sequence[int], chance: float, seconds_per_guess: float = 0.0) -> None:
        self._text, self._chance, self._rng = text, chance, Random(1)
        self.seconds, self.seconds_per_guess = 0.0, seconds_per_guess
        self.n_guesses = 0

    def fork(self) -> Oracle:
        raise NotImplementedError

    def begin(self, context: Sequence[int]) -> None:
        pass

    def guesses(self, context: Sequence[int]) -> Iterator[Guess]:
        for token in self._text[len(context) :]:
            self.n_guesses += 1
            self.seconds += self.seconds_per_guess
            yield Guess(token if self._rng.random() < self._chance else -1, self.n_guesses % N_KINDS)


def seconds_of(speculation: Speculation, times: StepTimes, text: Sequence[int], clock: Clock, n: int) -> float:
    """What n tokens of the text take."""
    seconds, context = 0.0, list(text[:1])
    speculation.begin(context)
    while len(context) <= n:
        drafts = speculation.drafts(context, MAX_DRAFTS)
        times.note(1 + len(drafts), clock(1 + len(drafts)))
        seconds += clock(1 + len(drafts))
        for draft in [*drafts, None]:
            token = text[len(context)]
            speculation.came(token, drafted=draft == token)
            context.append(token)
            if draft != token:
                break
    return seconds


@pytest.mark.parametrize("chance", [0.0, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize("seconds_per_guess", [0.0, 0.15, 2.0])
def test_drafts_are_never_much_slower_and_faster_where_they_can_be(
    clock: Clock, chance: float, seconds_per_guess: float
) -> None:
    text = list(range(N_TOKENS + 40))
    times = StepTimes()
    oracle = Oracle(text, chance, seconds_per_guess)
    speculation = Speculation(oracle, times)
    seconds = seconds_of(speculation, times, text, clock, N_TOKENS) + oracle.seconds
    assert seconds < 1.03 * N_TOKENS
    best = max(
        sum(chance**i for i in range(n + 1)) / (clock(1 + n) + n * seconds_per_guess) for n in range(MAX_DRAFTS + 1)
    )
    if best > 1.3:  # times of one token, with the best number of drafts
        assert N_TOKENS / seconds > 1 + 0.5 * (best - 1)


def test_what_stops_paying_is_given_up_and_what_pays_again_is_found() -> None:
    times, rng = StepTimes(), Random(2)
    speculation = Speculation(PromptLookup(), times)
    piece = [rng.randrange(1000) for _ in range(60)]
    copied = piece * 6
    fresh = [rng.randrange(3) for _ in range(400)]  # repeats itself in the short only
    clock = CLOCKS["stairs"]
    for _ in range(2):
        assert seconds_of(speculation, times, copied, clock, len(copied) - 20) < 0.6 * len(copied)
        assert seconds_of(speculation, times, fresh, clock, len(fresh) - 20) < 1.03 * len(fresh)


def test_nothing_is_drafted_before_a_step_was_measured_or_without_room() -> None:
    times = StepTimes()
    speculation = Speculation(PromptLookup(), times)
    context = [1, 2, 3] * 5
    assert speculation.drafts(context, 9) == []
    times.note(1, 1.0)
    assert speculation.drafts(context, 3) == [1, 2, 3] and speculation.drafts(context, 0) == []


def test_a_draft_model_that_fails_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Oracle):
        def guesses(self, context: Sequence[int]) -> Iterator[Guess]:
            self.n_guesses += 1
            raise ModelChanged("m.gguf: the file has changed")

    times = StepTimes()
    times.note(1, 1.0)
    drafter = Failing([], 1.0)
    speculation = Speculation(drafter, times)
    assert speculation.drafts([1], 9) == speculation.drafts([1], 9) == [] and drafter.n_guesses == 1
    assert "answers go on without drafts: m.gguf: the file has changed" in caplog.text


def test_in_company_there_are_fewer_drafts() -> None:
    times = StepTimes()
    for n in range(1, 20):
        times.note(n, 1.0)
    lengths = []
    for n in (1, 2, 5, 8, 16, 101):
        speculation = Speculation(PromptLookup(), times, lambda n=n: n)  # type: ignore[misc]
        lengths.append(len(speculation.drafts([1, 2, 3] * 9, MAX_DRAFTS)))
    assert lengths == [15, 7, 3, 1, 0, 0]  # of all in a step no more than MAX_DRAFTS


def test_times_of_steps() -> None:
    times = StepTimes()
    assert times.seconds(1) is times.seconds(4) is None
    times.note(2, 4.0)
    assert times.seconds(1) is None and times.seconds(2) == 4.0
    for seconds in (2.0, 9.0, 2.5):
        times.note(2, seconds)
    assert times.seconds(2) == 2.0 and 2.0 < (expected := times.seconds(4) or 0) < 3.0
    times.note(4, 50.0)
    assert times.seconds(4) == expected  # one measurement is not believed
    times.note(4, 50.0)
    assert times.seconds(4) == 50.0
    for _ in range(300):
        times.note(2, 2.0)
    assert times.seconds(4) == expected  # it was long ago
    times.note(1000, 1.0)
    assert times.seconds(1000) != 1.0
