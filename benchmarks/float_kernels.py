"""Speed of the float kernels on one core, in GFLOP/s and as a share of a multiply-add loop that runs beside them.

Machines are noisy: kernels and the loop take turns in short runs, time is this thread's processor time, and the best
run of each counts. gemm_float and gemm_bf16 are timed with the packing of their tokens; the loop beside gemm_bf16
multiplies bf16. Needs a C compiler for fma.c; x86-64 only.
"""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import _float as kernels
from subbyte.kernels import isas

PEAK_ROUNDS = 200_000

Floats = NDArray[np.float32]
Case = tuple[str, float, Callable[[str], None]]  # what runs, its operations, a run on an instruction set
BF16 = "avx512bf16"


def peak_library() -> ctypes.CDLL:
    """fma.c as a shared library."""
    source = Path(__file__).with_name("fma.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fma.so"
        subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
        return ctypes.CDLL(str(library))


def peak(library: ctypes.CDLL, isa: str) -> float:
    run = getattr(library, f"peak_{isa}")
    run.restype = ctypes.c_int64
    start = time.thread_time()
    operations: int = run(ctypes.c_int64(PEAK_ROUNDS))
    return operations / (time.thread_time() - start) / 1e9


def numbers(*shape: int) -> Floats:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def gemm(k: int, n_rows: int, n_tokens: int) -> Case:
    rows, x, out = numbers(n_rows, k), numbers(n_tokens, k), np.empty((n_tokens, n_rows), np.float32)
    name = f"gemm_float   k {k}, {n_rows} rows, {n_tokens} tokens"
    return name, 2.0 * n_tokens * n_rows * k, lambda isa: kernels.gemm_float(isa, rows, x, out)


def gemm_bf16(k: int, n_rows: int, n_tokens: int) -> Case:
    rows = (numbers(n_rows, k).view(np.uint32) >> 16).astype(np.uint16).reshape(-1).view(np.uint8)
    x, out = numbers(n_tokens, k), np.empty((n_tokens, n_rows), np.float32)
    name = f"gemm_bf16    k {k}, {n_rows} rows, {n_tokens} tokens"
    return name, 2.0 * n_tokens * n_rows * k, lambda isa: kernels.gemm_bf16(isa, rows, x, out)


def attend(n_head: int, head_dim: int, n_tokens: int, pos0: int, window: int) -> Case:
    n_ctx = pos0 + n_tokens
    k, v = (numbers(n_ctx, head_dim).astype(np.float16).view(np.uint16) for _ in range(2))
    q, out = numbers(n_tokens, n_head, head_dim), np.empty((n_tokens, n_head, head_dim), np.float32)
    keys = sum(min(pos + 1, window or pos + 1) for pos in range(pos0, n_ctx))
    name = f"attend_tile  {n_head} heads of {head_dim}, {n_tokens} tokens from {pos0}, window {window}, F16"

    def run(isa: str) -> None:
        kernels.attend_tile(isa, q, k, v, pos0, window, head_dim**-0.5, out)

    return name, 4.0 * n_head * head_dim * keys, run


def decode(n_head: int, head_dim: int, n_ctx: int) -> Case:
    k, v = (numbers(n_ctx, head_dim).astype(np.float16).view(np.uint16) for _ in range(2))
    q, out = numbers(n_head, head_dim), np.empty((n_head, head_dim), np.float32)

    def run(isa: str) -> None:
        for _ in range(20):
            kernels.attend_one(isa, q, k, v, 0, n_ctx, head_dim**-0.5, out)

    return f"attend_one   {n_head} heads of {head_dim}, {n_ctx} keys, F16", 80.0 * n_head * head_dim * n_ctx, run


def cases() -> Iterator[Case]:
    for k in (576, 2048, 8192):
        yield gemm(k, 512, 512)
    for n_head, head_dim in ((1, 64), (3, 64), (4, 128), (8, 128), (4, 256)):
        yield attend(n_head, head_dim, 512, 0, 0)
    yield attend(4, 128, 32, 4064, 0)
    yield attend(4, 256, 512, 1024, 512)
    for n_head, head_dim in ((1, 64), (3, 64), (4, 128)):
        yield decode(n_head, head_dim, 1000)


@click.command(help=__doc__)
@click.option("--rounds", default=10, help="Runs of each kernel.")
def main(rounds: int) -> None:
    library = peak_library()
    usable = [isa for isa in ("avx2", "avx512") if isa in isas()]
    runs = [(case, isa) for case in cases() for isa in usable]
    if BF16 in isas():
        runs += [(gemm_bf16(k, 512, 512), BF16) for k in (576, 2048, 8192)]
    for (name, operations, run), isa in runs:
        limit = speed = 0.0
        for _ in range(rounds):
            limit = max(limit, peak(library, isa))
            start = time.thread_time()
            run(isa)
            speed = max(speed, operations / (time.thread_time() - start) / 1e9)
        click.echo(f"{name:66} {isa:10} {speed:6.1f} GFLOP/s, {speed / limit:4.0%} of {limit:.1f}")


if __name__ == "__main__":
    main()
