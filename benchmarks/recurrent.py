"""Speed of linear attention over a recurrent state on one core: heads of 128 keys and values, one token and a prompt.

    python benchmarks/recurrent.py [--isas avx2] [--samples 9]

One token reads and writes the whole state, which lies in the core's caches or in memory: GB/s of both, and the share of
what the core can read from memory. A prompt keeps 16 KB of the state in the first cache for all its tokens: GMAC/s of
the four operations that each number of the state takes part in (with the delta rule; three without), and their share
of the multiply-adds that the instruction set allows. Times are processor time between two calibrations (calibrated.py).
"""

import time
from collections.abc import Callable

import click
import numpy as np
from calibrated import measure, multiply_adds, read_bandwidth
from numpy.typing import NDArray

from subbyte.kernels import _testing, isas

N_KEYS = 128
HEADS = {"a head": 1, "a layer of 32 heads": 32, "128 MB": 2048}  # of states that one token meets
PROMPT = 512


def aligned(n: int) -> NDArray[np.float32]:
    raw = np.zeros(n + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + n]


def runner(isa: str, n_tokens: int, n_values: int, delta: bool) -> Callable[[int], float]:
    """Runs the kernel so often and returns its processor seconds. Heads that share keys are as fast as others."""
    rng = np.random.default_rng(0)
    q, k = (rng.normal(0, N_KEYS**-0.5, (n_tokens, N_KEYS)).astype(np.float32) for _ in range(2))
    v = rng.normal(0, 1, (n_tokens, n_values)).astype(np.float32)
    decay, rate = np.full(n_tokens, 0.9, np.float32), np.full(n_tokens, 0.5, np.float32)
    state, out = aligned(_testing.state_floats(N_KEYS, n_values)), np.empty_like(v)

    def run(repeat: int) -> float:
        start = time.thread_time()
        _testing.linear_attention(isa, q, k, v, decay, rate, delta, state, out, repeat)
        return time.thread_time() - start

    return run


@click.command(help=__doc__)
@click.option("--isas", "chosen", default=",".join(isas()), help="Instruction sets.")
@click.option("--samples", default=9, show_default=True, help="Samples of each figure.")
def main(chosen: str, samples: int) -> None:
    for isa in chosen.split(","):
        for name, heads in HEADS.items():
            n_values = 128 * heads
            n_bytes = 2 * 4 * N_KEYS * n_values
            speed = measure(runner(isa, 1, n_values, True), n_bytes, read_bandwidth, samples)
            if speed.seconds is not None:
                rate, share = n_bytes / speed.seconds / 1e9, speed.share or 0.0
                click.echo(f"{isa:10} 1 token, state of {name:20} {rate:6.1f} GB/s, {share:4.0%} of reading memory")
        for delta, operations in ((True, 4), (False, 3)):
            macs = operations * PROMPT * N_KEYS * 128
            speed = measure(runner(isa, PROMPT, 128, delta), macs, multiply_adds(isa, "F32"), samples)
            if speed.seconds is not None:
                rate, share = macs / speed.seconds / 1e9, speed.share or 0.0
                rule = "delta rule" if delta else "no delta rule"
                click.echo(f"{isa:10} {PROMPT} tokens, {rule:25} {rate:6.1f} GMAC/s, {share:4.0%} of the core's")


if __name__ == "__main__":
    main()
