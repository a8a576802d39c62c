"""Attention whose values are its keys, one row of the cache for all query heads, against numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gguf
import numpy as np
import pytest
import tiny_models
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

from subbyte.kernels import Cache, Engine, Plan, Weight, best_isa, isas
from subbyte.models._graph import Graph
from subbyte.models._rope import Rope
from subbyte.models._weights import Linear

F32, F64 = NDArray[np.float32], NDArray[np.float64]
BOUNDS = {"f32": 1e-6, "f16": 2e-5, "q8_0": 2e-4}
"""Of the difference from numpy's, root mean square, of values of about 1: keys are rounded alike but for a few."""

each_isa = pytest.mark.parametrize("isa", isas())


@dataclass
class Latent:
    """n_head query heads over rows [c, p]: c is normed, p is turned."""

    n_tokens: int
    n_head: int
    n_c: int
    n_p: int

    def __post_init__(self) -> None:
        rng, self.n_row = np.random.default_rng(5), self.n_c + self.n_p
        shape = self.n_tokens, (self.n_head + 1) * self.n_row
        self.inputs = rng.standard_normal(shape).astype(np.float32)
        self.norm = np.geomspace(0.5, 2, self.n_c, dtype=np.float32)
        self.rope, self.scale = Rope(self.n_p, 1000.0), 2 * self.n_row**-0.5

    def plan(self) -> Plan:
        g, width = Graph(), self.inputs.shape[1]
        tokens = Linear(
            Weight(np.eye(self.n_tokens, dtype=np.float32).reshape(-1).view(np.uint8), "F32", *(self.n_tokens,) * 2)
        )
        columns = np.ascontiguousarray(self.inputs.T)
        both = Linear(Weight(columns.reshape(-1).view(np.uint8), "F32", width, self.n_tokens))
        q, k = g.linears(g.embed(tokens), *both.split(self.n_head * self.n_row, self.n_row))
        a = g.attention(
            q, k, None, n_head=self.n_head, n_head_kv=1, head_dim=self.n_row, scale=self.scale, k_norm=self.norm,
            rope=g.rope(self.rope.angles(), interleaved=True), rope_start=self.n_c, eps=1e-5, one_row=True,
        )  # fmt: skip
        head = Linear(Weight(np.zeros(4 * a.width, np.uint8), "F32", 1, a.width))
        g.head(g.rms_norm(a, np.ones(a.width, np.float32), 1e-5), head)
        return g.plan()

    def expected(self, cache_type: str) -> F64:
        x = self.inputs.astype(np.float64).reshape(self.n_tokens, -1, self.n_row)
        turned = tiny_models.rope(x[..., self.n_c :], tiny_models.frequencies(self.n_p, 1000.0), 1.0, True)
        q = np.concatenate([x[:, :-1, : self.n_c], turned[:, :-1]], -1)
        k = np.concatenate([tiny_models.rms(x[:, -1, : self.n_c], self.norm), turned[:, -1]], -1)
        kind = gguf.GGMLQuantizationType[cache_type.upper()]
        rounded = dequantize(quantize(k.astype(np.float32), kind), kind).astype(np.float64)[:, None]
        return tiny_models.attention(q, rounded, rounded, self.scale, 0).reshape(self.n_tokens, -1)


def run(of: Latent, isa: str, cache_type: str, steps: Sequence[int], threads: int = 2) -> F32:
    plan, found, at = of.plan(), [], 0
    engine = Engine(plan, n_batch=of.n_tokens, n_threads=threads, n_ctx=of.n_tokens, isa=isa, activations="float32")
    cache = Cache(plan, of.n_tokens, cache_type)
    for n in steps:
        engine.step(range(at, at + n), ((cache, n, at),))
        found.append(engine.read(plan.stream))
        at += n
    return np.concatenate(found)


def difference(found: F32, expected: F64) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2)))


@each_isa
@pytest.mark.parametrize("cache_type", BOUNDS)
@pytest.mark.parametrize("n_head", [1, 7])
@pytest.mark.thorough
def test_one_row_is_key_and_value_of_all_heads(n_head: int, cache_type: str, isa: str) -> None:
    """Some splits of keys; heads, elements and tokens that fill no vector."""
    of = Latent(270, n_head, 64, 32)
    whole = run(of, isa, cache_type, [270])
    assert difference(whole, of.expected(cache_type)) < BOUNDS[cache_type]
    for threads, steps in ((1, [1] * 3 + [2, 5, 130] + [1] * 3 + [127]), (3, [139, 1, 1, 129])):
        np.testing.assert_array_equal(run(of, isa, cache_type, steps, threads), whole)


@pytest.mark.parametrize("of", [Latent(140, 20, 512, 64), Latent(140, 128, 72, 8)], ids=["long rows", "many heads"])
@pytest.mark.thorough
def test_rows_of_glm_and_heads_of_deepseek(of: Latent) -> None:
    isa = best_isa()
    whole = run(of, isa, "f16", [140])
    assert difference(whole, of.expected("f16")) < BOUNDS["f16"]
    np.testing.assert_array_equal(run(of, isa, "f16", [130, *[1] * 4, 6], 3), whole)


@pytest.mark.parametrize("cache_type, n_bytes", [("f32", 4 * 576), ("f16", 2 * 576), ("q8_0", 18 * 34)])
def test_a_position_takes_one_row_of_the_cache(cache_type: str, n_bytes: int) -> None:
    assert Latent(3, 20, 512, 64).plan().cache_bytes(7, cache_type) == 7 * n_bytes
