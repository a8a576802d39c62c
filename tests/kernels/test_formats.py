"""Block formats: every kernel that reads them, against gguf-py's dequantizers bit for bit."""

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, Format, _native, _testing, dequantize, isas

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

ISAS = isas()
QUANTIZED = [format for format in FORMATS.values() if format.group]
every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS.keys())
every_quantized_format = pytest.mark.parametrize("format", QUANTIZED, ids=[format.name for format in QUANTIZED])
every_isa = pytest.mark.parametrize("isa", ISAS)


def reference(blocks: Bytes, format: Format) -> Floats:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[format.name]).reshape(-1)


def random_blocks(format: Format, n: int) -> Bytes:
    """[n / 32, 32 blocks]: rows of a few blocks are what gguf-py dequantizes fastest."""
    rng = np.random.default_rng(format.id)
    return rng.integers(0, 256, (n // 32, 32 * format.block_bytes), dtype=np.uint8)


def assert_same_bits(found: Floats, expected: Floats, isa: str = "") -> None:
    assert found.shape == expected.shape
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)  # NaNs may differ in their payload
    wrong = np.flatnonzero((found.view(np.uint32) != expected.view(np.uint32)) & ~nan)
    assert wrong.size == 0, (
        f"{isa} weight {wrong[0]} is {found[wrong[0]]!r}, not {expected[wrong[0]]!r}; {wrong.size} differ"
    )


def from_codes(format: Format, code: Bytes, scale: Floats, minimum: Floats | None) -> Floats:
    """(code - bias) * scale - min in float32, as formats.def promises."""
    with np.errstate(all="ignore"):
        weight = (code.astype(np.int16) - format.bias).astype(np.float32).reshape(-1, format.group) * scale[:, None]
        return (weight if minimum is None else weight - minimum[:, None]).reshape(-1)


def assert_reads(format: Format, blocks: Bytes) -> None:
    """`dequantize` and `unpack` of every instruction set, in portions that fit the processor's cache."""
    for part in np.array_split(blocks, -(-blocks.size // 2**18)):
        expected = reference(part, format)
        for isa in ISAS:
            assert_same_bits(_native.dequantize(part, format.name, isa), expected, isa)
            if format.group:
                code, scale, minimum = _testing.unpack(part, format.name, isa)
                assert code.max() <= format.max_code
                assert (minimum is not None) == (format.bias == 0)
                assert_same_bits(from_codes(format, code, scale, minimum), expected, isa)


@pytest.mark.parametrize("n", [10**3, pytest.param(10**5, marks=pytest.mark.slow)])
@every_format
def test_random_blocks_read_as_in_gguf(format: Format, n: int) -> None:
    assert_reads(format, random_blocks(format, n))


@pytest.mark.thorough
@every_format
def test_every_half_scale_and_extreme_block_reads_as_in_gguf(format: Format) -> None:
    """Blocks of one repeated 16-bit pattern: the half precision numbers as scales; all bits 0 and all bits 1."""
    patterns = np.arange(0, 2**16, 1 if format.block_size < 256 else 7)
    patterns = np.append(patterns, [0xFFFF, 0x7C00, 0xFC00, 0x8000, 0x0001]).astype("<u2")
    blocks = np.repeat(patterns[:, None], (format.block_bytes + 1) // 2, axis=1).view(np.uint8)
    assert_reads(format, np.ascontiguousarray(blocks[:, : format.block_bytes]))


def test_mxfp4_scales_cover_every_exponent() -> None:
    blocks = np.full((256, FORMATS["MXFP4"].block_bytes), 0x7A, np.uint8)  # the values 12 and -2
    blocks[:, 0] = np.arange(256)
    found = dequantize(blocks, "MXFP4")
    assert_same_bits(found, reference(blocks, FORMATS["MXFP4"]))
    assert found.reshape(256, 32)[128, 16] == 12 and found.reshape(256, 32)[0, 0] == np.float32(-2 * 2.0**-128)


@every_quantized_format
def test_max_code_is_reached(format: Format) -> None:
    assert _testing.unpack(random_blocks(format, 32_000), format.name, "scalar")[0].max() == format.max_code


@contextmanager
def guarded(data: bytes) -> Iterator[memoryview]:
    """`data` in memory whose next byte can't be read; its first byte lies at whatever alignment that gives."""
    page = mmap.PAGESIZE
    size = -(-len(data) // page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + size), ctypes.c_size_t(page), 0) == 0, os.strerror(
        ctypes.get_errno()
    )
    view = memoryview(memory)[size - len(data) : size]
    view[:] = data
    yield view


@every_isa
@every_format
def test_nothing_is_read_past_the_last_block_at_any_alignment(format: Format, isa: str) -> None:
    for n_blocks in [1, 2, 3, 5, 8, 17]:
        blocks = random_blocks(format, 32)[0, : n_blocks * format.block_bytes]
        expected = reference(blocks, format)
        for shift in range(4):
            shifted = np.concatenate([np.zeros(shift, np.uint8), blocks])[shift:]
            assert_same_bits(_native.dequantize(shifted, format.name, isa), expected)
        with guarded(blocks.tobytes()) as view:
            assert_same_bits(_native.dequantize(view, format.name, isa), expected)
            if format.group:
                assert_same_bits(from_codes(format, *_testing.unpack(view, format.name, isa)), expected)


def test_format_table_is_that_of_gguf() -> None:
    for name, format in FORMATS.items():
        kind = gguf.GGMLQuantizationType[name]
        assert (format.name, format.id) == (name, kind)
        assert (format.block_size, format.block_bytes) == gguf.GGML_QUANT_SIZES[kind]
        assert format.group in (0, 16, 32) and format.block_size % (format.group or 1) == 0
    assert FORMATS["Q4_K"].bits_per_weight == 4.5
    with pytest.raises(FrozenInstanceError):
        FORMATS["Q4_K"].bias = 1  # type: ignore[misc]


def test_code_books_are_those_of_gguf() -> None:
    books = _testing.codebooks()
    grids = {
        "iq1": "IQ1_S",
        "iq2xxs": "IQ2_XXS",
        "iq2xs": "IQ2_XS",
        "iq2s": "IQ2_S",
        "iq3xxs": "IQ3_XXS",
        "iq3s": "IQ3_S",
    }
    for book, name in grids.items():
        quant = getattr(gguf.quants, name)
        quant.init_grid()
        entries = books[f"{book}_grid"].view(np.int8).reshape(quant.grid_shape)
        np.testing.assert_array_equal(entries / 8 - 1 if book == "iq1" else entries, quant.grid[0, 0])
    np.testing.assert_array_equal(books["iq4_values"], gguf.quants.IQ4_NL.kvalues)
    np.testing.assert_array_equal(books["mxfp4_values"], gguf.quants.MXFP4.kvalues)
    assert books.keys() == {f"{book}_grid" for book in grids} | {"iq4_values", "mxfp4_values"}


def test_any_contiguous_buffer_will_do() -> None:
    blocks = random_blocks(FORMATS["Q8_0"], 32)
    expected = dequantize(blocks, "Q8_0")
    data = blocks.tobytes()
    assert_same_bits(dequantize(data, "Q8_0"), expected)
    assert_same_bits(dequantize(memoryview(bytearray(data)), "Q8_0"), expected)
    assert_same_bits(dequantize(blocks.view(np.int16), "Q8_0"), expected)
    assert dequantize(b"", "Q4_K").shape == (0,)
    with pytest.raises(ValueError, match="contiguous"):
        dequantize(np.zeros((34, 2), np.uint8)[:, 0], "Q8_0")


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown block format 'Q4_L'; known are F32, F16, .*Q4_K"):
        dequantize(b"", "Q4_L")
    with pytest.raises(ValueError, match="33 bytes are not whole Q8_0 blocks of 34 bytes"):
        dequantize(bytes(33), "Q8_0")
    with pytest.raises(ValueError, match="'mmx' is unknown or not on this machine; it runs scalar"):
        _native.dequantize(b"", "F32", "mmx")
    with pytest.raises(ValueError, match="F16 holds plain numbers"):
        _testing.unpack(b"", "F16")


@pytest.mark.thorough
def test_subbyte_isa_is_obeyed_or_refused() -> None:
    code = "from subbyte.kernels import dequantize; print(dequantize(bytes(4), 'F32'))"

    def run(isa: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SUBBYTE_ISA": isa}
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd="/")

    for isa in ["", *ISAS]:
        assert run(isa).stdout == "[0.]\n"
    assert "instruction set 'mmx' (from SUBBYTE_ISA) is unknown or not on this machine" in run("mmx").stderr
