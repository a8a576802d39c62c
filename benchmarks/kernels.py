"""Speed of the int8 kernels on one core: gemm in GMAC/s at 512 tokens, dot in GB/s of block bytes, each beside the machine's limit.

Machines are noisy: kernels and calibration loops take turns in short runs, time is this thread's processor time, and the best run
of each counts. Needs a C compiler for calibrate.c; x86-64 only.
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

from subbyte.kernels import _int8

FORMATS = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 TQ2_0".split()
STREAM_BYTES = 64 << 20  # more than a last-level cache


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
        run = getattr(self._library, f"peak_{isa}")
        run.restype = ctypes.c_int64
        start = time.thread_time()
        products: int = run(ctypes.c_int64(100_000))
        return products / (time.thread_time() - start) / 1e9

    def gigabytes(self) -> float:
        """GB/s of reading memory."""
        start = time.thread_time()
        self._library.stream(ctypes.c_void_p(self._memory.ctypes.data), ctypes.c_int64(STREAM_BYTES))
        return STREAM_BYTES / (time.thread_time() - start) / 1e9


def random_rows(name: str, n_rows: int, k: int) -> np.ndarray:
    """Rows of random blocks, flat. Speed does not depend on the values, so scales are random as well."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return np.random.default_rng(0).integers(0, 256, n_rows * k // block * size, np.uint8)


def rate(work: float, run: Callable[[], object]) -> float:
    """Work units per nanosecond of one run."""
    start = time.thread_time()
    run()
    return work / (time.thread_time() - start) / 1e9


@click.command(help=__doc__)
@click.option("--formats", default=",".join(FORMATS), help="Comma-separated formats.")
@click.option("--rounds", default=20, help="Runs of each kernel.")
@click.option("--tokens", default=2012)
@click.option("--k", default=2048, help="Row length of gemm.")
@click.option("--rows", default=2012, help="Rows of gemm.")
def main(formats: str, rounds: int, tokens: int, k: int, rows: int) -> None:
    calibration = Calibration()
    isas = [isa for isa in _int8.isas() if isa != "scalar"]
    x = np.random.default_rng(1).standard_normal((tokens, k), np.float32)
    one_k = 4096
    one = np.random.default_rng(2).standard_normal((1, one_k), np.float32)
    click.echo(f"{'format':8} {'isa':8} {'gemm GMAC/s':>12} {'of peak':>8} {'dot GB/s':>9} {'of stream':>10} {'in cache':>9}")
    for name in formats.split(","):
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
        row_bytes = one_k // block * size
        weights = random_rows(name, rows, k)
        n_one = STREAM_BYTES // row_bytes
        stream, cached = random_rows(name, n_one, one_k), random_rows(name, 64, one_k)
        best = {isa: np.zeros(5) for isa in isas}
        for _ in range(rounds):
            for isa in isas:
                q, q_one = _int8.quantize(isa, x), _int8.quantize(isa, one)
                run = (
                    calibration.gmacs(isa),
                    rate(tokens * k * rows, lambda: _int8.gemm(isa, name, weights, rows, q)),
                    calibration.gigabytes(),
                    rate(stream.size, lambda: _int8.dot(isa, name, stream, n_one, q_one)),
                    rate(cached.size * 50, lambda: [_int8.dot(isa, name, cached, 64, q_one) for _ in range(50)]),
                )
                best[isa] = np.maximum(best[isa], run)
        for isa, (peak, gmacs, limit, speed, in_cache) in best.items():
            click.echo(
                f"{name:8} {isa:8} {gmacs:12.1f} {gmacs / peak:8.0%} {speed:9.1f} {speed / limit:10.0%} {in_cache:9.1f}"
            )


if __name__ == "__main__":
    main()
