"""Routed experts (mixture of experts): the hyper-parameters of the router, and the tensors of a layer that has them.

A token goes through the feed-forward networks of a few experts only, which a router chooses by its hidden state.
Families differ in how the router's logits become weights, and in whether a shared expert joins; all of it is said here,
and `Graph.experts` computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from subbyte.errors import FormatError, UnsupportedError
from subbyte.kernels import OperationCost
from subbyte.models._config import MAX_WIDTH
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._weights import Linear, Vector, Weights

MAX_EXPERTS = 2**16
MAX_USED = 2**10  # choosing takes n_used * n_expert steps a token
MAX_WEIGHTS_SCALE = 1e4
GATING = {1: "softmax", 2: "sigmoid", 3: "softmax_of_chosen"}  # expert_gating_func


@dataclass(frozen=True)
class Routing:
    """How a token's experts are chosen and weighted.

    gating: what makes probabilities of the router's logits, one of GATING. n_group, n_group_used: experts lie in
    groups, and those of the best groups can be chosen. renormalize: the weights of the chosen are made to add up to 1;
    then all are multiplied by weights_scale.
    """

    n_expert: int
    n_used: int
    gating: str = "softmax"
    n_group: int = 1
    n_group_used: int = 1
    renormalize: bool = True
    weights_scale: float = 1.0


@dataclass(frozen=True)
class ExpertsConfig:
    """Routed experts of a model. n_ff: of each. n_ff_shared: of the shared one, 0 for none.

    n_dense: so many layers at the start have a plain feed-forward part; period: then each period-th has experts.
    shared_gate: whether a sigmoid says for each token how much the shared expert counts.
    """

    routing: Routing
    n_ff: int
    n_ff_shared: int
    n_dense: int
    period: int
    shared_gate: bool = False

    def in_layer(self, layer: int) -> bool:
        return layer >= self.n_dense and (layer + 1) % self.period == 0


def read_experts(
    meta: Metadata,
    architecture: str,
    *,
    gating: str = "softmax",
    renormalize: bool = True,
    n_ff: int | None = None,
    shared_gate: bool = False,
) -> ExpertsConfig:
    """The keys of routed experts. gating, renormalize: of files that don't say.

    n_ff: of an expert, where no key of its own says it; None: the file must.
    """
    a = f"{architecture}."
    n_expert = meta.u32(a + "expert_count", lo=1, hi=MAX_EXPERTS)
    n_used = meta.u32(a + "expert_used_count", lo=1, hi=min(n_expert, MAX_USED))
    key = a + "expert_feed_forward_length"
    n_ff = meta.u32(key, lo=1, hi=MAX_WIDTH) if n_ff is None else meta.u32(key, n_ff, lo=1, hi=MAX_WIDTH)
    if n_ff * n_used > MAX_WIDTH:
        found = f"{key} = {n_ff} with {a}expert_used_count = {n_used}"
        raise FormatError(f"{found}; together they may have {MAX_WIDTH} hidden values: {HINT}")
    n_shared = meta.u32(a + "expert_shared_count", 0, hi=MAX_WIDTH // n_ff)
    return ExpertsConfig(
        routing=read_routing(meta, a, n_expert, n_used, gating, renormalize),
        n_ff=n_ff,
        n_ff_shared=meta.u32(a + "expert_shared_feed_forward_length", n_ff * n_shared, hi=MAX_WIDTH),
        n_dense=meta.u32(a + "leading_dense_block_count", 0),
        period=meta.u32(a + "interleave_moe_layer_step", 1, lo=1),
        shared_gate=shared_gate,
    )


def read_routing(meta: Metadata, a: str, n_expert: int, n_used: int, gating: str, renormalize: bool) -> Routing:
    """The keys of the router of architecture prefix a."""
    default = next(number for number, name in GATING.items() if name == gating)
    function = meta.u32(a + "expert_gating_func", default) or default  # 0 stands for none given
    if function not in GATING:
        known = ", ".join(f"{number} ({name})" for number, name in GATING.items())
        raise UnsupportedError(f"{a}expert_gating_func = {function}; supported are {known}")
    n_group = meta.u32(a + "expert_group_count", 1, hi=n_expert) or 1
    n_group_used = meta.u32(a + "expert_group_used_count", n_group, hi=n_group) or n_group
    if n_expert % n_group or n_expert // n_group * n_group_used < n_used:
        raise FormatError(
            f"{a}expert_group_count = {n_group} and {a}expert_group_used_count = {n_group_used} with {n_expert} "
            f"experts, {n_used} of them used; groups must be equal and hold as many in those that are used: {HINT}"
        )
    return Routing(
        n_expert=n_expert,
        n_used=n_used,
        gating=GATING[function],
        n_group=n_group,
        n_group_used=n_group_used,
        renormalize=meta.bool(a + "expert_weights_norm", renormalize),
        weights_scale=meta.f32(a + "expert_weights_scale", 1.0, lo=0.0, hi=MAX_WEIGHTS_SCALE) or 1.0,
    )


@dataclass(frozen=True)
class SharedExpert:
    """The feed-forward network that every token goes through. router: its gate, a logit a token; None: always open."""

    gate: Linear | None
    up: Linear
    down: Linear
    router: Linear | None


@dataclass(frozen=True)
class Experts:
    """The routed experts of a layer: matrices of all experts one after the other, [n_expert * rows, cols].

    gate: None where the activation has none. fused: gate is up, and holds the rows of both of each expert.
    selection_bias: added to probabilities where experts are chosen. *_scale: factors of each expert's products.
    """

    routing: Routing
    n_embd: int
    n_ff: int
    router: Linear
    gate: Linear | None
    up: Linear
    down: Linear
    fused: bool
    shared: SharedExpert | None
    selection_bias: Vector | None
    gate_scale: Vector | None
    up_scale: Vector | None
    down_scale: Vector | None

    @property
    def routers(self) -> list[Linear]:
        return [self.router] + ([self.shared.router] if self.shared and self.shared.router else [])

    @property
    def up_matrices(self) -> list[Linear]:
        pairs = [(self.gate, self.up)] + ([(self.shared.gate, self.shared.up)] if self.shared else [])
        return [linear for pair in pairs for linear in pair if linear is not None]

    @property
    def down_matrices(self) -> list[Linear]:
        return [self.down] + ([self.shared.down] if self.shared else [])

    def cost_of(self, matrices: Sequence[Linear]) -> Callable[[int, int], OperationCost]:
        """What a step takes of some of its matrices: of the routed experts those that some token goes to.

        That is counted as if each token chose at random, all alike: n_expert * (1 - (1 - n_used / n_expert)^n).
        """
        routing = self.routing
        routed = [linear in (self.gate, self.up, self.down) for linear in matrices]

        def cost(n: int, _depth: int) -> OperationCost:
            read = 1 - (1 - routing.n_used / routing.n_expert) ** n
            products = []
            for linear, is_routed in zip(matrices, routed, strict=True):
                w, fraction = linear.weight, 0.5 if is_routed and self.fused and linear is not self.down else 1.0
                size = fraction * w.rows * w.cols
                share, macs = (read, n * routing.n_used / routing.n_expert) if is_routed else (1.0, n)
                products.append((w.format, round(share * size), round(macs * size)))
            return OperationCost(tuple(products))

        return cost


def experts(b: Weights, n_embd: int, c: ExpertsConfig, *, gated: bool = True) -> Experts:
    """The tensors of a layer's routed experts: ffn_gate_inp, ffn_*_exps, and ffn_*_shexp of the shared one."""
    n_expert, fused = c.routing.n_expert, "ffn_gate_up_exps" in b
    if fused:
        gate: Linear | None = b.experts("ffn_gate_up_exps", n_embd, 2 * c.n_ff, n_expert)
        up = gate
    else:
        gate = b.experts("ffn_gate_exps", n_embd, c.n_ff, n_expert) if gated else None
        up = b.experts("ffn_up_exps", n_embd, c.n_ff, n_expert)
    assert up is not None
    return Experts(
        routing=c.routing,
        n_embd=n_embd,
        n_ff=c.n_ff,
        router=b.linear("ffn_gate_inp", n_embd, n_expert),
        gate=gate,
        up=up,
        down=b.experts("ffn_down_exps", c.n_ff, n_embd, n_expert),
        fused=fused,
        shared=shared_expert(b, n_embd, c, gated=gated),
        selection_bias=b.bias("exp_probs_b", n_expert),
        gate_scale=b.scale("ffn_gate_exps", n_expert),
        up_scale=b.scale("ffn_up_exps", n_expert),
        down_scale=b.scale("ffn_down_exps", n_expert),
    )


def shared_expert(b: Weights, n_embd: int, c: ExpertsConfig, *, gated: bool) -> SharedExpert | None:
    """ffn_*_shexp, and ffn_gate_inp_shexp for its gate; None where the file has neither a size nor tensors of it."""
    n_ff = c.n_ff_shared
    if not n_ff and "ffn_up_shexp" not in b:
        return None
    return SharedExpert(
        gate=b.linear("ffn_gate_shexp", n_embd, n_ff) if gated else None,
        up=b.linear("ffn_up_shexp", n_embd, n_ff),
        down=b.linear("ffn_down_shexp", n_ff, n_embd),
        router=b.row("ffn_gate_inp_shexp", n_embd) if c.shared_gate else None,
    )
