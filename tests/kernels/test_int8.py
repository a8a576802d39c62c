"""The int8 kernels of every instruction set: quantize and the order of products bit for bit, products against float64
with a stated bound.

The expected product uses the weights as unpacked, (code - bias) * scale - min, and the activations as quantized,
q * scale; unpack itself is checked against gguf-py in test_formats.py. Integer sums within a group are exact, so what
may differ is the rounding of float sums: `BOUND`, relative to the sum of (|code - bias| * |scale| + |min|) * |x|.
"""

import numpy as np
import pytest
from blocks import HALVES, QUANTIZED, Bytes, Doubles, Floats, random_rows, set_scales, token, values, weights
from int8_activations import BOUND, awkward_activations, random_x

from subbyte.kernels import FORMATS, Format, _testing, isas

ISAS = isas()
each_isa = pytest.mark.parametrize("isa", ISAS)
each_format = pytest.mark.parametrize("format", QUANTIZED, ids=[format.name for format in QUANTIZED])


def assert_close(found: Floats, expected: Doubles, magnitude: Doubles) -> None:
    error = np.abs(found - expected)
    assert (error <= BOUND * magnitude).all(), f"off by {np.nanmax(error / np.maximum(magnitude, 1e-300)):.2g}"


def assert_products(isa: str, format: Format, rows: Bytes, n_rows: int, x: _testing.Q8) -> None:
    """gemm and dot of all tokens, dot_codes of the first."""
    w, w_magnitude = weights(format, rows, n_rows)
    expected, magnitude = values(x) @ w.T, np.abs(values(x)) @ w_magnitude.T
    assert_close(_testing.gemm(isa, format.name, rows, n_rows, x), expected, magnitude)
    first = token(x, 0)
    assert_close(_testing.dot_codes(isa, format.name, rows, n_rows, first), expected[0], magnitude[0])
    if _testing.has_dot(isa, format.name):
        assert_close(_testing.dot(isa, format.name, rows, n_rows, x), expected, magnitude)


# ---- quantize ----


def test_quantize_gives_the_same_bits_everywhere() -> None:
    x = awkward_activations()
    expected = _testing.quantize("scalar", x)
    for isa in ISAS:
        found = _testing.quantize(isa, x)
        np.testing.assert_array_equal(found.q, expected.q)
        np.testing.assert_array_equal(found.scale, expected.scale)
        np.testing.assert_array_equal(found.sum, expected.sum)


@each_isa
def test_quantize_rounds_to_the_nearest_127th(isa: str) -> None:
    x = awkward_activations()[:, 32:]
    x = x[np.isfinite(x).all(axis=1) & (np.abs(x).max(axis=1) >= 2.0**-120)]
    found = _testing.quantize(isa, np.ascontiguousarray(x))
    assert np.abs(found.q.astype(int)).max(axis=1).tolist() == [127] * len(x)
    assert (np.abs(values(found) - x) <= found.scale * (0.5 + 1e-4)).all()
    np.testing.assert_array_equal(found.sum, found.q.reshape(len(x), 2, 16).sum(axis=2))
    np.testing.assert_allclose(found.scale[:, 0], np.abs(x).max(axis=1) / 127, rtol=1e-7)


@each_isa
def test_ties_round_to_even(isa: str) -> None:
    found = _testing.quantize(isa, awkward_activations()[10:11])
    assert found.q[0, 32:36].tolist() == [0, 2, 2, 4]


@each_isa
def test_a_group_with_nan_or_infinity_has_a_nan_scale_and_tiny_ones_are_zero(isa: str) -> None:
    found = _testing.quantize(isa, awkward_activations())
    assert np.isnan(found.scale[7:10, 1]).all() and not np.isnan(found.scale[7:10, 0]).any()
    assert (found.q[7:10, 32:] == 0).all() and (found.sum[7:10, 2:] == 0).all()
    assert (found.scale[[1, 2, 3, 5], 1] == 0).all() and found.scale[4, 1] > 0


# ---- products ----


@each_format
@each_isa
def test_products_are_within_the_bound(isa: str, format: Format) -> None:
    for blocks in (1, 2, 3) if format.block_size == 256 else (1, 2, 7, 8, 9, 18):
        k = blocks * format.block_size
        for n_rows in (1, 3, 7, 33):
            q = _testing.quantize(isa, random_x(17, k))
            assert_products(isa, format, random_rows(format, n_rows, k), n_rows, q)


@each_format
@each_isa
def test_long_rows(isa: str, format: Format) -> None:
    assert_products(isa, format, random_rows(format, 2, 28672), 2, _testing.quantize(isa, random_x(2, 28672)))


@pytest.mark.parametrize("pattern", [0x00, 0xFF, 0x0F, 0xF0, 0x7F, 0x80, 0xAA])
@each_format
@each_isa
def test_extreme_codes_do_not_overflow(isa: str, format: Format, pattern: int) -> None:
    k, n_rows = 512, 5
    blocks = np.full((n_rows * k // format.block_size, format.block_bytes), pattern, np.uint8)
    rows = set_scales(blocks, format, np.ones((len(blocks), 2), np.float32)).reshape(-1)
    signs = np.ones((9, k), np.float32)
    signs[1] = -1
    signs[2, ::2] = -1
    signs[3:] = np.where(np.random.default_rng(0).random((6, k)) < 0.5, -1, 1)
    for t in range(4):  # each of them first once, for dot
        assert_products(isa, format, rows, n_rows, _testing.quantize(isa, np.roll(signs, t, axis=0)))


@each_format
@each_isa
def test_products_have_one_order(isa: str, format: Format) -> None:
    """The same bits for any number of tokens, by any way, on every instruction set: kernels/cpu/order.h."""
    for k in (256, 768, 2304, 4352) if format.block_size == 256 else (32, 96, 256, 320, 576, 2080, 4384):
        rows, x = random_rows(format, 37, k), _testing.quantize("scalar", random_x(11, k))
        expected = _testing.gemm("scalar", format.name, rows, 37, x)
        np.testing.assert_array_equal(_testing.gemm(isa, format.name, rows, 37, x), expected)
        for t in (0, 10):
            np.testing.assert_array_equal(_testing.dot_codes(isa, format.name, rows, 37, token(x, t)), expected[t])
        if _testing.has_dot(isa, format.name):
            np.testing.assert_array_equal(_testing.dot(isa, format.name, rows, 37, x), expected)
            one_by_one = [_testing.dot(isa, format.name, rows, 37, token(x, t))[0] for t in range(11)]
            np.testing.assert_array_equal(one_by_one, expected)


@each_format
@each_isa
def test_part_of_a_tile_gives_the_bits_of_all(isa: str, format: Format) -> None:
    k = 2304 if format.block_size == 256 else 576
    for n_rows in (1, 2, 7, 9, 49):
        rows, x = random_rows(format, n_rows, k), random_x(25, k)
        expected = _testing.gemm("scalar", format.name, rows, n_rows, _testing.quantize("scalar", x))
        for n in (1, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25):
            some = _testing.quantize("scalar", x[:n])
            np.testing.assert_array_equal(_testing.gemm(isa, format.name, rows, n_rows, some), expected[:n])


@each_format
@pytest.mark.parametrize("isa", ISAS[1:])
def test_every_format_has_a_fused_dot(isa: str, format: Format) -> None:
    """So that the tests here reach all of them: where one is missing, they take dot_codes."""
    assert _testing.has_dot(isa, format.name)


@each_format
@each_isa
def test_zero_scales_and_zero_activations_give_zero(isa: str, format: Format) -> None:
    if format.name in ("MXFP4", "IQ1_M"):
        pytest.skip("has no zero scale, or not by itself")
    rows = random_rows(format, 3, 256).reshape(-1, format.block_bytes)
    zero = set_scales(rows.copy(), format, np.zeros((len(rows), 2), np.float32)).reshape(-1)
    for blocks, x in ((zero, random_x(3, 256)), (rows.reshape(-1), np.zeros((3, 256), np.float32))):
        q = _testing.quantize(isa, x)
        assert not _testing.gemm(isa, format.name, blocks, 3, q).any()
        assert not _testing.dot_codes(isa, format.name, blocks, 3, token(q, 0)).any()
        if _testing.has_dot(isa, format.name):
            assert not _testing.dot(isa, format.name, blocks, 3, q).any()


@each_format
@each_isa
def test_nan_reaches_the_rows_and_tokens_it_belongs_to(isa: str, format: Format) -> None:
    k, n_rows = 512, 9
    x = random_x(3, k)
    x[1, 5] = np.nan
    q = _testing.quantize(isa, x)
    rows = random_rows(format, n_rows, k).reshape(n_rows, -1)
    nan_row = np.zeros(n_rows, bool)
    if format.name in HALVES:
        set_scales(rows[4:5, -format.block_bytes :], format, np.full((1, 2), np.nan, np.float32))
        nan_row[4] = True
    matrix = format.name, rows.reshape(-1), n_rows
    found = _testing.gemm(isa, *matrix, q)
    assert np.isnan(found[1]).all()
    for t in (0, 2):
        np.testing.assert_array_equal(np.isnan(found[t]), nan_row)
        np.testing.assert_array_equal(np.isnan(_testing.dot_codes(isa, *matrix, token(q, t))), nan_row)
        if _testing.has_dot(isa, format.name):
            np.testing.assert_array_equal(np.isnan(_testing.dot(isa, *matrix, q)[t]), nan_row)


@each_format
@each_isa
def test_a_product_depends_on_its_row_and_token_alone(isa: str, format: Format) -> None:
    """So results do not depend on how rows are shared out to threads, nor on what else is in the batch."""
    k, n_rows, n_tokens = 768, 37, 17
    rows = random_rows(format, n_rows, k)
    one_row = rows.reshape(n_rows, -1)
    x = _testing.quantize(isa, random_x(n_tokens, k))
    together = _testing.gemm(isa, format.name, rows, n_rows, x)
    for t in (0, 7, 8, 16):
        np.testing.assert_array_equal(_testing.gemm(isa, format.name, rows, n_rows, token(x, t))[0], together[t])
    for r in (0, 1, 8, 35, 36):
        np.testing.assert_array_equal(_testing.gemm(isa, format.name, one_row[r], 1, x)[:, 0], together[:, r])
    if _testing.has_dot(isa, format.name):
        dots = _testing.dot(isa, format.name, rows, n_rows, x)
        for t in (0, 3, 15, 16):
            np.testing.assert_array_equal(_testing.dot(isa, format.name, rows, n_rows, token(x, t))[0], dots[t])
        for r in (0, 1, 36):
            np.testing.assert_array_equal(_testing.dot(isa, format.name, one_row[r], 1, x)[:, 0], dots[:, r])


FOLDABLE = ["Q2_K", "Q3_K", "TQ1_0", "TQ2_0"]


def test_only_formats_with_small_integer_scales_fold() -> None:
    foldable = [f.name for f in QUANTIZED if _testing.fold("scalar", f.name, random_rows(f, 1, 256)) is not None]
    assert foldable == FOLDABLE


@pytest.mark.parametrize("name", FOLDABLE)
@each_isa
def test_folded_codes_are_the_same_weights(isa: str, name: str) -> None:
    format, k = FORMATS[name], 256 * 60
    row = random_rows(format, 1, k)
    for d in (0, 1, -1, 3e-6, 65504):
        blocks = set_scales(row.reshape(-1, format.block_bytes)[::7].copy(), format, np.full((9, 2), d, np.float32))
        row.reshape(-1, format.block_bytes)[::7] = blocks
        folded, scalar = _testing.fold(isa, name, row), _testing.fold("scalar", name, row)
        assert scalar is not None
        if folded is None:
            pytest.skip("products of folded codes would overflow here")
        code, scale, _ = _testing.unpack(row, name, "scalar")
        expected = (code.astype(np.float64) - format.bias) * np.repeat(scale.astype(np.float64), format.group)
        weights = (folded[0].astype(np.float64) - folded[1]) * np.repeat(folded[2].astype(np.float64), 256)
        np.testing.assert_array_equal(weights, expected)
        for ours, twin in zip(folded, scalar, strict=True):
            np.testing.assert_array_equal(ours, twin)


@each_isa
def test_every_number_of_tokens(isa: str) -> None:
    format = FORMATS["Q4_1"]
    rows = random_rows(format, 13, 96)
    for n in range(1, 34):
        assert_products(isa, format, rows, 13, _testing.quantize(isa, random_x(n, 96)))
