"""Intervals and tests of counts, against published figures and against counting itself."""

import itertools
import math

import numpy as np
import pytest

from subbyte.runtime.evaluation.proportions import Paired, mcnemar, paired_difference, proportion


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(k: int, n: int, low: float, high: float) -> None:
    interval = proportion(k, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high) and interval.estimate == k / n
    other = proportion(n - k, n)
    assert (other.low, other.high) == (pytest.approx(1 - interval.high), pytest.approx(1 - interval.low))


@pytest.mark.parametrize(
    ("counts", "low", "high"),  # Newcombe 1998, Statistics in Medicine 17:2635, table II, method 10
    [((36, 2, 12, 0), 0.0569, 0.3404), ((53, 0, 1, 0), -0.0496, 0.0977), ((54, 0, 0, 0), -0.0664, 0.0664)],
)
def test_the_interval_of_a_paired_difference_is_the_published_one(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    interval = paired_difference(*counts)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    both, base, this, neither = counts
    mirrored = paired_difference(both, this, base, neither)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-interval.high), pytest.approx(-interval.low))


def test_the_interval_of_a_paired_difference_covers_the_truth() -> None:
    """Of 20 cases, two models that agree mostly: how often the truth is within, from all that can come."""
    p = np.array([0.6, 0.1, 0.2, 0.1])
    n, covered = 20, 0.0
    for both, base, this in itertools.product(range(n + 1), repeat=3):
        if (neither := n - both - base - this) >= 0:
            ways = math.factorial(n) / math.prod(map(math.factorial, (both, base, this, neither)))
            chance = ways * float(np.prod(p ** np.array([both, base, this, neither])))
            interval = paired_difference(both, base, this, neither)
            covered += chance * (interval.low <= 0.1 <= interval.high)
    assert 0.93 < covered < 0.98


def test_mcnemars_p_counts_the_throws_of_a_coin() -> None:
    assert mcnemar(0, 0) == 1 and mcnemar(3, 3) == 1 and mcnemar(0, 6) == pytest.approx(2 / 64)
    n = 7
    throws = [sum(throw) for throw in itertools.product((0, 1), repeat=n)]
    for few in range(n // 2 + 1):
        extreme = sum(min(heads, n - heads) <= few for heads in throws) / len(throws)
        assert mcnemar(few, n - few) == mcnemar(n - few, few) == pytest.approx(min(extreme, 1))
    assert mcnemar(5000, 5100) == pytest.approx(0.324, abs=0.002)


def test_a_comparison_has_its_parts() -> None:
    paired = Paired.of(30, 6, 1, 3)
    assert paired.difference.estimate == pytest.approx(-5 / 40) and paired.difference.high < 0.02
    assert paired.p == pytest.approx(0.125) and paired.to_dict()["difference"]["level"] == 0.95
