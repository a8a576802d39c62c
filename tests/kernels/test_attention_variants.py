"""What some architectures add to attention, against numpy on every instruction set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tiny_models
from numpy.typing import NDArray

from subbyte.kernels import Cache, Engine, Plan, Weight, isas
from subbyte.models._graph import Graph, Value
from subbyte.models._rope import Rope
from subbyte.models._weights import Linear

F32, F64 = NDArray[np.float32], NDArray[np.float64]
N, N_EMBD, N_HEAD, N_HEAD_KV, HEAD_DIM = 300, 32, 6, 2, 128  # three splits of keys
STEPS = ([N], [1] * 30 + [2, 3, 40, 5] + [220], [130] + [1] * 20 + [150])


@dataclass
class Attention:
    """Embeddings, one attention and a head, all random; `arguments` are of `Graph.attention`."""

    arguments: dict[str, Any]
    keys_are_values: bool = False
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

    def logits(self, steps: list[int], isa: str, threads: int = 2, cache_type: str = "f32") -> F32:
        plan, found, at = self.plan(), [], 0
        engine, cache = Engine(plan, n_batch=N, n_threads=threads, n_ctx=N, isa=isa), Cache(plan, N, cache_type)
        for n in steps:
            found.append(engine.step(range(at, at + n), ((cache, n, at),), logits_of=range(n)))
            at += n
        return np.concatenate(found)  # type: ignore[arg-type]

    def plan(self) -> Plan:
        g = Graph()
        x = g.embed(self.linear("embd"))
        self.record(g, x, g.rope(self.rope.angles(), interleaved=False))
        g.head(g.rms_norm(x, np.ones(N_EMBD, np.float32), 1e-5), self.linear("head"))
        return g.plan()

    def record(self, g: Graph, x: Value, rope: int) -> None:
        q, k, *v = g.linears(x, *map(self.linear, "qk" if self.keys_are_values else "qkv"))
        a = g.attention(
            q, k, v[0] if v else None, n_head=N_HEAD, n_head_kv=N_HEAD_KV, head_dim=HEAD_DIM, rope=rope,
            **self.arguments,
        )  # fmt: skip
        x + g.linear(a, self.linear("output"))

    def expected(self, **changes: Any) -> F64:
        """The same in numpy."""
        of = {"keys_are_values": self.keys_are_values, **self.arguments, **changes}
        w = {name: matrix.astype(np.float64) for name, matrix in self.matrices.items()}
        q, k, v = ((w["embd"] @ w[p].T).reshape(N, -1, HEAD_DIM) for p in ("qkk" if of["keys_are_values"] else "qkv"))
        if of.get("v_norm") is not None:
            v = tiny_models.rms(v, of["v_norm"])
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
    "normed values": {"v_norm": np.geomspace(0.2, 5, HEAD_DIM, dtype=np.float32), "eps": 1e-5},
    "keys as values": {"keys_are_values": True},
    "keys, normed, as values, normed": {
        "keys_are_values": True, "v_norm": np.ones(HEAD_DIM, np.float32), "eps": 1e-5, "window": 140,
        "q_norm": np.geomspace(0.2, 5, HEAD_DIM, dtype=np.float32),
        "k_norm": np.geomspace(5, 0.2, HEAD_DIM, dtype=np.float32),
    },
}  # fmt: skip


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_equal_numpy_however_tokens_are_cut(name: str, isa: str) -> None:
    arguments = dict(VARIANTS[name])
    case = Attention(arguments, keys_are_values=arguments.pop("keys_are_values", False))
    expected = case.expected()
    whole = case.logits([N], isa)
    assert np.abs(whole - expected).max() < 3e-5
    for steps in STEPS[1:] if isa != "scalar" else STEPS[2:]:
        np.testing.assert_array_equal(case.logits(steps, isa, threads=1 + len(steps) % 3), whole)
    special = {"sinks", "softcap", "norm_after_rope", "temperature_scale", "v_norm", "keys_are_values"}
    for argument in VARIANTS[name].keys() & special:
        assert np.abs(expected - case.expected(**{argument: None})).max() > 0.05


def test_a_sink_of_minus_infinity_is_none() -> None:
    without, absent = Attention({}), Attention({"sinks": np.full(N_HEAD, -np.inf, np.float32)})
    np.testing.assert_array_equal(absent.logits([N], isas()[-1]), without.logits([N], isas()[-1]))


CACHE_TYPES = ("f32", "f16", "q8_0")


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_keys_that_are_values_are_two_of_the_same(cache_type: str, isa: str) -> None:
    of = {"v_norm": np.ones(HEAD_DIM, np.float32), "eps": 1e-5}
    one, two = Attention(of, keys_are_values=True), Attention(of)
    two.matrices["v"] = two.matrices["k"]
    for steps in STEPS if isa != "scalar" else STEPS[2:]:
        np.testing.assert_array_equal(one.logits(steps, isa, 3, cache_type), two.logits(steps, isa, 2, cache_type))


@dataclass
class TwoAttentions(Attention):
    """The second with fewer heads and a window, over keys and values of the first or over the same of its own."""

    of_the_first: bool = True

    def record(self, g: Graph, x: Value, rope: int) -> None:
        q, k, v, *again = g.linears(x, *map(self.linear, "qkv" if self.of_the_first else "qkvk"))
        if again:
            again += g.linears(x, self.linear("v"))
        heads = {"n_head_kv": N_HEAD_KV, "head_dim": HEAD_DIM, "rope": rope}
        a = g.attention(q, k, v, n_head=N_HEAD, **heads)
        x + g.linear(a, self.linear("output"))
        n = 4 * HEAD_DIM
        (q,) = g.linears(x, self.linear("q").split(n, N_HEAD * HEAD_DIM - n)[0])
        own = again or (None, None)
        a = g.attention(q, *own, n_head=4, window=140, keys_of=a if self.of_the_first else None, **heads)
        x + g.linear(a, Linear(Weight(self.half().reshape(-1).view(np.uint8), "F32", N_EMBD, n, "half")))

    def half(self) -> F32:
        return np.ascontiguousarray(self.matrices["output"][:, : 4 * HEAD_DIM])


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_keys_of_another_attention_are_as_good_as_its_own(cache_type: str, isa: str) -> None:
    of_first, own = TwoAttentions({}), TwoAttentions({}, of_the_first=False)
    assert 2 * of_first.plan().cache_bytes(N, cache_type) == own.plan().cache_bytes(N, cache_type)
    for steps in STEPS if isa != "scalar" else STEPS[2:]:
        np.testing.assert_array_equal(of_first.logits(steps, isa, 3, cache_type), own.logits(steps, isa, 2, cache_type))
