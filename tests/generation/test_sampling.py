"""Sampling: each filter, the distribution of samples, and values that must be refused."""

import math
import time
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from subbyte.errors import NumericError
from subbyte.kernels import mask_logits, top_k
from subbyte.runtime.generation.logits_processors import Dry, LogitBias, Penalties
from subbyte.runtime.generation.sampling import Sampler, Sampling

ALL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def logs(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities)).astype(np.float32)


def penalized(sampling: Sampling, logits: np.ndarray, context: list[int]) -> np.ndarray:
    out = logits.copy()
    Penalties(sampling.repeat_last_n, sampling.repeat_penalty).apply(out, context)
    return out


def shares(sampling: Sampling, logits: np.ndarray, n: int = 20_000, recent: list[int] | None = None) -> np.ndarray:
    sampler, logits = Sampler(sampling), penalized(sampling, logits, recent or [])
    chosen = [sampler.sample(logits) for _ in range(n)]
    return np.bincount(chosen, minlength=logits.size) / n


def oracle(s: Sampling, logits: np.ndarray) -> list[float]:
    """The same filters in plain Python, one after the other as llama.cpp runs them."""
    rows = sorted(((float(value), i) for i, value in enumerate(logits)), key=lambda row: (-row[0], row[1]))
    rows = rows[: s.top_k] if s.top_k else rows
    weights = [math.exp(value - rows[0][0]) for value, _ in rows]
    if s.top_p < 1:
        total, reached, count = sum(weights), 0.0, 0
        while count == 0 or (count < len(rows) and reached < s.top_p * total):
            reached += weights[count]
            count += 1
        rows, weights = rows[:count], weights[:count]
    rows = [row for row, weight in zip(rows, weights, strict=True) if weight >= s.min_p]
    if s.xtc_probability and s.xtc_threshold <= 0.5:  # as it is when it acts
        weights = [math.exp(value - rows[0][0]) for value, _ in rows]
        rows = rows[max(sum(weight / sum(weights) >= s.xtc_threshold for weight in weights) - 1, 0) :]
    final = [math.exp((value - rows[0][0]) / s.temperature) for value, _ in rows]
    out = [0.0] * logits.size
    for (_, i), weight in zip(rows, final, strict=True):
        out[i] = weight / sum(final)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 3},
        {"top_p": 0.7},
        {"top_k": 4, "top_p": 0.7},
        {"min_p": 0.3},
        {"top_k": 6, "top_p": 0.9, "min_p": 0.2, "temperature": 0.8},
        {"top_p": 0.9, "min_p": 0.2},
        {"top_p": 0.0},
        {"min_p": 1.0},
        {"top_k": 1},
    ],
)
@pytest.mark.thorough
def test_picks_follow_the_distribution_that_the_filters_leave(options: dict[str, float]) -> None:
    logits = logs(0.05, 0.3, 0.02, 0.25, 0.15, 0.1, 0.08, 0.05)
    sampling = Sampling(**{**ALL, **options}, seed=7)  # type: ignore[arg-type]
    expected = np.array(oracle(sampling, logits))
    measured = shares(sampling, logits)
    assert np.all(measured[expected == 0.0] == 0.0)
    assert np.abs(measured - expected).max() < 5 * math.sqrt(0.25 / 20_000)


@settings(max_examples=60)
@given(
    st.integers(2, 3000),
    st.integers(0, 100),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.1, 8.0),
    st.integers(0, 2**32),
)
def test_every_token_is_picked_over_its_share_of_the_plain_filters(
    n: int, top_k: int, top_p: float, min_p: float, spread: float, seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, n).astype(np.float32)
    sampling = Sampling(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p)
    order = np.argsort(-logits, kind="stable")
    weights = np.exp(logits[order].astype(np.float64) - logits.max())[: top_k or None]
    # At a limit met to the last bit a token may fall on either side.
    assume(np.abs(np.cumsum(weights) / weights.sum() - top_p).min() > 1e-6 and np.abs(weights - min_p).min() > 1e-6)
    expected = np.array(oracle(sampling, logits))
    middles = np.cumsum(expected[order]) - expected[order] / 2
    sampler = Sampler(sampling)
    for token, middle in zip(order, middles, strict=True):
        if expected[token] > 1e-6:
            sampler._random = Mock(random=Mock(return_value=float(middle)))
            assert sampler.sample(logits) == token


@pytest.mark.parametrize("n", [1, 63, 64, 65, 5000, 70_001])
@pytest.mark.parametrize("k", [1, 2, 40, 60])
def test_top_k_equals_sorting(n: int, k: int) -> None:
    random = np.random.default_rng(n * k)
    for logits in (random.normal(size=n), random.integers(0, 5, n), np.zeros(n)):
        logits = logits.astype(np.float32)
        np.testing.assert_array_equal(top_k(logits, min(k, n)), np.argsort(-logits, kind="stable")[: min(k, n)])


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 1000, 151_936])
def test_a_mask_leaves_the_logits_that_it_names(n: int) -> None:
    rng = np.random.default_rng(n)
    logits = rng.normal(size=n).astype(np.float32)
    for share in (0.0, 0.01, 0.5, 1.0):
        may = rng.random(n) < share
        bits = np.packbits(may, bitorder="little")
        words = np.frombuffer(bits.tobytes() + bytes(-len(bits) % 4), np.uint32)
        masked = logits.copy()
        assert mask_logits(masked, words) == may.any()
        np.testing.assert_array_equal(masked, np.where(may, logits, -np.inf))
    with pytest.raises(ValueError, match="words"):
        mask_logits(logits, np.zeros(n // 32 + 2, np.uint32))


def test_nothing_is_left_where_what_a_mask_names_is_banned() -> None:
    logits = np.array([1.0, -np.inf, 2.0], np.float32)
    assert not mask_logits(logits, np.array([0b010], np.uint32))
    assert np.isneginf(logits).all()


def test_greedy_takes_the_first_best_one_and_draws_nothing() -> None:
    assert Sampler(Sampling(temperature=0)).sample(np.array([1, 5, 5, 2], np.float32)) == 1


def test_tiny_temperatures_are_greedy_and_huge_ones_uniform() -> None:
    logits = logs(0.2, 0.5, 0.3)
    for temperature in (1e-30, 5e-324):
        assert shares(Sampling(**{**ALL, "temperature": temperature}, seed=1), logits, 50)[1] == 1.0
    assert np.abs(shares(Sampling(**{**ALL, "temperature": 1e308}, seed=1), logits) - 1 / 3).max() < 0.02


def test_the_same_seed_gives_the_same_tokens() -> None:
    logits = np.random.default_rng(0).normal(size=500).astype(np.float32)

    def sampled(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(seed=seed))
        return [sampler.sample(logits) for _ in range(50)]

    assert sampled(1) == sampled(1) != sampled(2)
    assert sampled(2**64) == sampled(2**64)
    assert sampled(None) != sampled(None)


def test_repetition_penalty_acts_once_on_each_recent_token() -> None:
    def chosen(logits: np.ndarray, context: list[int], **options: float) -> int:
        sampling = Sampling(temperature=0, **options)  # type: ignore[arg-type]
        return Sampler(sampling).sample(penalized(sampling, logits, context))

    logits = np.array([2.0, -1.0, 2.0, 0.5], np.float32)
    strong = {"repeat_penalty": 2.0, "repeat_last_n": 3}
    assert chosen(logits, [2, 0, 0, 0], **strong) == 2  # 2 is too far back
    assert chosen(logits, [0, 2], **strong) == 0  # both 1.0, penalized once
    assert chosen(logits, [2, 0] + [1] * 99, repeat_penalty=9.0, repeat_last_n=-1) == 3
    assert chosen(logits, [0], repeat_penalty=9.0, repeat_last_n=0) == 0
    negative = np.array([-1.0, -1.5], np.float32)
    assert chosen(negative, [0], **strong) == 1
    huge = np.array([3e38, 1.0], np.float32)
    assert chosen(huge, [0, 1], repeat_penalty=0.01) == 0


def test_sampling_leaves_the_logits_as_they_are() -> None:
    logits = logs(0.5, 0.3, 0.2)
    before = logits.copy()
    for options in ({}, {"top_k": 0}, {"temperature": 0}):
        Sampler(Sampling(**options, seed=1)).sample(logits)  # type: ignore[arg-type]
    np.testing.assert_array_equal(logits, before)


def test_banned_tokens_are_never_chosen() -> None:
    logits = np.full(100, -np.inf, np.float32)
    logits[[3, 70]] = 1.0
    for options in ({}, {"top_k": 0}, {"top_k": 0, "top_p": 1.0}, ALL, {"repeat_penalty": 1.5}):
        share = shares(Sampling(**options, seed=3), logits, 200, [5, 6])  # type: ignore[arg-type]
        assert share[3] + share[70] == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_an_error(bad: float, temperature: float) -> None:
    logits = np.zeros(300, np.float32)
    logits[200] = bad
    with pytest.raises(NumericError, match="not finite"):
        Sampler(Sampling(temperature=temperature)).sample(logits)
    with pytest.raises(NumericError):
        Sampler(Sampling(temperature=temperature)).sample(np.full(300, -np.inf, np.float32))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", math.nan), ("temperature", -0.1), ("temperature", math.inf), ("temperature", "1"),
        ("top_k", -3), ("top_k", 1.5), ("top_k", True), ("top_p", 5.0), ("top_p", -0.1), ("top_p", math.nan),
        ("min_p", 1.1), ("min_p", math.nan), ("repeat_penalty", 0.0), ("repeat_penalty", math.nan),
        ("repeat_penalty", -1.0), ("repeat_last_n", -2), ("seed", -1), ("seed", 0.5),
        ("presence_penalty", math.inf), ("frequency_penalty", "1"), ("dry_multiplier", -1.0), ("dry_base", 0.5),
        ("dry_allowed_length", 0), ("dry_penalty_last_n", -2), ("dry_sequence_breakers", "x"),
        ("dry_sequence_breakers", [""]), ("dry_sequence_breakers", 3), ("xtc_probability", 1.5),
        ("xtc_threshold", math.nan), ("logit_bias", [1]), ("a token of logit_bias", {-1: 0.0}),
        ("a token of logit_bias", {"x": 0.0}), ("the logit_bias of token 3", {3: math.inf}),
        ("the logit_bias of token 3", {3: math.nan}), ("ignore_eos", 1),
    ],
)  # fmt: skip
def test_senseless_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is .* but must be"):
        Sampling(**{name if name.isidentifier() else "logit_bias": value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("threshold", "left"), [(0.1, [3]), (0.2, [2, 3, 4]), (0.31, [0, 1, 2, 3, 4]), (0.6, [0, 1, 2, 3, 4])]
)
def test_xtc_leaves_out_the_most_probable_tokens_but_the_last(threshold: float, left: list[int]) -> None:
    logits = logs(0.3, 0.25, 0.25, 0.15, 0.05)
    sampling = Sampling(**ALL, xtc_probability=1.0, xtc_threshold=threshold, seed=1)  # type: ignore[arg-type]
    left = [3, 4] if threshold == 0.1 else left
    assert np.flatnonzero(shares(sampling, logits, 2000)).tolist() == left
    assert np.abs(shares(sampling, logits) - oracle(sampling, logits)).max() < 0.02
    greedy = Sampling(temperature=0, xtc_probability=1.0, xtc_threshold=threshold)
    assert Sampler(greedy).sample(logits) == left[0]


def test_xtc_acts_as_often_as_it_should() -> None:
    sampling = Sampling(**ALL, xtc_probability=0.25, seed=1)  # type: ignore[arg-type]
    share = shares(sampling, logs(0.6, 0.4))
    assert share[0] == pytest.approx(0.75 * 0.6, abs=0.02)


def test_presence_and_frequency_are_taken_after_the_repetition_penalty() -> None:
    logits = np.array([4.0, -1.0, 2.0, 0.5], np.float32)
    Penalties(4, 2.0, 0.25, 0.5).apply(logits, [3, 0, 0, 1, 0])  # the first one is too far back
    np.testing.assert_allclose(logits, [4 / 2 - 0.25 - 3 * 0.5, -1 * 2 - 0.25 - 0.5, 2.0, 0.5])


def test_logit_bias_adds_and_bans() -> None:
    logits = np.zeros(5, np.float32)
    LogitBias({1: 2.5, 3: -math.inf}, 5).apply(logits, [])
    assert logits.tolist() == [0, 2.5, 0, -math.inf, 0]
    with pytest.raises(ValueError, match="token 5, but the vocabulary has 5"):
        LogitBias({5: 1.0}, 5)
    with pytest.raises(ValueError, match="bans every token; leave one"):
        LogitBias(dict.fromkeys(range(5), -math.inf), 5)


def dry_penalties(
    context: list[int], pieces: list[bytes], allowed: int, last_n: int, breakers: list[bytes]
) -> dict[int, int]:
    """By token, the longest repetition that it would go on with: all lengths at all places tried, one by one."""
    recent = context if last_n < 0 else context[max(len(context) - last_n, 0) :]
    whole = b"".join(pieces[token] for token in recent)
    end = max((whole.rfind(breaker) + len(breaker) for breaker in breakers if breaker in whole), default=0)
    sizes = np.cumsum([len(pieces[token]) for token in recent]) if recent else np.zeros(0)
    unbroken = int((sizes > end).sum()) if end else len(recent)
    found: dict[int, int] = {}
    for at in range(1, len(recent)):
        for n in range(allowed, min(at, unbroken) + 1):
            if recent[at - n : at] == recent[len(recent) - n :]:
                found[recent[at]] = max(found.get(recent[at], 0), n)
    return found


@settings(max_examples=150)
@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 3), st.sampled_from([-1, 5, 12]), st.booleans())
def test_dry_penalizes_what_would_go_on_with_a_repetition(
    context: list[int], allowed: int, last_n: int, broken: bool
) -> None:
    pieces = [b"a", b"b", b"c", b"\n", b"x:"]
    breakers = ["\n", ":", "ca"] if broken else []
    logits = np.zeros(5, np.float32)
    Dry(0.8, 1.75, allowed, last_n, breakers, pieces.__getitem__).apply(logits, context)
    expected = np.zeros(5)
    for token, n in dry_penalties(context, pieces, allowed, last_n, [text.encode() for text in breakers]).items():
        expected[token] = -0.8 * 1.75 ** (n - allowed)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_dry_stays_finite_over_long_repetitions() -> None:
    logits = np.zeros(3, np.float32)
    Dry(5.0, 4.0, 2, -1, (), lambda token: b"x").apply(logits, [1] * 5000)
    assert np.isfinite(logits).all() and logits[1] < -1e9 and logits[0] == 0


@pytest.mark.parametrize("n_vocab", [49_152, 262_144])
def test_sampling_takes_less_than_a_loop_over_the_vocabulary(n_vocab: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, n_vocab).astype(np.float32)
    sampler, penalty, recent = Sampler(), Penalties(64, 1.1), list(range(100))
    times, loops = [], []
    for _ in range(50):
        started = time.process_time()
        penalty.apply(logits, recent)
        sampler.sample(logits)
        sampled = time.process_time()
        for _ in logits:
            pass
        times.append(sampled - started)
        loops.append(time.process_time() - sampled)
    assert min(times) < min(loops)


def test_whole_numbers_may_be_of_any_size() -> None:
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32)
    huge = Sampling(temperature=1.0, top_k=10**400, seed=10**400)
    everything = Sampling(temperature=1.0, top_k=0, seed=10**400)
    assert [Sampler(huge).sample(logits) for _ in range(9)] == [Sampler(everything).sample(logits) for _ in range(9)]
    before = logits.copy()
    Dry(1.0, 1.75, 10**400, 10**400, (), lambda _: b"a").apply(logits, [1, 2, 1, 2, 1])
    np.testing.assert_array_equal(logits, before)
    Penalties(10**400, 2.0).apply(logits, [1, 2])
    assert (logits != before).sum() == 2
