"""Types of the Cython binding of the C library; its docstrings are in kernels/python/."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from subbyte.kernels.operation import Operation, OperationCost

Data: TypeAlias = Buffer | NDArray[Any]  # numpy declares its arrays as buffers from Python 3.12 on only

MAX_CTX: int
MAX_THREADS: int

def isas() -> list[str]: ...
def best_isa() -> str: ...
def draw_tokens(
    rows: Sequence[NDArray[np.float32]],
    how: Sequence[tuple[float, int, float, float, float, float]],
    *,
    n_threads: int = ...,
    isa: str | None = ...,
) -> list[int]: ...
def top_k(logits: NDArray[np.float32], k: int) -> NDArray[np.int32]: ...
def top_logprobs(
    logits: NDArray[np.float32], token: int, k: int, isa: str | None = ...
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def mask_logits(logits: NDArray[np.float32], words: NDArray[np.uint32]) -> bool: ...
def token_ids(tokens: Sequence[int] | NDArray[np.integer[Any]], n_vocab: int) -> NDArray[np.int32]: ...

class Weight:
    def __init__(
        self, data: memoryview | bytes | NDArray[np.uint8], format: str, rows: int, cols: int, name: str = ...
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def cols(self) -> int: ...
    def slice(self, first: int, last: int) -> Weight: ...

class Plan:
    def __init__(
        self,
        widths: Sequence[int],
        ropes: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], int, float, bool]] = ...,
    ) -> None: ...
    def add(
        self,
        kind: str,
        reads: Sequence[int],
        writes: Sequence[int],
        matrices: Sequence[tuple[Weight, NDArray[np.float32] | None]] = ...,
        *,
        norm: NDArray[np.float32] | None = ...,
        eps: float = ...,
        cost: Callable[[int, int], OperationCost] | None = ...,
        **parameters: Any,
    ) -> None: ...
    def n_long_ropes(self, n_ctx: int) -> int: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def operations(self) -> tuple[Operation, ...]: ...
    @property
    def stream(self) -> int: ...
    def cache_bytes(self, n_ctx: int, cache_type: str) -> int: ...
    @property
    def state_bytes(self) -> int: ...
    def scratch_bytes(self) -> int: ...

class Cache:
    def __init__(self, plan: Plan, n_ctx: int, cache_type: str) -> None: ...
    @property
    def state_tokens(self) -> int: ...
    def copy_state(self) -> NDArray[np.uint8]: ...
    def set_state(self, state: NDArray[np.uint8], n_tokens: int) -> None: ...
    def parts(self, n_positions: int) -> list[int]: ...
    def copy_part(self, i: int, n_positions: int) -> NDArray[np.uint8]: ...
    def set_part(self, i: int, n_positions: int, data: NDArray[np.uint8]) -> None: ...
    def copy_from(self, other: Cache, n_positions: int) -> None: ...

class TryLock:
    def __init__(self, what: str = "this session", instead: str = ...) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

class MappedFile:
    def __init__(self, fd: int, n_bytes: int) -> None: ...
    @property
    def unreadable(self) -> bool: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Engine:
    def __init__(
        self,
        plan: Plan,
        *,
        n_batch: int,
        n_threads: int,
        n_ctx: int,
        isa: str | None = ...,
        activations: str = ...,
        reads_ahead: bool = ...,
    ) -> None: ...
    @property
    def n_batch(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def n_barriers(self) -> int: ...
    @property
    def n_chunks(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def greedy(self) -> NDArray[np.bool_]: ...
    @property
    def isa(self) -> str: ...
    def step(
        self,
        tokens: Sequence[int] | NDArray[np.int32],
        segments: Sequence[tuple[Cache, int, int]],
        *,
        logits_of: Sequence[int] = ...,
        wanted: Sequence[int] | NDArray[np.int32] | None = ...,
        operations: tuple[int, int] | None = ...,
    ) -> NDArray[np.float32] | None: ...
    def cancel(self) -> None: ...
    def head(
        self, rows: Sequence[int] | NDArray[np.int32], wanted: Sequence[int] | NDArray[np.integer[Any]] | None = ...
    ) -> NDArray[np.float32]: ...
    def read(self, slot: int) -> NDArray[np.float32]: ...
    def write(self, slot: int, values: NDArray[np.float32]) -> None: ...

class Comparison(NamedTuple):
    log_p: NDArray[np.float64]
    log_q: NDArray[np.float64]
    divergence: NDArray[np.float64]
    reverse: NDArray[np.float64]
    common: NDArray[np.float64]
    top_p: NDArray[np.int32]
    top_q: NDArray[np.int32]

def compare_logits(
    p: NDArray[np.float32],
    q: NDArray[np.float32],
    wanted: Sequence[int] | NDArray[np.integer[Any]],
    *,
    n_threads: int = ...,
    isa: str | None = ...,
    p_is_log: bool = ...,
) -> Comparison: ...
def formats() -> list[tuple[str, int, int, int, int, int, int]]:
    """The rows of formats.def: name, id, block size, block bytes, group, bias, max code."""

def dequantize(data: Data, format: str, isa: str | None = None) -> NDArray[np.float32]:
    """All weights of `data` with the kernels of `isa`; None takes the strongest, or what SUBBYTE_ISA names."""

# What the machine can do at this moment, all threads together. A benchmark measures it right beside its own figure:
#
#     peak = int8_peak("avx2", n_threads=1)                     # multiply-adds a second
#     memory = np.ones(256 << 20, np.uint8)                     # several times the last-level cache; make it once
#     rate = read_rate(memory, n_threads=2, seconds=0.05)       # bytes a second
#
# seconds: how long to measure, up to 1. They raise ValueError for an instruction set that this machine lacks and for
# arguments out of range, ResourceError when no threads are to be had.
def int8_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most int8 multiply-adds a second with an instruction set; None: the strongest, or what SUBBYTE_ISA names."""

def float_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most float32 multiply-adds a second."""

def bf16_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most bfloat16 multiply-adds a second; those of float32 where an instruction set has none of its own."""

def read_rate(memory: NDArray[np.uint8], n_threads: int = 1, seconds: float = 0.02) -> float:
    """Bytes a second read from memory. All of it is read once at least, however long that takes."""
