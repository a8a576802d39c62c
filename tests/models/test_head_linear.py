"""Maps of each head's own against numpy: every block type, odd sizes, some of the rows, and steps cut in every way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from blocks import random_matrix
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, Cache, Engine, Plan, Weight, dequantize, isas
from subbyte.models._graph import Graph
from subbyte.models._weights import Linear

F32, F64 = NDArray[np.float32], NDArray[np.float64]
N_TOKENS = 53
CUTS = ([53], [1] * 53, [2, 3, 4, 5, 6, 7, 8, 9, 9])
BOUNDS = {"float32": 1e-5, "int8x2": 2e-4, "int8": 0.04}
"""Of the difference from numpy's, relative to the greatest of its results."""

each_isa = pytest.mark.parametrize("isa", isas())


@dataclass
class Maps:
    """Random maps of n_head heads, from n_in to n_out values.

    passed: values that follow the n_in and go past the map; unread: that follow these and go nowhere. rows: the first
    and the number of those that are used, all by default.
    """

    n_head: int = 3
    n_in: int = 64
    n_out: int = 40
    passed: int = 0
    unread: int = 0
    rows: tuple[int, int] | None = None
    type: str = "F32"
    matrices: F32 = field(init=False)
    blocks: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(4)
        dims = self.n_head, self.n_out, self.n_in
        values = (rng.standard_normal(dims) / self.n_in**0.5).astype(np.float32)
        try:
            blocks = quantize(values, GGMLQuantizationType[self.type])
        except NotImplementedError:
            blocks = random_matrix(FORMATS[self.type], self.n_head * self.n_out, self.n_in)
        self.blocks = np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)
        self.matrices = dequantize(self.blocks, self.type).reshape(dims)
        width = self.n_head * (self.n_in + self.passed + self.unread)
        self.inputs = rng.standard_normal((N_TOKENS, width)).astype(np.float32)

    def plan(self) -> Plan:
        g, (first_row, n_rows) = Graph(), self.rows or (0, self.n_out)
        x = g.embed(Linear(Weight(self.inputs.reshape(-1).view(np.uint8), "F32", *self.inputs.shape)))
        maps = Linear(Weight(self.blocks, self.type, self.n_head * self.n_out, self.n_in))
        y = g.head_linear(x, maps, n_head=self.n_head, passed=self.passed, first_row=first_row, n_rows=n_rows)
        head = Linear(Weight(np.zeros(4 * y.width, np.uint8), "F32", 1, y.width))
        g.head(g.rms_norm(y, np.ones(y.width, np.float32), 1e-5), head)
        return g.plan()

    def expected(self) -> F64:
        first_row, n_rows = self.rows or (0, self.n_out)
        x = self.inputs.astype(np.float64).reshape(N_TOKENS, self.n_head, -1)
        y = np.einsum("hoi,thi->tho", self.matrices[:, first_row : first_row + n_rows], x[..., : self.n_in])
        return np.concatenate([y, x[..., self.n_in : self.n_in + self.passed]], -1).reshape(N_TOKENS, -1)


def run(plan: Plan, isa: str, cut: Sequence[int], *, threads: int = 1, activations: str = "float32") -> F32:
    engine = Engine(plan, n_batch=N_TOKENS, n_threads=threads, n_ctx=64, isa=isa, activations=activations)
    out, at = [], 0
    for n in cut:
        engine.step(range(at, at + n), ((Cache(plan, 64, "f32"), n, 0),))
        out.append(engine.read(plan.stream))
        at += n
    return np.concatenate(out)


def check(maps: Maps, isa: str, activations: str = "float32") -> None:
    """They agree with numpy, and with themselves however they are run."""
    plan, expected = maps.plan(), maps.expected()
    whole = run(plan, isa, CUTS[0], activations=activations)
    assert np.abs(whole - expected).max() < BOUNDS[activations] * np.abs(expected).max()
    for i, cut in enumerate(CUTS):
        np.testing.assert_array_equal(run(plan, isa, cut, threads=3 - i, activations=activations), whole)


CASES = {
    "plain": Maps(),
    "a part goes past": Maps(passed=24),
    "as long as it may be": Maps(passed=24, unread=7),
    "not all is read": Maps(unread=5),
    "the last rows": Maps(n_out=55, rows=(15, 40)),
    "some rows, and a part goes past": Maps(n_out=55, rows=(3, 17), passed=9),
    "one row of each": Maps(n_out=7, rows=(6, 1)),
    "one head": Maps(n_head=1, passed=3),
    "many heads": Maps(n_head=130, n_in=8, n_out=5, passed=2),
    "odd sizes": Maps(n_head=5, n_in=37, n_out=3, passed=11, unread=1),
    "one value": Maps(n_head=4, n_in=1, n_out=1),
    "more rows than a chunk": Maps(n_head=2, n_in=32, n_out=200, passed=1),
}


@each_isa
@pytest.mark.parametrize("name", CASES)
def test_heads_are_mapped_each_by_its_own(name: str, isa: str) -> None:
    check(CASES[name], isa)


@each_isa
@pytest.mark.parametrize("type", FORMATS)
def test_every_block_type_agrees_with_its_numbers(type: str, isa: str) -> None:
    row = max(FORMATS[type].block_size, 192 if FORMATS[type].block_size <= 64 else 0)
    maps = Maps(n_in=row, n_out=50, rows=(10, 40), passed=16, type=type)
    plan, expected = maps.plan(), maps.expected()
    for activations, bound in BOUNDS.items():
        whole = run(plan, isa, [N_TOKENS], activations=activations)
        assert np.abs(whole - expected).max() < bound * np.abs(expected).max()
        again = run(plan, isa, [1, 2, 5, 13, 32], threads=3, activations=activations)
        np.testing.assert_array_equal(again, whole)
