"""The float kernels of every instruction set against float64 numpy, with stated bounds, and against guard pages."""

import ctypes
import itertools
import mmap
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from float_oracle import (
    SUBNORMAL,
    Cache,
    U,
    attention,
    cache,
    cache_of,
    clamped_silu,
    gates,
    normal,
    stored,
    sum_bound,
    visible,
)
from numpy.typing import NDArray

from subbyte.kernels import _testing as kernels
from subbyte.kernels import isas

pytestmark = pytest.mark.thorough

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]

ISAS = isas()
ACTIVATIONS = (kernels.silu_mul, kernels.gelu_mul, kernels.relu_mul, kernels.clamped_silu_mul)
SIZES = [*range(1, 68), 576, 1000, 1536, 4099]
each_isa = pytest.mark.parametrize("isa", ISAS)


def assert_within(actual: NDArray[np.generic], expected: Doubles, bound: float | Doubles) -> None:
    error = np.abs(actual.astype(np.float64) - expected)
    assert np.all(error <= bound), f"{np.max(error / np.maximum(bound, 1e-300)):.3g} times the bound"


# ---- conversions ----


def as_bits(x: Floats) -> NDArray[np.uint32]:
    return x.view(np.uint32)


@each_isa
def test_every_half_becomes_its_float(isa: str) -> None:
    halves = np.arange(65536, dtype=np.uint16)
    out = np.empty(65536, np.float32)
    kernels.f16_to_float(isa, halves, out)
    with np.errstate(invalid="ignore"):  # ARM says so of signalling NaNs
        expected = halves.view(np.float16).astype(np.float32)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(out), nan)
    assert np.array_equal(as_bits(out)[~nan], as_bits(expected)[~nan])
    quiet = as_bits(out)[nan]  # sign and payload stay, the quiet bit is set
    stored = halves[nan].astype(np.uint32)
    assert np.array_equal(quiet, (stored & 0x8000) << 16 | 0x7FC00000 | (stored & 0x3FF) << 13)


@each_isa
def test_floats_round_to_the_nearest_half(isa: str) -> None:
    rng = np.random.default_rng(1)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[:-1] + halves[1:]) / 2  # exact in float32
    around = [ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))]
    special = np.float32([0, 65504, 65519.996, 65520, 1e38, np.inf, 2**-24, 2**-25, 2**-26, 1e-40, np.nan])
    random = rng.integers(0, 2**32, 400_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([halves, *around, special, random])
    x = np.concatenate([x, -x])
    out = np.empty(x.size, np.uint16)
    kernels.float_to_f16(isa, x, out)
    nan = np.isnan(x)
    with np.errstate(all="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    assert np.array_equal(out[~nan], expected[~nan])
    assert np.all(np.isnan(out.view(np.float16)[nan]))


@each_isa
@pytest.mark.parametrize("n", [*range(1, 68)])
def test_conversions_of_any_length(isa: str, n: int) -> None:
    x = normal(np.random.default_rng(n), n + 3)[3:]
    half, back = np.full(n + 8, 7, np.uint16), np.full(n + 8, 7, np.float32)
    kernels.float_to_f16(isa, x, half[1 : n + 1])
    kernels.f16_to_float(isa, half[1 : n + 1], back[1 : n + 1])
    assert np.array_equal(back[1 : n + 1], x.astype(np.float16).astype(np.float32))
    assert half[0] == half[n + 1] == 7 and back[0] == back[n + 1] == 7


# ---- products ----


@each_isa
@pytest.mark.parametrize("format", ["F32", "F16", "BF16"])
def test_dot(isa: str, format: str) -> None:
    rng = np.random.default_rng(2)
    for k, n_rows in itertools.product(SIZES, [1, 2, 3, 4, 5, 9]):
        data, weights = stored(normal(rng, n_rows, k), format)
        shifted = np.empty(data.size + 1, np.uint8)  # rows may start at any byte
        shifted[1:] = data
        x, out = normal(rng, 2, k), np.empty((2, n_rows), np.float32)
        kernels.dot_float(isa, format, shifted[1:], x, out)
        assert_within(out, x.astype(np.float64) @ weights.T, sum_bound(k) * (np.abs(x) @ np.abs(weights.T)) + 1e-30)


@each_isa
@pytest.mark.parametrize("format", ["F32", "F16", "BF16"])
def test_few_tokens_and_many_have_one_order(isa: str, format: str) -> None:
    rng = np.random.default_rng(21)
    for k, n_rows in itertools.product([1, 2, 7, 8, 31, 64, 576, 1024, 1030, 2500], [1, 5, 8, 17, 37, 49]):
        data, weights = stored(normal(rng, n_rows, k), format)
        x, many = normal(rng, 7, k), np.empty((7, n_rows), np.float32)
        kernels.gemm_float(isa, weights.astype(np.float32), x, many)
        for n in range(1, 8):
            few = np.empty((n, n_rows), np.float32)
            kernels.dot_float(isa, format, data, x[7 - n :], few)
            assert np.array_equal(few, many[7 - n :])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if kernels.has_bf16(isa)])
def test_few_tokens_and_many_as_bf16_have_one_order(isa: str) -> None:
    rng = np.random.default_rng(22)
    for k, n_rows in itertools.product([2, 8, 62, 576, 2048, 2052, 5000], [1, 5, 8, 17, 49]):
        data, _ = stored(normal(rng, n_rows, k), "BF16")
        x, many = normal(rng, 7, k), np.empty((7, n_rows), np.float32)
        kernels.gemm_bf16(isa, data, x, many)
        for n in range(1, 8):
            few = np.empty((n, n_rows), np.float32)
            kernels.dot_bf16(isa, data, x[7 - n :], few)
            assert np.array_equal(few, many[7 - n :])


def aligned(*shape: int) -> Floats:
    """Uninitialised floats at a multiple of 64 bytes."""
    size = int(np.prod(shape))
    space = np.empty(size + 16, np.float32)
    start = -space.ctypes.data % 64 // 4
    return space[start : start + size].reshape(shape)


@each_isa
def test_pack_puts_tokens_in_lanes(isa: str) -> None:
    rng = np.random.default_rng(3)
    lanes = kernels.lanes(isa)
    for k, n_tokens in itertools.product(SIZES, range(1, lanes + 1)):
        x, tile = normal(rng, n_tokens, k), aligned(k, lanes)
        kernels.pack_float(isa, x, tile)
        assert np.array_equal(tile[:, :n_tokens], x.T)
        assert not tile[:, n_tokens:].any()


def matrix_sizes(k_step: int) -> Iterator[tuple[int, int, int]]:
    """n_rows, k, n_tokens: numbers of rows and tokens around those that are computed together, tails of a row."""
    yield from itertools.product([*range(1, 34), 67], [k_step, 7 * k_step, 64], [1, 8, 16])
    yield from itertools.product([1, 8, 13, 32], [1536, 4098], range(1, 19))
    yield from itertools.product([9, 16], [576], range(19, 130, 5))
    yield from itertools.product([5, 16], range(k_step, 70, k_step), [3, 17])


@each_isa
def test_gemm(isa: str) -> None:
    rng = np.random.default_rng(4)
    for n_rows, k, n_tokens in matrix_sizes(1):
        rows, x, out = normal(rng, n_rows, k), normal(rng, n_tokens, k), np.empty((n_tokens, n_rows), np.float32)
        kernels.gemm_float(isa, rows, x, out)
        w64, x64 = rows.astype(np.float64), x.astype(np.float64)
        assert_within(out, x64 @ w64.T, sum_bound(k) * (np.abs(x64) @ np.abs(w64.T)))


def assert_alone_as_together(rows: NDArray[np.generic], x: Floats, gemm: Callable[..., None]) -> None:
    """A product does not depend on what else is computed with it; so neither on how rows are shared out to threads."""
    n_rows, n_tokens = len(rows), len(x)
    together = np.empty((n_tokens, n_rows), np.float32)
    gemm(rows, x, together)
    last = n_tokens - 40
    for r0, r1, t0, t1 in [(0, 1, 0, n_tokens), (3, n_rows, 5, 6), (28, n_rows, 1, 18), (0, n_rows, last, n_tokens)]:
        part = np.empty((t1 - t0, r1 - r0), np.float32)
        gemm(rows[r0:r1], x[t0:t1], part)
        assert np.array_equal(part, together[t0:t1, r0:r1])


@each_isa
@pytest.mark.parametrize("k", [64, 2600])
def test_a_product_depends_on_its_row_and_token_alone(isa: str, k: int) -> None:
    rng = np.random.default_rng(19)
    rows, x = normal(rng, 37, k), normal(rng, 83, k)
    assert_alone_as_together(rows, x, lambda rows, x, out: kernels.gemm_float(isa, rows, x, out))


@each_isa
def test_nan_stays_with_its_row_and_token(isa: str) -> None:
    rng = np.random.default_rng(20)
    rows, x, out = normal(rng, 11, 70), normal(rng, 20, 70), np.empty((20, 11), np.float32)
    rows[9, 69], x[17, 3] = np.nan, np.inf
    kernels.gemm_float(isa, rows, x, out)
    assert_not_finite(out, 17, 9)


def assert_not_finite(out: Floats, token: int, row: int) -> None:
    bad = ~np.isfinite(out)
    assert bad[token].all() and bad[:, row].all() and bad.sum() == sum(out.shape) - 1


# ---- bf16 ----

each_bf16_isa = pytest.mark.parametrize("isa", [isa for isa in ISAS if kernels.has_bf16(isa)])


def rounded_to_bf16(x: Floats) -> Floats:
    """To nearest, ties to even; subnormal numbers to 0; NaN stays."""
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), x, np.where(np.abs(x) < SUBNORMAL, np.copysign(np.float32(0), x), rounded))


@each_bf16_isa
def test_pack_bf16_rounds_to_the_nearest(isa: str) -> None:
    rng = np.random.default_rng(21)
    lanes = kernels.lanes(isa)
    random = rng.integers(0, 2**32, (200, lanes, 64), dtype=np.uint32)
    ties_and_subnormals = np.uint32([0xFFFF8000, 0xFFFF8001, 0x807FFFFF, 0xFFFFFFFF])
    random[100:] &= rng.choice(ties_and_subnormals, (100, lanes, 64))
    for x in random.view(np.float32):
        tile = aligned(32, lanes).view(np.uint16).reshape(32, lanes, 2)
        kernels.pack_bf16(isa, x, tile)
        found = tile.transpose(1, 0, 2).reshape(lanes, 64)
        nan = np.isnan(x)
        assert np.array_equal(found[~nan], (rounded_to_bf16(x).view(np.uint32) >> 16)[~nan])
        assert np.isnan((found.astype(np.uint32) << 16).view(np.float32)[nan]).all()


@each_bf16_isa
def test_pack_bf16_puts_pairs_of_tokens_in_lanes(isa: str) -> None:
    rng = np.random.default_rng(22)
    lanes = kernels.lanes(isa)
    for k, n_tokens in itertools.product([*range(2, 68, 2), 576], range(1, lanes + 1)):
        x, tile = normal(rng, n_tokens, k), aligned(k // 2, lanes).view(np.uint16).reshape(k // 2, lanes, 2)
        kernels.pack_bf16(isa, x, tile)
        tokens = tile.transpose(1, 0, 2).reshape(lanes, k)
        assert np.array_equal(tokens[:n_tokens], rounded_to_bf16(x).view(np.uint32) >> 16)
        assert not tokens[n_tokens:].any()


@each_bf16_isa
def test_gemm_bf16(isa: str) -> None:
    """Against rounded activations within what float sums may lose; so against x within 2^-8 of each product more."""
    rng = np.random.default_rng(23)
    for n_rows, k, n_tokens in matrix_sizes(2):
        data, weights = stored(normal(rng, n_rows, k), "BF16")
        shifted = np.empty(data.size + 1, np.uint8)  # rows may start at any byte
        shifted[1:] = data
        x, out = normal(rng, n_tokens, k), np.empty((n_tokens, n_rows), np.float32)
        kernels.gemm_bf16(isa, shifted[1:], x, out)
        x64 = rounded_to_bf16(x).astype(np.float64)
        assert_within(out, x64 @ weights.T, sum_bound(k) * (np.abs(x64) @ np.abs(weights.T)))
        assert_within(out, x @ weights.T, (2.0**-8 + sum_bound(k)) * (np.abs(x) @ np.abs(weights.T)))


@each_bf16_isa
def test_gemm_bf16_of_extreme_numbers(isa: str) -> None:
    """Magnitudes from 2^-120 to 2^120: exact products, and sums rounded relative to their greatest part."""
    rng = np.random.default_rng(24)
    w = normal(rng, 9, 64) * np.exp2(rng.integers(-60, 60, (9, 64))).astype(np.float32)
    x = normal(rng, 17, 64) * np.exp2(rng.integers(-60, 60, (17, 64))).astype(np.float32)
    data, weights = stored(w, "BF16")
    out = np.empty((17, 9), np.float32)
    kernels.gemm_bf16(isa, data, x, out)
    x64 = rounded_to_bf16(x).astype(np.float64)
    assert_within(out, x64 @ weights.T, sum_bound(64) * (np.abs(x64) @ np.abs(weights.T)))


@each_bf16_isa
@pytest.mark.parametrize("k", [64, 5000])
def test_a_bf16_product_depends_on_its_row_and_token_alone(isa: str, k: int) -> None:
    rng = np.random.default_rng(25)
    rows, x = stored(normal(rng, 37, k), "BF16")[0].reshape(37, -1), normal(rng, 83, k)
    assert_alone_as_together(rows, x, lambda rows, x, out: kernels.gemm_bf16(isa, rows.reshape(-1), x, out))


@each_bf16_isa
def test_nan_stays_with_its_bf16_row_and_token(isa: str) -> None:
    rng = np.random.default_rng(26)
    rows, x, out = normal(rng, 11, 70), normal(rng, 20, 70), np.empty((20, 11), np.float32)
    rows[9, 69], x[17, 3] = np.inf, np.nan
    kernels.gemm_bf16(isa, stored(rows, "BF16")[0], x, out)
    assert_not_finite(out, 17, 9)


# ---- the rest of a layer ----


@each_isa
def test_rms_norm(isa: str) -> None:
    rng = np.random.default_rng(5)
    for n, magnitude in itertools.product(SIZES, [1, 1e-20, 1e18]):
        x, weight = normal(rng, n) * np.float32(magnitude), normal(rng, n)
        x64, out = x.astype(np.float64), np.empty(n, np.float32)
        expected = x64 / np.sqrt(np.mean(x64**2) + np.float32(1e-5)) * weight
        kernels.rms_norm(isa, x, weight, 1e-5, out)
        assert_within(out, expected, 4 * U * np.abs(expected))
        kernels.rms_norm(isa, x, weight, 1e-5, x)
        assert np.array_equal(x, out)  # in place


@each_isa
@pytest.mark.parametrize("interleaved", [False, True])
def test_rope(isa: str, interleaved: bool) -> None:
    rng = np.random.default_rng(6)
    for n_pairs, rest in itertools.product([*range(1, 68), 128], [0, 5]):
        angle = rng.uniform(0, 100, n_pairs)
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        head = normal(rng, 2 * n_pairs + rest)
        pairs = head[: 2 * n_pairs].astype(np.float64)
        a, b = (pairs[::2], pairs[1::2]) if interleaved else (pairs[:n_pairs], pairs[n_pairs:])
        bound = 3 * U * (np.abs(a) + np.abs(b))
        out = head.copy()
        kernels.rope(isa, out, cos, sin, interleaved)
        turned = out[: 2 * n_pairs]
        c, d = (turned[::2], turned[1::2]) if interleaved else (turned[:n_pairs], turned[n_pairs:])
        assert_within(c, a * cos - b * sin, bound)
        assert_within(d, a * sin + b * cos, bound)
        assert np.array_equal(out[2 * n_pairs :], head[2 * n_pairs :])


@each_isa
def test_silu(isa: str) -> None:
    x = gates()
    up, out = normal(np.random.default_rng(8), x.size), np.empty(x.size, np.float32)
    kernels.silu_mul(isa, x, up, out)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64))) * up
    # Where exp(-x) is beyond float32, the result is 0 in place of some 90 times a subnormal number.
    assert_within(out, expected, 8 * U * np.abs(expected) + 128 * SUBNORMAL * np.abs(up))


@each_isa
def test_gelu(isa: str) -> None:
    x = gates()
    up, out = normal(np.random.default_rng(9), x.size), np.empty(x.size, np.float32)
    kernels.gelu_mul(isa, x, up, out)
    x64 = x.astype(np.float64)
    with np.errstate(over="ignore"):
        u = 2 * 0.7978845608 * (x64 + 0.044715 * x64**3)
        expected = x64 / (1 + np.exp(-u)) * up
    # An error of u is one of exp(-u) times u, while exp(-u) counts.
    bound = (8 + 8 * np.clip(-u, 0, 104)) * U * np.abs(expected) + 2 * SUBNORMAL * np.abs(up) * np.abs(x64)
    assert_within(out, expected, bound)


@each_isa
def test_relu(isa: str) -> None:
    x = gates()
    up, out = normal(np.random.default_rng(9), x.size), np.empty(x.size, np.float32)
    kernels.relu_mul(isa, x, up, out)
    assert np.array_equal(out, np.maximum(x, 0) * up)


@each_isa
def test_clamped_silu(isa: str) -> None:
    x = gates()
    up, out = 6 * normal(np.random.default_rng(9), x.size), np.empty(x.size, np.float32)
    kernels.clamped_silu_mul(isa, x, up, out)
    assert_within(out, *clamped_silu(x, up))
    at_the_ends, expected = np.float32([7, 8, np.inf, 1, 1, 1]), np.float32([0, 0, 0, 7, 9, -9])
    out = np.empty(6, np.float32)
    kernels.clamped_silu_mul(isa, at_the_ends, expected, out)
    assert out[0] == out[1] == out[2] and out[3] == out[4] == pytest.approx(-4 / 3 * out[5])


@each_isa
@pytest.mark.parametrize("n", SIZES)
def test_elementwise_tails(isa: str, n: int) -> None:
    """Short and odd lengths give what the long run gives, and nothing is written past the end."""
    rng = np.random.default_rng(n)
    x, y = normal(rng, n + 1)[1:], normal(rng, n + 3)[3:]
    for kernel in ACTIVATIONS:
        out, one = np.full(n + 1, 7, np.float32), np.empty(1, np.float32)
        kernel(isa, x, y, out[:n])
        assert out[n] == 7
        for i in {0, n // 2, n - 1}:
            kernel(isa, x[i : i + 1], y[i : i + 1], one)
            assert out[i] == one[0]
    added = np.append(x, np.float32(7))
    kernels.add(isa, added[:n], y)
    assert np.array_equal(added[:n], x + y) and added[n] == 7
    kernels.scale(isa, added[:n], 1.7)
    assert np.array_equal(added[:n], (x + y) * np.float32(1.7)) and added[n] == 7


@each_isa
def test_max_sum_exp(isa: str) -> None:
    rng = np.random.default_rng(10)
    for n, spread in itertools.product([*SIZES, 50_000], [1, 30, 1e4]):
        x = normal(rng, n) * np.float32(spread)
        greatest, total = kernels.max_sum_exp(isa, x)
        assert greatest == x.max()
        expected = np.exp(x.astype(np.float64) - float(x.max())).sum()
        assert total == pytest.approx(expected, rel=4 * U + 2 * U * min(spread, 88))


@each_isa
def test_exp_is_close_and_ends_in_exact_zero(isa: str) -> None:
    """Two keys of scores 0 and x with values 0 and 1 give exp(x) / (1 + exp(x)), the nearest thing to exp."""
    x = np.linspace(-110, 0, 30_001, dtype=np.float32)[:, None]
    keys = np.float32([[0], [1]])
    out = attention_decode(isa, x, cache_of(keys, keys, "F32"), (0, 2), 1.0)
    e = np.exp(x.astype(np.float64))
    assert_within(out, e / (1 + e), 4 * U * e + 2.0**-149)
    assert not out[x < -104].any()


@each_isa
def test_max_sum_exp_of_minus_infinity(isa: str) -> None:
    logits = np.full(37, -np.inf, np.float32)
    assert kernels.max_sum_exp(isa, logits)[1] == 0
    logits[20] = -3
    assert kernels.max_sum_exp(isa, logits) == (-3, 1)


@each_isa
def test_nan_is_not_lost(isa: str) -> None:
    for n, at in [(1, 0), (9, 8), (40, 3), (67, 66)]:
        x, one, out = np.ones(n, np.float32), np.ones(n, np.float32), np.empty(n, np.float32)
        x[at] = np.nan
        assert np.isnan(kernels.max_sum_exp(isa, x)[1])
        for kernel in ACTIVATIONS:
            kernel(isa, x, one, out)
            assert np.isnan(out[at]) and np.isnan(out).sum() == 1
        kernels.rms_norm(isa, x, one, 1e-5, out)
        assert np.isnan(out).all()


# ---- attention ----


def parts(q: Floats, n: int) -> Floats:
    """Room for n parts of q's heads, [n, *heads, head_dim + 2]; a part that is not written spoils every result."""
    return np.full((n, *q.shape[:-1], q.shape[-1] + 2), np.nan, np.float32)


def attention_decode(isa: str, q: Floats, c: Cache, cuts: Sequence[int], scale: float, softcap: float = 0) -> Floats:
    """One token, q [n_head, head_dim], over keys cuts[0] .. cuts[-1] - 1, in parts that begin at the cuts."""
    room, out = parts(q, len(cuts) - 1), np.empty_like(q)
    for part, first, last in zip(room, cuts, cuts[1:], strict=False):
        kernels.attention_decode(isa, c.format, q, c.k_rows, c.v_rows, first, last, scale, part, softcap)
    kernels.combine_splits(isa, room, out)
    return out


def attention_prefill(
    isa: str, q: Floats, c: Cache, pos0: int, window: int, scale: float, cuts: Sequence[int] = (), softcap: float = 0
) -> Floats:
    """Tokens at pos0.., q [n_tokens, n_head, head_dim], in parts: from the first visible key, and from the cuts."""
    ends = [max(pos0 - window + 1, 0) if window else 0, *cuts, pos0 + len(q)]
    room, out = parts(q, len(ends) - 1), np.empty_like(q)
    for part, first, last in zip(room, ends, ends[1:], strict=False):
        kernels.attention_prefill(isa, c.format, q, c.k_rows, c.v_rows, pos0, window, first, last, scale, part, softcap)
    for t in range(len(q)):
        kernels.combine_splits(isa, np.ascontiguousarray(room[:, t]), out[t])
    return out


each_format = pytest.mark.parametrize("format", ["F32", "F16", "Q8_0"])


@each_isa
@each_format
@pytest.mark.parametrize("head_dim", [1, 3, 8, 16, 17, 40, 63, 64, 72, 80, 96, 128, 256])
def test_attention_decode(isa: str, head_dim: int, format: str) -> None:
    rng = np.random.default_rng(head_dim)
    c = cache(rng, 400, head_dim, format)
    spans = [(0, 1), (0, 2), (0, 7), (3, 4), (5, 72), (0, 64), (0, 65), (0, 400), (137, 400)]
    for n_head, (first, last) in itertools.product([1, 2, 3, 4, 5, 7, 8, 17], spans):
        q = normal(rng, n_head, head_dim)
        expected, bound = attention(q, c.k, c.v, slice(first, last), head_dim**-0.5)
        assert_within(attention_decode(isa, q, c, (first, last), head_dim**-0.5), expected, bound)


def check_tile(isa: str, q: Floats, c: Cache, pos0: int, window: int, scale: float, softcap: float = 0) -> None:
    """attention_prefill against the oracle, and attention_decode token by token: the same bits."""
    out = attention_prefill(isa, q, c, pos0, window, scale, softcap=softcap)
    for t in range(q.shape[0]):
        keys = visible(pos0 + t, window)
        expected, bound = attention(q[t], c.k, c.v, keys, scale, softcap)
        assert_within(out[t], expected, bound)
        assert np.array_equal(out[t], attention_decode(isa, q[t], c, (keys.start, keys.stop), scale, softcap))


@each_isa
@each_format
@pytest.mark.parametrize("window", [0, 1, 5, 1000])
@pytest.mark.parametrize("pos0", [0, 3, 100])
def test_attention_prefill(isa: str, pos0: int, window: int, format: str) -> None:
    rng = np.random.default_rng(11)
    shapes = [(1, 16), (3, 64), (4, 80), (7, 17), (8, 128), (1, 256), (2, 40), (5, 96)]
    for (n_head, head_dim), n_tokens in itertools.product(shapes, [*range(1, kernels.lanes(isa) + 1), 40]):
        c = cache(rng, pos0 + n_tokens, head_dim, format)
        check_tile(isa, normal(rng, n_tokens, n_head, head_dim), c, pos0, window, head_dim**-0.5)


@each_isa
@each_format
@pytest.mark.parametrize("softcap", [0.5, 50])
def test_soft_caps(isa: str, softcap: float, format: str) -> None:
    """Scores far below the cap, about it, and far above."""
    rng = np.random.default_rng(22)
    c = cache(rng, 150, 40, format)
    for factor, n_head in [(0.01, 1), (1, 2), (10, 3), (1e4, 9)]:
        check_tile(isa, normal(rng, 16, n_head, 40) * np.float32(factor), c, 134, 100, 1.0, softcap)


@each_isa
def test_a_soft_cap_is_close_wherever_the_score_is(isa: str) -> None:
    """Two keys of scores 0 and x with values 0 and 1 give 1 / (1 + exp(-cap tanh(x / cap)))."""
    x = np.concatenate([np.linspace(-40, 40, 20_001), np.geomspace(1e-7, 3e38, 999)]).astype(np.float32)[:, None]
    keys = np.float32([[0], [1]])
    out = attention_decode(isa, x, cache_of(keys, keys, "F32"), (0, 2), 1.0, 4.0)
    soft = 4 * np.tanh(x.astype(np.float64) / 4)
    expected = 1 / (1 + np.exp(-soft))
    assert_within(out, expected, expected * (4 * U + 8 * U * np.abs(soft)))


@each_isa
@pytest.mark.parametrize("window", [0, 63, 64, 130])
def test_attention_prefill_over_many_blocks(isa: str, window: int) -> None:
    rng = np.random.default_rng(12)
    c = cache(rng, 700, 64, "F16")
    check_tile(isa, normal(rng, 13, 3, 64), c, 687, window, 0.125)
    check_tile(isa, normal(rng, 200, 1, 64), c, 0, window, 0.125)


@each_isa
@each_format
@pytest.mark.parametrize("head_dim", [17, 64, 72])
def test_keys_in_parts(isa: str, head_dim: int, format: str) -> None:
    """Wherever the keys are cut, also into parts of which a token sees nothing; parts of no key, and 256 parts."""
    rng = np.random.default_rng(19)
    c = cache(rng, 400, head_dim, format)
    scale = head_dim**-0.5
    for cuts in ([0, 200, 400], [0, 0, 1, 65, 65, 399, 400, 400], [0, *range(1, 256), 400], [130, 131, 400]):
        for n_head in (1, 3, 17):
            q = normal(rng, n_head, head_dim)
            expected, bound = attention(q, c.k, c.v, slice(cuts[0], 400), scale)
            assert_within(attention_decode(isa, q, c, cuts, scale), expected, 2 * bound)
    tiles = [(387, 0, [0, 64, 390]), (387, 0, [200, 388, 399]), (387, 30, [360, 365, 395]), (0, 0, [1, 5])]
    for pos0, window, cuts in tiles:
        q = normal(rng, 13, 3, head_dim)
        out = attention_prefill(isa, q, c, pos0, window, scale, cuts)
        for t in range(13):
            expected, bound = attention(q[t], c.k, c.v, visible(pos0 + t, window), scale)
            assert_within(out[t], expected, 2 * bound)


@each_isa
def test_parts_of_very_different_scores(isa: str) -> None:
    """A part whose scores are far below another's weighs nothing, whichever comes first."""
    rng = np.random.default_rng(20)
    k, v = normal(rng, 128, 32), normal(rng, 128, 32)
    for sign in (1, -1):
        k[:64, 0], k[64:, 0] = sign * 1e6, -sign * 1e6
        c, q = cache_of(k, v, "F32"), np.ones((2, 32), np.float32)
        expected, bound = attention(q, c.k, c.v, slice(0, 128), 1.0)
        assert_within(attention_decode(isa, q, c, (0, 64, 128), 1.0), expected, 2 * bound)


@each_isa
@each_format
def test_attention_with_huge_scores(isa: str, format: str) -> None:
    """Scores around +-1e4: one key wins, weights of the others underflow to 0, nothing overflows."""
    rng = np.random.default_rng(13)
    c = cache(rng, 150, 64, format)
    for factor in [1e3, -1e3, 1e15]:
        check_tile(isa, normal(rng, 16, 2, 64) * np.float32(factor), c, 134, 0, 1.0)
    check_tile(isa, np.zeros((16, 2, 64), np.float32), c, 134, 0, 1.0)


@each_isa
def test_scores_that_fall_or_rise_with_every_key(isa: str) -> None:
    """The running maximum moves at every block, or never again after the first."""
    rng = np.random.default_rng(14)
    k, v = np.zeros((300, 16), np.float32), normal(rng, 300, 16)
    k[:, 0] = np.linspace(-500, 500, 300)
    q = np.zeros((10, 2, 16), np.float32)
    q[:, 0, 0], q[:, 1, 0] = 1, -1
    c = cache_of(k, v, "F32")
    check_tile(isa, q, c, 290, 0, 1.0)
    check_tile(isa, q, c, 290, 100, 1.0)


@each_isa
def test_nan_stays_with_its_token_head_and_key(isa: str) -> None:
    rng = np.random.default_rng(15)
    k, v = normal(rng, 90, 32), normal(rng, 90, 32)
    q = normal(rng, 8, 2, 32)
    q[3, 1, 7] = np.nan
    out = attention_prefill(isa, q, cache_of(k, v, "F32"), 80, 0, 1.0, [40])
    assert np.isnan(out[3, 1]).all() and np.isnan(out).sum() == 32
    row = attention_decode(isa, q[3], cache_of(k, v, "F32"), (0, 50, 84), 1.0)
    assert np.isnan(row[1]).all() and not np.isnan(row[0]).any()
    v[85, 4] = np.nan
    out = attention_prefill(isa, np.ones_like(q), cache_of(k, v, "F32"), 80, 0, 1.0)
    assert np.isnan(out[5:, :, 4]).all()


# ---- nothing is read or written past the end ----


class Guarded:
    """Hands out arrays that end where the process may not read any more, so that one byte too many is a crash."""

    def __init__(self) -> None:
        self.size = 1 << 18
        self.maps: list[mmap.mmap] = []
        self.libc = ctypes.CDLL(None, use_errno=True)

    def empty(self, dtype: type[np.generic], *shape: int) -> NDArray[np.generic]:
        space = mmap.mmap(-1, self.size + mmap.PAGESIZE)
        self.maps.append(space)
        start = ctypes.addressof(ctypes.c_char.from_buffer(space))
        assert self.libc.mprotect(ctypes.c_void_p(start + self.size), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        count = int(np.prod(shape))
        offset = self.size - count * np.dtype(dtype).itemsize
        return np.frombuffer(space, dtype, count, offset).reshape(shape)

    def copy(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        out = self.empty(x.dtype.type, *x.shape)
        out[...] = x
        return out


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    yield Guarded()


@each_isa
def test_no_row_kernel_leaves_its_arrays(isa: str, guarded: Guarded) -> None:
    rng = np.random.default_rng(16)
    for n in [1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33]:
        x, y, z, out = (guarded.copy(normal(rng, n)) for _ in range(4))
        half = guarded.copy(normal(rng, n).astype(np.float16).view(np.uint16))
        for kernel in ACTIVATIONS:
            kernel(isa, x, y, out)
        kernels.rms_norm(isa, x, y, 1e-5, out)
        kernels.add(isa, x, y)
        kernels.scale(isa, x, 2)
        kernels.max_sum_exp(isa, x)
        kernels.f16_to_float(isa, half, out)
        kernels.float_to_f16(isa, x, half)
        head = guarded.copy(normal(rng, 2 * n))
        kernels.rope(isa, head, y, z, True)
        kernels.rope(isa, head, y, z, False)


@each_isa
def test_no_product_leaves_its_arrays(isa: str, guarded: Guarded) -> None:
    rng = np.random.default_rng(17)
    lanes = kernels.lanes(isa)
    for n_rows, k, n_tokens in [(1, 2, 1), (3, 6, 2), (5, 16, 7), (4, 18, 8), (17, 34, 3)]:
        for format in ["F32", "F16", "BF16"]:
            data = guarded.copy(stored(normal(rng, n_rows, k), format)[0])
            kernels.dot_float(
                isa, format, data, guarded.copy(normal(rng, n_tokens, k)), guarded.empty(np.float32, n_tokens, n_rows)
            )
        x, rows = guarded.copy(normal(rng, n_tokens, k)), guarded.copy(normal(rng, n_rows, k))
        kernels.pack_float(isa, x, guarded.empty(np.float32, k, lanes))
        out = guarded.empty(np.float32, n_tokens, n_rows)
        kernels.gemm_float(isa, rows, x, out)
        if kernels.has_bf16(isa):
            kernels.pack_bf16(isa, x, guarded.empty(np.uint16, k // 2, lanes, 2))
            kernels.gemm_bf16(isa, guarded.copy(stored(rows, "BF16")[0]), x, out)


@each_isa
@each_format
def test_no_attention_leaves_its_arrays(isa: str, format: str, guarded: Guarded) -> None:
    rng = np.random.default_rng(18)
    for n_head, head_dim, n_tokens, pos0 in [(1, 1, 1, 0), (3, 5, 2, 1), (4, 16, 5, 60), (2, 17, 8, 3), (5, 40, 3, 8)]:
        c = cache(rng, pos0 + n_tokens, head_dim, format)
        k, v, n = guarded.copy(c.k_rows), guarded.copy(c.v_rows), pos0 + n_tokens
        q = guarded.copy(normal(rng, n_tokens, n_head, head_dim))
        part = guarded.empty(np.float32, n_tokens, n_head, head_dim + 2)
        kernels.attention_prefill(isa, format, q, k, v, pos0, 0, 0, n, 1.0, part)
        room = guarded.empty(np.float32, 2, n_head, head_dim + 2)
        for part, first, last in zip(room, (0, n), (n, n), strict=True):
            kernels.attention_decode(isa, format, guarded.copy(q[-1]), k, v, first, last, 1.0, part)
        kernels.combine_splits(isa, room, guarded.empty(np.float32, n_head, head_dim))


# ---- the door ----


def test_the_door_refuses_what_does_not_fit() -> None:
    x = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="instruction set 'mmx' is unknown or not on this machine"):
        kernels.lanes("mmx")
    with pytest.raises(ValueError, match="sizes do not fit"):
        kernels.add("scalar", x, x[:4].copy())
