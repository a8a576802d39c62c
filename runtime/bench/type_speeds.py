"""How fast this machine multiplies with weights of each block type, by the kernels of one instruction set.

A matrix of random blocks is multiplied with one token and part of it with a prompt, by steps of an engine, as those of
a model are. All types take turns, round after round, so that a slow minute of the machine hits all alike and that no
matrix is still in a cache when its turn comes. Times are processor time of all threads together, which leaves out what
other processes took; the median of the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from subbyte.kernels import FORMATS, Cache, Engine, Plan, Weight
from subbyte.runtime.measurement import Step
from subbyte.runtime.records import Record
from subbyte.runtime.synthetic.blocks import random_blocks

ROWS, COLS = 4096, 4096  # of a matrix
PROMPT_ROWS, PROMPT_TOKENS = 512, 128  # enough for whole tiles on all threads
POOL_ROWS = 64  # of random blocks, repeated: speed does not depend on what blocks hold
ROUNDS = 7
SPINNING = 0.001  # seconds after which no thread waits awake for more work: only then has the kernel counted its time


@dataclass(frozen=True, slots=True)
class TypeSpeed(Record):
    """A block type's rates, all threads together, in multiply-adds a second.

    generation: of one token, with weights from memory. prompt: of many tokens at once.
    """

    type: str
    generation: float
    prompt: float


def measure_type_speeds(types: Sequence[str], isa: str, n_threads: int) -> Generator[Step, None, tuple[TypeSpeed, ...]]:
    """Measures for a few seconds, in some 10 MB of memory a type; yields progress."""
    rng = np.random.default_rng(0)
    plan = Plan([COLS, ROWS, PROMPT_ROWS])
    weights = [_random_weight(type, rng) for type in types]
    for weight in weights:
        for slot, matrix in ((1, weight), (2, weight.slice(0, PROMPT_ROWS))):
            plan.add("linear", [0], [slot], [(matrix, None)], accumulate=0, scale=1.0)
    plan.add("lm_head", [0], [], [(weights[0], None)], scale=1.0, softcap=0.0)  # never run, but a plan has one
    engine = Engine(plan, n_batch=PROMPT_TOKENS, n_threads=n_threads, n_ctx=PROMPT_TOKENS, isa=isa)
    engine.write(0, rng.standard_normal((PROMPT_TOKENS, COLS), np.float32))
    cache = Cache(plan, PROMPT_TOKENS, "f16")

    def rate(operation: int, n_tokens: int, n_rows: int) -> float:
        before = time.process_time()
        engine.step(np.zeros(n_tokens, np.int32), [(cache, n_tokens, 0)], operations=(operation, operation + 1))
        time.sleep(SPINNING)
        return n_threads * n_tokens * n_rows * COLS / (time.process_time() - before)

    rates = np.empty((ROUNDS, len(types), 2))
    for n in range(ROUNDS):
        for i, type in enumerate(types):
            yield Step(f"speed of {type} with {isa}", n * len(types) + i, ROUNDS * len(types))
            rates[n, i] = rate(2 * i, 1, ROWS), rate(2 * i + 1, PROMPT_TOKENS, PROMPT_ROWS)
    medians = np.median(rates, axis=0).tolist()
    return tuple(TypeSpeed(type, *of) for type, of in zip(types, medians, strict=True))


def _random_weight(type: str, rng: np.random.Generator) -> Weight:
    of = FORMATS[type]
    blocks_a_row = COLS // of.block_size
    pool = random_blocks(type, POOL_ROWS * blocks_a_row, COLS**-0.5, rng)
    return Weight(np.resize(pool.reshape(-1), ROWS * blocks_a_row * of.block_bytes), type, ROWS, COLS)
