"""Intervals hold what they promise: the truth lies within them as often as they say."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from subbyte.runtime.evaluation import statistics
from subbyte.runtime.evaluation.statistics import FIRST_LOOK, Floats, SequentialTest, block_bootstrap, mean_error

RUNS = 1500
TRUTH = 0.01


def correlated(rng: np.random.Generator, n_blocks: int) -> Floats:
    """Block means of token differences that drift together within a block, around the truth."""
    noise = rng.standard_normal((n_blocks, 64))
    for t in range(1, 64):
        noise[:, t] += 0.7 * noise[:, t - 1]
    means: Floats = TRUTH + 0.2 * noise.mean(axis=1)
    return means


def skewed(rng: np.random.Generator, n_blocks: int) -> Floats:
    means: Floats = rng.gamma(4, TRUTH / 4, n_blocks)
    return means


@pytest.mark.thorough
@pytest.mark.parametrize("n_blocks", [8, 30, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sample", [correlated, skewed])
@pytest.mark.slow
def test_an_interval_covers_the_truth_as_often_as_it_says(
    sample: Callable[[np.random.Generator, int], Floats], n_blocks: int
) -> None:
    """95 %: between 93 and 97 of a hundred, give or take two standard errors of this simulation (0.6)."""
    rng = np.random.default_rng(n_blocks)
    found = [block_bootstrap(sample(rng, n_blocks), seed=i) for i in range(RUNS)]
    covered = sum(interval.low <= TRUTH <= interval.high for interval in found) / RUNS
    assert 0.93 <= covered <= 0.97


def test_equal_files_differ_by_exactly_nothing() -> None:
    interval = block_bootstrap(np.zeros(40))
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)
    assert interval.verdict == "undecided" and not interval.is_decided


def test_chunks_that_all_say_the_same_have_an_interval_of_no_width() -> None:
    interval = block_bootstrap(np.full(7, 0.7), sizes=np.arange(1, 8))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.7, 0.7, 0.7))
    assert "too few" not in interval.text(2, " to ")


def test_a_clear_difference_is_seen() -> None:
    blocks = np.random.default_rng(1).normal(0.05, 0.02, 30)
    assert block_bootstrap(blocks).verdict == "worse" and block_bootstrap(-blocks).verdict == "better"


def test_too_few_blocks_decide_nothing() -> None:
    assert block_bootstrap(np.array([0.5])).verdict == "undecided"
    assert block_bootstrap(np.array([0.5, 0.6])).verdict == "undecided"
    assert math.isinf(block_bootstrap(np.array([0.5])).high)


def test_the_same_blocks_give_the_same_interval() -> None:
    blocks = np.random.default_rng(2).standard_normal(20)
    assert block_bootstrap(blocks) == block_bootstrap(blocks)


@pytest.mark.slow
def test_looking_again_and_again_finds_no_difference_where_there_is_none() -> None:
    """Without paying for its looks, such a run would be fooled about one time in four."""
    rng = np.random.default_rng(3)
    runs, total, fooled = 300, 200, 0
    for _ in range(runs):
        test, sample = SequentialTest(0.95), rng.standard_normal(total)
        nothing = np.zeros(total)
        fooled += any(
            test.is_due(n, total) and test.settles([nothing[:n].tolist(), sample[:n].tolist()], [9] * n)
            for n in range(FIRST_LOOK, total + 1)
        )
    assert fooled / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_error_of_a_mean() -> None:
    mean, error = mean_error(np.array([1.0, 2.0, 4.0]))
    assert mean == pytest.approx(7 / 3) and error == pytest.approx(np.std([1, 2, 4]) / math.sqrt(2))
    assert math.isinf(mean_error(np.ones(1))[1])


def test_an_interval_of_many_blocks_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.random.default_rng(1).normal(1.0, 1.0, 300)
    whole = block_bootstrap(blocks)
    monkeypatch.setattr(statistics, "MAX_DRAWS", 7 * 300)
    assert block_bootstrap(blocks) == whole
