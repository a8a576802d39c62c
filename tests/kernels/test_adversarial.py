"""Every slot that reads quantized weights, on rows made to break it: odd counts, all lengths, blocks of greatest codes,
extreme scales, infinity and NaN, odd addresses, and fences on both sides of the weights.

A kernel joins by a line in `SLOTS`. Products are compared with float64 sums over what the scalar twin unpacked, within
`BOUND` of the sum of magnitudes. Blocks that repeat repeat their rounding too: for them it is the bound of float sums,
`U` for each rounding on the way, and `SUBNORMAL` for scales that meet below the range of float32.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from blocks import (
    QUANTIZED,
    Bytes,
    Doubles,
    Fenced,
    Floats,
    random_rows,
    set_scales,
    token,
    values,
    weights,
    worst_blocks,
)

from subbyte.kernels import Format, _native, _testing, isas

pytestmark = pytest.mark.thorough

BOUND = 4e-7
U = 2.0**-24
SUBNORMAL = 128 * 2.0**-149  # an integer product of codes and of a scale of at most 128 times the smallest float
GREATEST = float(np.finfo(np.float32).max)
ISAS = isas()
each_isa = pytest.mark.parametrize("isa", ISAS)
each_format = pytest.mark.parametrize("format", QUANTIZED, ids=[format.name for format in QUANTIZED])
each_float = pytest.mark.parametrize("format", ["F32", "F16", "BF16"])

Slot = Callable[[str, str, Bytes, int, _testing.Q8], Floats]


def one_by_one(slot: Slot) -> Slot:
    """Of one token at a time, as of many."""
    return lambda isa, format, rows, n_rows, x: np.stack(
        [slot(isa, format, rows, n_rows, token(x, t)).reshape(-1) for t in range(x.n_tokens)]
    )


# (isa, format, rows, n_rows, x) to [n_tokens, n_rows]. They unpack with the isa's own kernels.
SLOTS: dict[str, Slot] = {
    "gemm": _testing.gemm,
    "codes": one_by_one(_testing.dot_codes),
    "dot": _testing.dot,
    "dot one by one": one_by_one(_testing.dot),
}


def slots(isa: str, format: Format) -> dict[str, Slot]:
    """Those the table has."""
    return {name: s for name, s in SLOTS.items() if _testing.has_dot(isa, format.name) or not name.startswith("dot")}


def product(format: Format, rows: Bytes, n_rows: int, x: _testing.Q8) -> tuple[Doubles, Doubles, Doubles]:
    """Products [n_tokens, n_rows] in float64, the sums of their magnitudes, and how far subnormal scales may move them.

    A magnitude is infinite where a float32 may overflow: kernels multiply by the two scales in any order.
    """
    w, parts = weights(format, rows, n_rows)
    codes = _testing.unpack(rows, format.name, "scalar")[0].reshape(n_rows, -1).astype(np.float64) - format.bias
    q = np.abs(x.q.astype(np.float64))
    magnitude = np.abs(values(x)) @ parts.T
    magnitude[np.maximum(magnitude, q @ parts.T) > GREATEST / 2] = np.inf
    return values(x) @ w.T, magnitude, SUBNORMAL * (q @ (np.abs(codes).T + 1))


def assert_products(isa: str, format: Format, rows: Bytes, n_rows: int, x: _testing.Q8, bound: float = BOUND) -> None:
    expected, magnitude, floor = product(format, rows, n_rows, x)
    fits = np.isfinite(magnitude)
    allowed = (bound * magnitude + floor)[fits]
    for name, slot in slots(isa, format).items():
        error = np.abs(slot(isa, format.name, rows, n_rows, x) - expected)[fits]
        assert (error <= allowed).all(), f"{name} is off by {np.nanmax(error / np.maximum(allowed, 1e-300)):.3g} bounds"


def assert_same_weights(isa: str, format: Format, rows: Bytes) -> None:
    """unpack and to_float give the scalar twin's bits; NaNs may differ in theirs."""
    for ours, twin in zip(*(_testing.unpack(rows, format.name, i) for i in (isa, "scalar")), strict=True):
        np.testing.assert_array_equal(ours, twin)
    ours, twin = (_native.dequantize(rows, format.name, i) for i in (isa, "scalar"))
    np.testing.assert_array_equal(ours, twin)
    np.testing.assert_array_equal(np.signbit(ours[ours == 0]), np.signbit(twin[twin == 0]))


# ---- shapes ----


def lengths(format: Format) -> list[int]:
    return [256, 512, 768, 2304] if format.block_size == 256 else [32, 64, 96, 288, 544, 576, 2080]


@each_format
@each_isa
def test_odd_numbers_of_rows_and_tokens_of_every_length(isa: str, format: Format) -> None:
    """Whole panels, tiles and pairs of tiles, and what is left over."""
    sizes = [(1, 3), (2, 5), (3, 1), (5, 7), (7, 9), (31, 2), (33, 17), (49, 33)]
    for i, k in enumerate(lengths(format)):
        rows = random_rows(format, 49, k)
        for n_rows, n_tokens in sizes if i < 2 else sizes[i % 2 : 6 : 2]:
            x = _testing.quantize(isa, np.random.default_rng(k).standard_normal((n_tokens, k), np.float32))
            assert_products(isa, format, rows[: n_rows * rows.size // 49], n_rows, x)


# ---- values ----


def scales(format: Format) -> list[float]:
    """Of a block: 1, the greatest, the smallest normal and subnormal ones, zeros; and their negatives."""
    if format.name == "MXFP4":  # has powers of two only
        return [2.0**e for e in (-40, -2, 0, 1, 100, 120)]
    return [sign * scale for scale in (1.0, 65504.0, 2.0**-14, 2.0**-15, 2.0**-24, 0.0) for sign in (1, -1)]


@cache
def worst_rows(format: Format, k: int) -> tuple[Bytes, int]:
    """Rows of each of the worst blocks with each of the scales; for MXFP4 also every exponent's end."""
    rows = []
    for block in worst_blocks(format):
        for scale in scales(format):
            one = np.repeat(block[None], k // format.block_size, axis=0)
            rows.append(set_scales(one, format, np.full((len(one), 2), scale, np.float32)).reshape(-1))
        if format.name == "MXFP4":
            for exponent in (0, 1, 254, 255):
                rows.append(rows[-1].copy())
                rows[-1][:: format.block_bytes] = exponent
    return np.concatenate(rows), len(rows)


def greatest_activations(k: int) -> Floats:
    """[33, k] that quantize to 127 and -127: of one sign, alternating by 1, 2, 4, 16 and 32, random."""
    i = np.arange(k)
    signs = [np.ones(k), -np.ones(k), *(1 - 2.0 * (i // n % 2) for n in (1, 2, 4, 16, 32))]
    return np.float32([*signs, *np.random.default_rng(k).choice([-1, 1], (26, k))])


@each_format
@each_isa
def test_worst_blocks_and_activations_do_not_overflow(isa: str, format: Format) -> None:
    """No 16-bit sum saturates, whichever signs the activations have, and no scale is lost."""
    k = 768
    rows, n_rows = worst_rows(format, k)
    bound = U * (2 * k / format.group + 6)
    for size in (1.0, 1e25, 1e-30, 2.0**-119):
        x = _testing.quantize(isa, greatest_activations(k) * np.float32(size))
        assert_products(isa, format, rows, n_rows, x, bound)
    assert_same_weights(isa, format, rows)


@each_format
def test_worst_blocks_are_worse_than_chance(format: Format) -> None:
    """A guard for this file: the search finds the known extremes, and more than 10^4 random blocks show."""
    greatest, smallest, _ = _native.dequantize(worst_blocks(format), format.name).reshape(3, -1)
    extremes = {"Q3_K": (128, -124), "Q4_K": (945, -63), "Q6_K": (4096, -4064), "Q8_0": (127, -128)}
    if format.name in extremes:
        assert (greatest.max(), smallest.min()) == extremes[format.name]
    random = random_rows(format, 10**4, format.block_size).reshape(10**4, -1)
    set_scales(random, format, np.ones((10**4, 2), np.float32))
    sums = _native.dequantize(random, format.name).reshape(10**4, -1).sum(1)
    assert greatest.sum() >= sums.max() and smallest.sum() <= sums.min()


BAD = [np.inf, -np.inf, np.nan]


@each_format
@each_isa
def test_infinite_and_nan_scales_stay_in_their_row(isa: str, format: Format) -> None:
    """Wherever in the row the block lies, that row is not finite; other rows keep their bits."""
    if format.name == "MXFP4":
        pytest.skip("its scales are finite")
    k, n_rows = 768, 7
    x = _testing.quantize(isa, np.random.default_rng(1).standard_normal((5, k), np.float32))
    sound = random_rows(format, n_rows, k).reshape(n_rows, -1, format.block_bytes)
    expected = {name: slot(isa, format.name, sound.reshape(-1), n_rows, x) for name, slot in slots(isa, format).items()}
    for i, at in enumerate((0, 1, sound.shape[1] // 2, sound.shape[1] - 1)):
        rows, bad = sound.copy(), (2 * i + 1) % n_rows
        set_scales(rows[bad, at : at + 1], format, np.full((1, 2), BAD[i % 3], np.float32))
        for name, slot in slots(isa, format).items():
            found = slot(isa, format.name, rows.reshape(-1), n_rows, x)
            assert not np.isfinite(found[:, bad]).any(), name
            assert np.array_equal(np.delete(found, bad, axis=1), np.delete(expected[name], bad, axis=1)), name
        assert_same_weights(isa, format, rows.reshape(-1))


# ---- memory ----


@pytest.fixture(scope="module")
def fenced() -> Fenced:
    return Fenced()


@each_format
@each_isa
def test_nothing_beside_the_weights_is_read(isa: str, format: Format, fenced: Fenced) -> None:
    """The rows follow a fence, end at one, or lie at odd addresses."""
    for n_rows, k in ((1, format.block_size), (2, 256), (5, 3 * format.block_size), (33, 256)):
        rows = random_rows(format, n_rows, k)
        x = _testing.quantize(isa, np.random.default_rng(k).standard_normal((2, k), np.float32))
        expected = {name: slot(isa, format.name, rows, n_rows, x) for name, slot in slots(isa, format).items()}
        for place in (fenced.first, fenced.last, fenced.odd(1), fenced.odd(2), fenced.odd(3)):
            placed = place(rows)
            for name, slot in slots(isa, format).items():
                assert np.array_equal(slot(isa, format.name, placed, n_rows, x), expected[name]), name
            assert_same_weights(isa, format, placed)


@each_format
@each_isa
def test_nothing_beside_the_activations_is_read(isa: str, format: Format, fenced: Fenced) -> None:
    k = 3 * format.block_size
    rows = random_rows(format, 5, k)
    for n_tokens in (1, 3, _testing.lanes(isa) + 1):
        x = _testing.quantize(isa, np.random.default_rng(k).standard_normal((n_tokens, k), np.float32))
        for name, slot in slots(isa, format).items():
            expected = slot(isa, format.name, rows, 5, x)
            for part in ("q", "scale", "sum"):
                for copy in (fenced.first, fenced.last):
                    parts = {"q": x.q, "scale": x.scale, "sum": x.sum, part: copy(getattr(x, part))}
                    assert np.array_equal(slot(isa, format.name, rows, 5, _testing.Q8(**parts)), expected), (name, part)


@each_isa
def test_quantize_reads_nothing_beside_its_row(isa: str, fenced: Fenced) -> None:
    for k in (32, 64, 96, 128, 160, 288):
        x = np.random.default_rng(k).standard_normal((1, k), np.float32)
        expected = _testing.quantize("scalar", x)
        for copy in (fenced.first, fenced.last):
            found = _testing.quantize(isa, copy(x))
            for part in ("q", "scale", "sum"):
                assert np.array_equal(getattr(found, part), getattr(expected, part))


# ---- plain floats ----


def bits(format: str, numbers: Floats) -> Bytes:
    """Numbers as the format stores them; BF16 by truncation."""
    if format == "F32":
        return numbers.reshape(-1).view(np.uint8)
    if format == "F16":
        return numbers.astype(np.float16).reshape(-1).view(np.uint8)
    return (np.ascontiguousarray(numbers).view(np.uint32) >> 16).astype(np.uint16).reshape(-1).view(np.uint8)


def awkward_floats(format: str, n_rows: int, k: int) -> Floats:
    """Rows of all magnitudes the format has, subnormal ones too."""
    rng = np.random.default_rng(k)
    low, high = (-26, 15) if format == "F16" else (-140, 90)
    exponents = rng.integers(low, high, (n_rows, 1)) + rng.integers(-3, 1, (n_rows, k))
    return np.ldexp(rng.standard_normal((n_rows, k)), exponents).astype(np.float32)


@each_float
@each_isa
def test_float_rows_of_every_magnitude(isa: str, format: str, fenced: Fenced) -> None:
    for n_rows, k in ((1, 1), (2, 31), (7, 33), (31, 288), (33, 577)):
        rows = bits(format, awkward_floats(format, n_rows, k))
        w = _native.dequantize(rows, format, "scalar").reshape(n_rows, k).astype(np.float64)
        x = np.random.default_rng(1).standard_normal((3, k), np.float32)
        bound = U * (4 + 2 * k**0.5) * (np.abs(x) @ np.abs(w.T)) + k * 2.0**-149
        for copy in (fenced.first, fenced.last):
            out = np.empty((3, n_rows), np.float32)
            _testing.dot_float(isa, format, copy(rows), x, out)
            assert (np.abs(out - x.astype(np.float64) @ w.T) <= bound).all()
            _testing.dot_float(isa, format, rows, copy(x), out)
            assert (np.abs(out - x.astype(np.float64) @ w.T) <= bound).all()
            np.testing.assert_array_equal(_native.dequantize(copy(rows), format, isa), w.reshape(-1))


@each_float
@each_isa
def test_infinite_and_nan_floats_stay_in_their_row(isa: str, format: str) -> None:
    k, n_rows = 67, 9
    numbers = np.random.default_rng(2).standard_normal((n_rows, k), np.float32)
    x, expected, found = np.float32([1 + np.arange(k)]), *np.empty((2, 1, n_rows), np.float32)
    _testing.dot_float(isa, format, bits(format, numbers), x, expected)
    for bad, at, value in ((0, 0, np.inf), (3, 40, np.nan), (8, 66, -np.inf)):
        rows = numbers.copy()
        rows[bad, at] = value
        _testing.dot_float(isa, format, bits(format, rows), x, found)
        assert not np.isfinite(found[0, bad])
        assert np.array_equal(np.delete(found, bad), np.delete(expected, bad))


@each_isa
def test_float_panels_read_nothing_beside_them(isa: str, fenced: Fenced) -> None:
    rng = np.random.default_rng(3)
    for n_rows, k, n_tokens in ((1, 1, 1), (3, 7, 2), (8, 96, 17), (7, 33, 9)):
        a, x = rng.standard_normal((n_rows, k), np.float32), rng.standard_normal((n_tokens, k), np.float32)
        bound = U * (4 + 2 * k**0.5) * (np.abs(x.astype(np.float64)) @ np.abs(a.T))
        for copy in (fenced.first, fenced.last):
            out = np.empty((n_tokens, n_rows), np.float32)
            _testing.gemm_float(isa, copy(a), x, out)
            assert (np.abs(out - x.astype(np.float64) @ a.T) <= bound).all()
            _testing.gemm_float(isa, a, copy(x), out)
            assert (np.abs(out - x.astype(np.float64) @ a.T) <= bound).all()
