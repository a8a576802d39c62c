"""What the scalar kernels of this machine make of many inputs: vectors that kernels/arm/replay.c replays on another.

Exact results are theirs; sums come in double precision, with the bounds that the tests of this machine have.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence

import numpy as np
from blocks import HALVES, Bytes, random_rows, set_scales, values, weights
from float_oracle import SUBNORMAL, U, attention, cache, clamped_silu, gates, normal, stored, sum_bound, visible
from int8_activations import BOUND, awkward_activations, random_x
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, Format, _native, _testing

Array = NDArray[np.generic]


def vector(slot: str, sizes: list[int], arrays: Sequence[Array], format: str = "", number: float = 0) -> bytes:
    """One test vector as tests/kernels/arm/vectors.h reads it."""
    contents = [np.ascontiguousarray(a).tobytes() for a in arrays]
    lengths = [len(c) for c in contents]
    head = struct.pack("<16s16s7qd8q", slot.encode(), format.encode(), *sizes, *[0] * (7 - len(sizes)), number,
                       *lengths, *[0] * (8 - len(lengths)))  # fmt: skip
    return head + b"".join(c + bytes(-len(c) % 8) for c in contents)


# ---- exact ----


def raw_rows(format: Format) -> Iterator[Bytes]:
    """Rows of random bytes; of blocks that repeat 16 bits, for all kinds of scales; of blocks whose bytes are equal."""
    rng = np.random.default_rng(format.id)
    for n_blocks in (1, 2, 3, 5, 9, 400):
        yield rng.integers(0, 256, n_blocks * format.block_bytes, dtype=np.uint8)
    patterns = np.arange(0, 2**16, 67, dtype="<u2")
    repeated = np.repeat(patterns[:, None], (format.block_bytes + 1) // 2, axis=1).view(np.uint8)
    yield np.ascontiguousarray(repeated[:, : format.block_bytes]).reshape(-1)
    for pattern in (0x00, 0xFF, 0x7F, 0x80, 0x0F, 0xF0, 0x7C, 0x01):
        yield np.full(3 * format.block_bytes, pattern, np.uint8)


def exact() -> Iterator[bytes]:
    for name, format in FORMATS.items():
        for row in raw_rows(format):
            k = row.size // format.block_bytes * format.block_size
            yield vector("to_float", [k], [row, _native.dequantize(row, name, "scalar")], name)
            if format.group:
                code, scale, minimum = _testing.unpack(row, name, "scalar")
                parts: list[Array] = [row, code, scale]
                parts += [] if minimum is None else [minimum]
                yield vector("unpack", [k], parts, name)
    for row in [*awkward_activations(), *(random_x(1, k)[0] for k in (32, 96, 128, 160, 576, 2048))]:
        x = _testing.quantize("scalar", row[None])
        yield vector("quantize", [row.size], [row, x.q, x.scale, x.sum])
    floats = np.random.default_rng(1).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    floats = np.concatenate([floats, np.arange(0, 65536, dtype=np.uint16).view(np.float16).astype(np.float32)])
    for n in (1, 3, 7, 8, 9, 17, 31, floats.size):
        halves, back = np.empty(n, np.uint16), np.empty(n, np.float32)
        _testing.float_to_f16("scalar", floats[-n:], halves)
        _testing.f16_to_float("scalar", halves, back)
        yield vector("float_to_f16", [n], [floats[-n:], halves])
        yield vector("f16_to_float", [n], [halves, back])
        x, y = floats[-n:].copy(), np.roll(floats[-n:], 3)
        _testing.add("scalar", x, y)
        scaled = x.copy()
        _testing.scale("scalar", scaled, 1.7)
        yield vector("add_scale", [n], [floats[-n:], y, x, scaled], number=1.7)


# ---- sums ----


def product(format: Format, rows: Bytes, n_rows: int, x: _testing.Q8) -> bytes:
    w, magnitude = weights(format, rows, n_rows)
    with np.errstate(invalid="ignore"):
        expected, bound = values(x) @ w.T, BOUND * (np.abs(values(x)) @ magnitude.T)
    return vector("product", [n_rows, x.k, x.n_tokens], [rows, x.q, x.scale, x.sum, expected, bound], format.name)


def products() -> Iterator[bytes]:
    signs = np.where(np.random.default_rng(0).random((9, 512)) < 0.5, -1, 1).astype(np.float32)
    signs[0], signs[1] = 1, -1
    with_nan = random_x(3, 512)
    with_nan[1, 5] = np.nan
    for format in FORMATS.values():
        if not format.group:
            continue
        for blocks in (1, 3) if format.block_size == 256 else (1, 2, 5, 9):
            k = blocks * format.block_size
            for n_rows, n_tokens in ((1, 1), (5, 3), (7, 8), (49, 11), (4, 33)):
                x = _testing.quantize("scalar", random_x(n_tokens, k))
                yield product(format, random_rows(format, n_rows, k), n_rows, x)
        n_blocks = 5 * 512 // format.block_size
        for pattern in (0x00, 0xFF, 0x0F, 0xF0, 0x7F, 0x80, 0xAA):
            same = np.full((n_blocks, format.block_bytes), pattern, np.uint8)
            same_rows = set_scales(same, format, np.ones((n_blocks, 2), np.float32)).reshape(-1)
            yield product(format, same_rows, 5, _testing.quantize("scalar", signs))
        for scale in (0, 6e-8, -1, 65504, np.nan):
            rows = random_rows(format, 5, 512).reshape(n_blocks, -1)
            if format.name in HALVES:
                set_scales(rows[:1], format, np.full((1, 2), scale, np.float32))
            yield product(format, rows.reshape(-1), 5, _testing.quantize("scalar", with_nan))


def float_products(rng: np.random.Generator) -> Iterator[bytes]:
    for k in (1, 7, 8, 9, 16, 31, 64, 67, 576):
        for n_rows, n_tokens in ((1, 1), (3, 2), (4, 8), (13, 9)):
            x = normal(rng, n_tokens, k)
            for format in ("F32", "F16", "BF16"):
                data, w = stored(normal(rng, n_rows, k), format)
                bound = sum_bound(k) * (np.abs(x) @ np.abs(w.T)) + 1e-30
                yield vector("dot_float", [n_rows, k, n_tokens], [data, x, x.astype(np.float64) @ w.T, bound], format)
            a = normal(rng, n_rows, k)
            expected, bound = x.astype(np.float64) @ a.T, sum_bound(k) * (np.abs(x) @ np.abs(a.T)).astype(np.float64)
            yield vector("gemm_float", [n_rows, k, n_tokens], [a, x, expected, bound])


def layer(rng: np.random.Generator) -> Iterator[bytes]:
    for n in (1, 2, 3, 5, 8, 9, 31, 64, 67, 576):
        x, y = normal(rng, n), normal(rng, n)
        x64 = x.astype(np.float64)
        norm = x64 / np.sqrt(np.mean(x64**2) + np.float32(1e-5)) * y
        yield vector("rms_norm", [n], [x, y, norm, 4 * U * np.abs(norm)], number=float(np.float32(1e-5)))
        greatest, total = float(x.max()), np.exp(x64 - x.max()).sum()
        yield vector("max_sum_exp", [n], [x, np.array([greatest, total]), np.array([0, 64 * U * total])])
        c, s, head = np.cos(x), np.sin(x), normal(rng, 2, n)
        (a, b), bound = head.astype(np.float64), np.tile(3 * U * np.abs(head).sum(axis=0, dtype=np.float64), 2)
        turned = np.stack([a * c - b * s, a * s + b * c])
        yield vector("rope", [n, 0], [head, c, s, turned, bound])
        yield vector("rope", [n, 1], [head.T, c, s, turned.T, bound.reshape(2, n).T])
    for gate in (gates()[::5], *(normal(rng, n) for n in (1, 3, 7, 9, 17))):
        up, x = normal(rng, gate.size), gate.astype(np.float64)
        with np.errstate(over="ignore"):
            silu = x / (1 + np.exp(-x)) * up
            u = 2 * 0.7978845608 * (x + 0.044715 * x**3)
            gelu = x / (1 + np.exp(-u)) * up
        silu_bound = 8 * U * np.abs(silu) + 128 * SUBNORMAL * np.abs(up)
        gelu_bound = (8 + 8 * np.clip(-u, 0, 104)) * U * np.abs(gelu) + 2 * SUBNORMAL * np.abs(up) * np.abs(x)
        clamped, clamped_bound = clamped_silu(gate, up)
        results = [silu, silu_bound, gelu, gelu_bound, clamped, clamped_bound]
        yield vector("gates", [gate.size], [gate, up, *results])
        yield vector(
            "relu", [gate.size], [gate, up, (np.maximum(gate, 0) * up).astype(np.float64), np.zeros(gate.size)]
        )


def attentions(rng: np.random.Generator) -> Iterator[bytes]:
    spans = [(1, 0, 0, 0), (3, 70, 0, 0), (3, 70, 0, 64), (8, 3, 5, 0), (13, 130, 64, 0), (13, 130, 64, 135)]
    shapes = [(1, 16), (3, 64), (4, 80), (7, 17), (1, 256)]
    for (n_head, head_dim), (n_tokens, pos0, window, cut) in itertools.product(shapes, spans):
        for format, softcap in (("F32", 0), ("F16", 0), ("Q8_0", 0), ("F16", 2)):
            c = cache(rng, pos0 + n_tokens, head_dim, format)
            q = normal(rng, n_tokens, n_head, head_dim)
            scale = float(np.float32(head_dim**-0.5))
            results = [attention(q[t], c.k, c.v, visible(pos0 + t, window), scale, softcap) for t in range(n_tokens)]
            expected, bound = np.stack([r[0] for r in results]), np.stack([r[1] for r in results])
            sizes = [n_tokens, n_head, head_dim, pos0, window, cut, softcap]
            arrays: list[Array] = [q, c.k_rows, c.v_rows, expected, 2 * bound if cut else bound]
            yield vector("attention", sizes, arrays, format, scale)


def every_vector() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for group in (exact(), products(), float_products(rng), layer(rng), attentions(rng)):
        yield from group
