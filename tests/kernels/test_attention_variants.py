"""What some architectures add to attention, against numpy on every instruction set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tiny_models
from numpy.typing import NDArray

from subbyte.kernels import Cache, Engine, Weight, isas
from subbyte.models._graph import Graph
from subbyte.models._rope import Rope
from subbyte.models._weights import Linear

F32, F64 = NDArray[np.float32], NDArray[np.float64]
N, N_EMBD, N_HEAD, N_HEAD_KV, HEAD_DIM = 300, 32, 6, 2, 128  # three splits of keys
STEPS = ([N], [1] * 30 + [2, 3, 40, 5] + [220], [130] + [1] * 20 + [150])


@dataclass
class Attention:
    """Embeddings, one attention and a head, all random; `arguments` are of `Graph.attention`."""

    arguments: dict[str, Any]
    matrices: dict[str, F32] = field(init=False)
    rope: Rope = field(default_factory=lambda: Rope(HEAD_DIM, 10000.0))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(21)
        n_q, n_kv = N_HEAD * HEAD_DIM, N_HEAD_KV * HEAD_DIM
        shapes = {"embd": (N, N_EMBD), "q": (n_q, N_EMBD), "k": (n_kv, N_EMBD), "v": (n_kv, N_EMBD),
                  "output": (N_EMBD, n_q), "head": (7, N_EMBD)}  # fmt: skip
        self.matrices = {
            name: (rng.standard_normal(dims) / (1 if name == "embd" else dims[1] ** 0.5)).astype(np.float32)
            for name, dims in shapes.items()
        }

    def linear(self, name: str) -> Linear:
        w = self.matrices[name]
        return Linear(Weight(w.reshape(-1).view(np.uint8), "F32", *w.shape, name))

    def logits(self, steps: list[int], isa: str, threads: int = 2) -> F32:
        g = Graph()
        x = g.embed(self.linear("embd"))
        q, k, v = g.linears(x, *map(self.linear, "qkv"))
        a = g.attention(
            q, k, v, n_head=N_HEAD, n_head_kv=N_HEAD_KV, head_dim=HEAD_DIM,
            rope=g.rope(self.rope.angles(), interleaved=False), **self.arguments,
        )  # fmt: skip
        x = x + g.linear(a, self.linear("output"))
        g.head(g.rms_norm(x, np.ones(N_EMBD, np.float32), 1e-5), self.linear("head"))
        plan, found, at = g.plan(), [], 0
        engine, cache = Engine(plan, n_batch=N, n_threads=threads, n_ctx=N, isa=isa), Cache(plan, N, "f32")
        for n in steps:
            found.append(engine.step(range(at, at + n), ((cache, n, at),), logits_of=range(n)))
            at += n
        return np.concatenate(found)  # type: ignore[arg-type]

    def expected(self, **changes: Any) -> F64:
        """The same in numpy."""
        of = {**self.arguments, **changes}
        w = {name: matrix.astype(np.float64) for name, matrix in self.matrices.items()}
        q, k, v = ((w["embd"] @ w[p].T).reshape(N, -1, HEAD_DIM) for p in "qkv")
        if not of.get("norm_after_rope"):
            q, k = self.normed(q, k)
        q, k = (tiny_models.rope(z, tiny_models.frequencies(HEAD_DIM), 1.0, False) for z in (q, k))
        if of.get("norm_after_rope"):
            q, k = self.normed(q, k)
        if of.get("temperature_scale"):
            periods = np.arange(N) // of["temperature_length"]
            q *= (1 + of["temperature_scale"] * np.log(1 + periods))[:, None, None]
        scale = of.get("scale", HEAD_DIM**-0.5)
        a = tiny_models.attention(q, k, v, scale, of.get("window", 0), of.get("sinks"), of.get("softcap") or 0)
        a = a.reshape(N, -1)
        return tiny_models.rms(w["embd"] + a @ w["output"].T, np.ones(N_EMBD, np.float32)) @ w["head"].T

    def normed(self, q: F64, k: F64) -> tuple[F64, F64]:
        if "q_norm" not in self.arguments:
            return q, k
        return tiny_models.rms(q, self.arguments["q_norm"]), tiny_models.rms(k, self.arguments["k_norm"])


SINKS = np.float32([0, 3, -2, 8, 30, -30])
VARIANTS = {
    "sinks": {"sinks": SINKS},
    "sinks with a window": {"sinks": SINKS, "window": 140},
    "soft cap": {"softcap": 2.0, "scale": 0.3, "window": 140},
    "soft cap and sinks": {"softcap": 2.0, "scale": 0.3, "sinks": SINKS},
    "norms after rope": {
        "q_norm": np.geomspace(0.2, 5, HEAD_DIM, dtype=np.float32), "norm_after_rope": True, "eps": 1e-5,
        "k_norm": np.geomspace(5, 0.2, HEAD_DIM, dtype=np.float32),
    },
    "temperature": {"temperature_scale": 0.7, "temperature_length": 50, "scale": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_equal_numpy_however_tokens_are_cut(name: str, isa: str) -> None:
    case = Attention(VARIANTS[name])
    expected = case.expected()
    whole = case.logits([N], isa)
    assert np.abs(whole - expected).max() < 3e-5
    for steps in STEPS[1:] if isa != "scalar" else STEPS[2:]:
        np.testing.assert_array_equal(case.logits(steps, isa, threads=1 + len(steps) % 3), whole)
    for argument in VARIANTS[name].keys() & {"sinks", "softcap", "norm_after_rope", "temperature_scale"}:
        assert np.abs(expected - case.expected(**{argument: None})).max() > 0.05


def test_a_sink_of_minus_infinity_is_none() -> None:
    without, absent = Attention({}), Attention({"sinks": np.full(N_HEAD, -np.inf, np.float32)})
    np.testing.assert_array_equal(absent.logits([N], isas()[-1]), without.logits([N], isas()[-1]))
