"""Routed experts against numpy: every router, every activation, every block type, and steps cut in every way.

A plan of one layer alone: embeddings, its experts, nothing else. So the router sees the same numbers whatever weights
the experts have and whatever meets them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
from blocks import random_matrix
from expert_oracle import F32, F64, clamped_swiglu, expert_tensors, routed_experts, sigmoid, swiglu
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from tiny_models import gelu, rms

from subbyte.kernels import FORMATS, Cache, Engine, Plan, Weight, best_isa, dequantize, isas
from subbyte.models._experts import ExpertsConfig, Routing, experts
from subbyte.models._graph import Graph
from subbyte.models._weights import Linear, Weights

EPS = 1e-5
N_TOKENS = 64  # of the vocabulary
TOKENS = [int(t) for t in np.random.default_rng(2).integers(0, N_TOKENS, 21)]
CUTS = ([21], [1] * 21, [1, 3, 9, 8])
"""Steps of the same tokens: at once, one by one, few and many."""
ACTIVATIONS: dict[str, Callable[[F64, F64], F64]] = {
    "silu": swiglu, "gelu": lambda gate, up: gelu(gate) * up, "clamped_silu": clamped_swiglu,
    "relu": lambda gate, up: np.maximum(gate, 0) * up,
}  # fmt: skip
BOUNDS = {"float32": 1e-5, "int8x2": 2e-4, "int8": 0.04}
"""Of the difference from numpy's, relative to the greatest of its results."""

each_isa = pytest.mark.parametrize("isa", isas())


@dataclass(frozen=True)
class FileTensor:
    """What `Weights` reads, made of blocks [rows, bytes] or of floats."""

    shape: tuple[int, ...]
    type: str
    data: memoryview
    file: str = "m.gguf"


@dataclass
class Layer:
    """A layer of random experts. sizes: as `expert_tensors` has them. routing: as `Routing` has it."""

    sizes: dict[str, int] = field(default_factory=dict)
    routing: dict[str, Any] = field(default_factory=dict)
    activation: str = "silu"
    gated: bool = True
    fused: bool = False
    changes: Callable[[dict[str, F32]], None] | None = None  # of its tensors, by name
    type: str = "F32"
    scale: float = 1.0  # of the sum

    def __post_init__(self) -> None:
        self.sizes = {"n_embd": 64, "n_ff_exp": 32, "n_expert": 7, "n_used": 3, **self.sizes}
        self.tensors = self.random_tensors()
        if self.changes:
            self.changes(self.tensors)
        self.embeddings = np.random.default_rng(1).standard_normal((N_TOKENS, self.sizes["n_embd"])).astype(np.float32)

    def random_tensors(self) -> dict[str, F32]:
        rng = np.random.default_rng(3)
        shapes = expert_tensors(self.sizes)
        if not self.gated:
            shapes = {name: dims for name, dims in shapes.items() if not name.startswith("ffn_gate_exps")}
            shapes.pop("ffn_gate_shexp", None)
        if self.fused:
            n_expert, n_ff, n = shapes.pop("ffn_gate_exps")
            del shapes["ffn_up_exps"]
            shapes["ffn_gate_up_exps"] = (n_expert, 2 * n_ff, n)
        values = {name: (rng.standard_normal(s) / s[-1] ** 0.5).astype(np.float32) for name, s in shapes.items()}
        self.blocks: dict[str, np.ndarray] = {}
        for name, value in values.items():
            if self.type != "F32" and name != "ffn_gate_inp":
                self.blocks[name], values[name] = self.quantized(value)
        return values

    def quantized(self, x: F32) -> tuple[np.ndarray, F32]:
        """Blocks of the layer's type, and what they hold: x where gguf-py can quantize to it, else random numbers."""
        try:
            blocks = quantize(x, GGMLQuantizationType[self.type])
        except NotImplementedError:
            blocks = random_matrix(FORMATS[self.type], x.size // x.shape[-1], x.shape[-1])
        return blocks, dequantize(blocks.reshape(-1).view(np.uint8), self.type).reshape(x.shape)

    def file_tensor(self, name: str) -> FileTensor:
        value = self.tensors[name]
        blocks, type = (self.blocks[name], self.type) if name in self.blocks else (value, "F32")
        return FileTensor(value.shape[::-1], type, memoryview(np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)))

    def plan(self) -> Plan:
        s, n = self.sizes, self.sizes["n_embd"]
        names = {name: name if name.endswith((".bias", ".scale")) else f"{name}.weight" for name in self.tensors}
        w = Weights({full: self.file_tensor(name) for name, full in names.items()})
        routing = Routing(s["n_expert"], s["n_used"], **self.routing)
        gate = "ffn_gate_inp_shexp" in self.tensors
        config = ExpertsConfig(routing, s["n_ff_exp"], s.get("n_ff_shexp", 0), n_dense=0, period=1, shared_gate=gate)
        e = experts(w, n, config, gated=self.gated)
        g = Graph()
        x = g.embed(Linear(Weight(self.embeddings.reshape(-1).view(np.uint8), "F32", N_TOKENS, n)))
        y = (self.scale * g.experts(g.rms_norm(x, np.ones(n, np.float32), EPS), e, self.activation)).value()
        head = Weight(np.zeros(4 * n, np.uint8), "F32", 1, n)
        g.head(g.rms_norm(y, np.ones(n, np.float32), EPS), Linear(head))
        return g.plan()

    def expected(self, tokens: Sequence[int]) -> F64:
        x = rms(self.embeddings[tokens].astype(np.float64), np.ones(self.sizes["n_embd"], np.float32), EPS)
        routing = {name.replace("weights_scale", "scale"): value for name, value in self.routing.items()}
        n_used, activation = self.sizes["n_used"], ACTIVATIONS[self.activation]
        out: F64 = self.scale * routed_experts(x, self.tensors, n_used, activation, **routing)
        return out


class Run:
    """A layer's plan on an instruction set."""

    def __init__(self, plan: Plan, isa: str, *, threads: int = 1, activations: str = "float32") -> None:
        self.plan = plan
        self.engine = Engine(plan, n_batch=64, n_threads=threads, n_ctx=64, isa=isa, activations=activations)

    def __call__(self, tokens: Sequence[int], cut: Sequence[int] | None = None) -> F32:
        """What the experts make of tokens, so many of them a step (default: all)."""
        out, at = [], 0
        for n in cut or [len(tokens)]:
            self.engine.step(tokens[at : at + n], ((Cache(self.plan, 64, "f32"), n, 0),))
            out.append(self.engine.read(self.plan.stream))
            at += n
        return np.concatenate(out)


def difference(found: F32, expected: F64) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def check(layer: Layer, isa: str, activations: str = "float32") -> None:
    """It agrees with numpy, and with itself however it is run."""
    plan = layer.plan()
    whole = Run(plan, isa, activations=activations)(TOKENS)
    assert difference(whole, layer.expected(TOKENS)) < BOUNDS[activations]
    for threads, cut in product((1, 3), CUTS):
        again = Run(plan, isa, threads=threads, activations=activations)(TOKENS, cut)
        np.testing.assert_array_equal(again, whole)


# ---- routers, networks ----


def adding(**tensors: Callable[[np.random.Generator], np.ndarray]) -> Callable[[dict[str, F32]], None]:
    """Further tensors; a name's last _ stands for its dot."""

    def add(own: dict[str, F32]) -> None:
        for i, (name, make) in enumerate(tensors.items()):
            own[".".join(name.rsplit("_", 1))] = make(np.random.default_rng(10 + i)).astype(np.float32)

    return add


def normal(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.standard_normal(shape)


def factors(n: int = 7) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(0.3, 3, n)


def shared_gate(own: dict[str, F32]) -> None:
    own["ffn_gate_inp_shexp"] = np.random.default_rng(9).standard_normal(64).astype(np.float32)


BIASES = {"ffn_gate_exps_bias": normal(7, 32), "ffn_up_exps_bias": normal(7, 32), "ffn_down_exps_bias": normal(7, 64)}
SCALES = {f"ffn_{name}_exps_scale": factors() for name in ("gate", "up", "down")}
ONE_EXPERT = adding(ffn_gate_inp_bias=lambda _: np.where(np.arange(7) == 3, 100, 0))
SHARED = {"n_ff_shexp": 48}
LAYERS = {
    "softmax": Layer(),
    "softmax, as it is": Layer(routing={"renormalize": False}),
    "sigmoid": Layer(routing={"gating": "sigmoid", "renormalize": False}),
    "softmax of the chosen": Layer(routing={"gating": "softmax_of_chosen", "renormalize": False}),
    "scaled": Layer(routing={"gating": "sigmoid", "weights_scale": 2.5}, scale=0.3),
    "selection bias": Layer(routing={"gating": "sigmoid"}, changes=adding(exp_probs_b_bias=normal(7))),
    "groups": Layer({"n_expert": 12}, {"gating": "sigmoid", "n_group": 4, "n_group_used": 2}),
    "groups and selection bias": Layer(
        {"n_expert": 12, "n_used": 4}, {"n_group": 3, "n_group_used": 1}, changes=adding(exp_probs_b_bias=normal(12))
    ),
    "groups of one": Layer({"n_expert": 6}, {"n_group": 6, "n_group_used": 3}),
    "weights below the least sum": Layer(
        routing={"gating": "sigmoid"}, changes=adding(ffn_gate_inp_bias=lambda _: np.full(7, -16.0))
    ),
    "router bias": Layer(changes=adding(ffn_gate_inp_bias=normal(7))),
    "shared": Layer(SHARED),
    "shared, gated": Layer(SHARED, changes=shared_gate),
    "shared of another size, fused": Layer(SHARED, fused=True, changes=shared_gate),
    "fused": Layer(fused=True),
    "biases": Layer(changes=adding(**BIASES)),
    "biases, fused": Layer(
        fused=True, changes=adding(ffn_gate_up_exps_bias=normal(7, 64), ffn_down_exps_bias=normal(7, 64))
    ),
    "factors": Layer(changes=adding(**SCALES)),
    "factors and biases, shared": Layer(SHARED, changes=adding(**SCALES, **BIASES)),
    "gelu": Layer(activation="gelu"),
    "as gpt-oss": Layer(
        routing={"gating": "softmax_of_chosen", "renormalize": False}, activation="clamped_silu",
        changes=adding(**BIASES, ffn_gate_inp_bias=normal(7)),
    ),
    "squared relu": Layer(activation="relu", gated=False),
    "squared relu, shared, biases": Layer(
        SHARED, activation="relu", gated=False,
        changes=adding(ffn_up_exps_bias=normal(7, 32), ffn_up_exps_scale=factors(), ffn_down_exps_bias=normal(7, 64)),
    ),
    "one of many": Layer({"n_expert": 40, "n_used": 1}),
    "all": Layer({"n_expert": 5, "n_used": 5}),
    "a single one": Layer({"n_expert": 1, "n_used": 1}),
    "all tokens to one": Layer({"n_used": 1}, changes=ONE_EXPERT),
    "odd sizes": Layer({"n_embd": 37, "n_ff_exp": 5, "n_ff_shexp": 3}),
    "hidden values of one": Layer({"n_ff_exp": 1}),
}  # fmt: skip


@each_isa
@pytest.mark.parametrize("name", LAYERS)
def test_experts_are_those_of_the_papers(name: str, isa: str) -> None:
    check(LAYERS[name], isa)


def test_weights_below_the_least_sum_are_not_made_one() -> None:
    """What the case of that name is about: the weights of each token add up to less than 2^-14."""
    layer = LAYERS["weights below the least sum"]
    x = rms(layer.embeddings[TOKENS].astype(np.float64), np.ones(64, np.float32), EPS)
    p = np.sort(sigmoid(x @ layer.tensors["ffn_gate_inp"].T - 16))[:, -3:].sum(1)
    assert (p < 2**-14).all() and (p > 0).all()


# ---- block types ----


@each_isa
@pytest.mark.parametrize("type", FORMATS)
def test_every_block_type_agrees_with_its_numbers(type: str, isa: str) -> None:
    layer = Layer({"n_embd": 256, "n_ff_exp": 256, "n_expert": 3, "n_used": 2}, type=type)
    plan, expected = layer.plan(), layer.expected(TOKENS)
    for activations, bound in BOUNDS.items():
        whole = Run(plan, isa, activations=activations)(TOKENS)
        assert difference(whole, expected) < bound
        np.testing.assert_array_equal(Run(plan, isa, threads=3, activations=activations)(TOKENS, [1, 2, 5, 13]), whole)


@each_isa
@pytest.mark.parametrize("activations", BOUNDS)
@pytest.mark.parametrize("type", ["Q4_0", "Q8_0", "BF16"])
def test_an_odd_number_of_blocks(type: str, activations: str, isa: str) -> None:
    check(Layer({"n_embd": 96, "n_ff_exp": 160, "n_ff_shexp": 32}, type=type, changes=adding(
        ffn_gate_exps_bias=normal(7, 160), ffn_down_exps_bias=normal(7, 96), ffn_up_exps_scale=factors(),
    )), isa, activations)  # fmt: skip


# ---- steps of every size ----


@each_isa
@pytest.mark.parametrize("activations", BOUNDS)
@pytest.mark.parametrize("type", ["Q8_0", "Q4_K", "F16"])
def test_groups_of_every_size_give_the_same_bits(type: str, activations: str, isa: str) -> None:
    """An expert's tokens may be one, a small batch, just more than that, a tile, and more than some tiles."""
    size = {"n_embd": 256, "n_ff_exp": 256, "n_expert": 2, "n_used": 1}
    plan = Layer(size, type=type, changes=adding(ffn_gate_inp_bias=lambda _: np.array([0, 100]))).plan()
    tokens = [*range(50)]
    run = Run(plan, isa, threads=2, activations=activations)
    single = run(tokens, [1] * 50)
    for n in (2, 4, 5, 7, 8, 9, 16, 17, 33, 50):
        np.testing.assert_array_equal(run(tokens[:n]), single[:n], err_msg=f"{n} tokens")


@each_isa
def test_sequences_of_one_step_do_not_know_of_each_other(isa: str) -> None:
    layer = Layer({"n_embd": 96, "n_ff_exp": 64, "n_ff_shexp": 32}, type="Q4_0")
    run = Run(layer.plan(), isa, threads=3, activations="int8")
    single = run(TOKENS, [1] * len(TOKENS))
    for cut in ([1] * 3, [1] * 7, [1, 12, 3], [5, 1, 15]):
        n = sum(cut)
        run.engine.step(TOKENS[:n], [(Cache(run.plan, 64, "f32"), rows, 0) for rows in cut])
        np.testing.assert_array_equal(run.engine.read(run.plan.stream), single[:n])


def test_a_step_of_one_of_several_operations_does_as_within_a_step() -> None:
    layer = Layer({"n_ff_shexp": 32})
    plan = layer.plan()
    run = Run(plan, "scalar", threads=2)
    whole = run(TOKENS)
    for i in range(len(plan.operations) - 1):
        run.engine.step(TOKENS, ((Cache(plan, 64, "f32"), len(TOKENS), 0),), operations=(i, i + 1))
    np.testing.assert_array_equal(run.engine.read(plan.stream), whole)


@pytest.mark.parametrize("n_used", [1, 20])
def test_as_many_experts_as_there_may_be(n_used: int) -> None:
    """Where it is clear which of them are chosen: the last 20."""
    likely = np.where(np.arange(2**16) < 2**16 - 20, 0, 16)
    size = {"n_embd": 8, "n_ff_exp": 2, "n_expert": 2**16, "n_used": n_used}
    layer = Layer(size, changes=adding(ffn_gate_inp_bias=lambda _: likely))
    whole = Run(layer.plan(), best_isa(), threads=2)(TOKENS[:5])
    assert difference(whole, layer.expected(TOKENS[:5])) < BOUNDS["float32"]
    np.testing.assert_array_equal(Run(layer.plan(), best_isa())(TOKENS[:5], [1] * 5), whole)
