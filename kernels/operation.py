"""What a plan says of its operations to who looks at it from outside: what they read, multiply and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Matrix(NamedTuple):
    """A matrix by its tensor's name in the file, its block format, and its shape."""

    name: str
    format: str
    rows: int
    cols: int


class OperationCost(NamedTuple):
    """What a step asks of the machine for one operation, whatever the code that does it.

    products: the block format of each matrix, how many of its weights are read, and how many multiply-adds they take
    part in. cached: keys and values read from the cache. state: numbers of a recurrent state, float32, which is
    read and written once a step. float_macs: multiply-adds of floats besides the products.
    """

    products: tuple[tuple[str, int, int], ...] = ()
    cached: int = 0
    state: int = 0
    float_macs: int = 0


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a plan.

    kind: its name in kernels/engine/ops/. reads, writes: its slots. norm, eps: RMSNorm of the first of them before
    that, or None. matrices: multiplied with it; of an operation that reads no slot, looked up by token id. parameters:
    what is special to its kind, as `Plan.add` was given it.
    """

    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    matrices: tuple[Matrix, ...]
    norm: NDArray[np.float32] | None
    eps: float
    parameters: Mapping[str, Any]
    own_cost: Callable[[int, int], OperationCost] | None

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of its matrices."""
        return tuple(w.name for w in self.matrices)

    @property
    def multiplies(self) -> bool:
        """Whether its matrices are multiplied with what it reads."""
        return bool(self.reads and self.matrices)

    def normed(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the first slot it reads, [n, width], behind its RMSNorm, if it has one."""
        if self.norm is None:
            return x
        mean = np.mean(np.square(x, dtype=np.float64), axis=1, keepdims=True)
        scaled: NDArray[np.float32] = (x / np.sqrt(mean + self.eps)).astype(np.float32) * self.norm
        return scaled

    def cost(self, n: int, depth: int) -> OperationCost:
        """Of a step of n tokens behind depth others."""
        if self.own_cost is not None:
            return self.own_cost(n, depth)
        if not self.multiplies:
            return OperationCost()
        return OperationCost(tuple((w.format, w.rows * w.cols, n * w.rows * w.cols) for w in self.matrices))
