"""Speed of the int8 kernels on one core, each beside what the machine can do at that moment.

gemm: a prompt of 512 tokens, packing and unpacking included, in GMAC/s, beside the peak of the instruction set's
int8 multiply-adds. dot: one token, in GB/s of block bytes, with weights from memory beside a plain read of memory,
and in cache.

Machines are noisy: kernels and calibration loops take turns in short runs, and the best run of each counts. Needs a C
compiler for calibrate.c; x86-64 only.
"""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from subbyte import kernels
from subbyte.kernels import _int8

FORMATS = [name for name, format in kernels.FORMATS.items() if format.group]
DOT_K = 4096  # row length of dot
STREAM_BYTES = 256 << 20  # more than a last-level cache


class Calibration:
    """The machine's limits, from calibrate.c compiled for this machine."""

    def __init__(self) -> None:
        source = Path(__file__).with_name("calibrate.c")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "calibrate.so"
            subprocess.run(["cc", "-O2", "-march=native", "-shared", "-fPIC", "-o", library, source], check=True)
            self._library = ctypes.CDLL(str(library))
        self._memory = np.ones(STREAM_BYTES, np.uint8)

    def gmacs(self, isa: str) -> float:
        """Peak int8 GMAC/s of an instruction set."""
        run = getattr(self._library, "peak_avx2" if isa == "avx2" else "peak_avx512")
        run.restype = ctypes.c_int64
        start = time.perf_counter()
        products: int = run(ctypes.c_int64(100_000))
        return products / (time.perf_counter() - start) / 1e9

    def gigabytes(self) -> float:
        """GB/s of reading memory."""
        start = time.perf_counter()
        self._library.stream(ctypes.c_void_p(self._memory.ctypes.data), ctypes.c_int64(STREAM_BYTES))
        return STREAM_BYTES / (time.perf_counter() - start) / 1e9


def random_rows(name: str, n_rows: int, k: int) -> np.ndarray:
    """Rows of random blocks, flat. Speed does not depend on the values, so scales are random as well."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return np.random.default_rng(0).integers(0, 256, n_rows * k // block * size, np.uint8)


def rate(work: float, kernel: Callable[..., object], *args: object, repeat: int = 1) -> float:
    """Work units per nanosecond."""
    start = time.perf_counter()
    for _ in range(repeat):
        kernel(*args)
    return work * repeat / (time.perf_counter() - start) / 1e9


def measure(name: str, isa: str, calibration: Calibration, rounds: int, tokens: int, k: int, rows: int) -> list[float]:
    """Best of each: peak GMAC/s, gemm GMAC/s, memory GB/s, dot GB/s from memory, dot GB/s in cache."""
    x = _int8.quantize(isa, np.random.default_rng(1).standard_normal((tokens, k), np.float32))
    one = _int8.quantize(isa, np.random.default_rng(2).standard_normal((1, DOT_K), np.float32))
    weights = random_rows(name, rows, k)
    cached = random_rows(name, 64, DOT_K)
    n_rows = STREAM_BYTES // (cached.size // 64)
    stream = random_rows(name, n_rows, DOT_K)
    runs = [
        (
            calibration.gmacs(isa),
            rate(tokens * k * rows, _int8.gemm, isa, name, weights, rows, x),
            calibration.gigabytes(),
            rate(stream.size, _int8.dot, isa, name, stream, n_rows, one),
            rate(cached.size, _int8.dot, isa, name, cached, 64, one, repeat=50),
        )
        for _ in range(rounds)
    ]
    return [max(column) for column in zip(*runs, strict=True)]


@click.command(help=__doc__)
@click.option("--formats", default=",".join(FORMATS), help="Comma-separated formats.")
@click.option("--isas", default=",".join(kernels.isas()[1:]), help="Comma-separated instruction sets.")
@click.option("--rounds", default=20, help="Runs of each kernel.")
@click.option("--tokens", default=512, help="Tokens of gemm.")
@click.option("--k", default=2048, help="Row length of gemm.")
@click.option("--rows", default=512, help="Rows of gemm.")
def main(formats: str, isas: str, rounds: int, tokens: int, k: int, rows: int) -> None:
    calibration = Calibration()
    click.echo(
        f"{'format':8} {'isa':10} {'gemm GMAC/s':>12} {'of peak':>8} {'dot GB/s':>9} {'of memory':>10} {'in cache':>9}"
    )
    for name in formats.split(","):
        for isa in isas.split(","):
            peak, gemm, memory, dot, cached = measure(name, isa, calibration, rounds, tokens, k, rows)
            click.echo(
                f"{name:8} {isa:10} {gemm:12.1f} {gemm / peak:8.0%} {dot:9.1f} {dot / memory:10.0%} {cached:9.1f}"
            )


if __name__ == "__main__":
    main()
