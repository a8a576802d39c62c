"""The recorder that turns a model's forward pass, written as ordinary Python, into a flat plan that C runs.

A model file computes with `Value`s. Nothing is computed while it runs: each operation is written down, and what C can
do in one go is joined (a norm with the projections that read it, a projection with the residual it is added to).
`Graph.plan` then gives every value a slot of memory, shared by values that are not alive at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from subbyte.kernels import OperationCost, Plan
from subbyte.models._experts import Experts
from subbyte.models._rope import Angles
from subbyte.models._weights import Linear, Vector

CostOf = Callable[[int, int], OperationCost]  # (n tokens of a step, depth: those before them)


@dataclass(eq=False)
class Value:
    """float32 [n_tokens, width], computed by an operation of `graph`."""

    graph: Graph
    width: int

    def __add__(self, other: Projection | Normed | Routed) -> Value:
        """The residual stream: this value with what a part of the layer gives added in place; the old value is gone."""
        return other.add_to(self)

    def __rmul__(self, scale: float) -> Value:
        """This value times a number, by the norm that was just added to it; the old value is gone."""
        last = self.graph.operations[-1]
        if last.kind != "norm" or last.writes != [self]:
            raise ValueError("a value is multiplied by a number where a norm was just added to it")
        last.parameters["scale"] *= scale
        return self


@dataclass(eq=False)
class Normed:
    """RMSNorm of a value, computed where it is read: by the projections that follow, or while it is added.

    n_groups: equal parts of the value, each of which is normed for itself.
    """

    value: Value
    weight: Vector
    eps: float
    n_groups: int = 1

    def add_to(self, x: Value) -> Value:
        return self.into(x, accumulate=True)

    def computed(self) -> Value:
        """A value of its own."""
        return self.into(Value(self.value.graph, self.value.width), accumulate=False)

    def into(self, out: Value, *, accumulate: bool) -> Value:
        out.graph.record(
            "norm", [self.value], [out], norm=self.weight, eps=self.eps, accumulate=accumulate, n_groups=self.n_groups,
            scale=1.0,
        )  # fmt: skip
        return out


@dataclass(eq=False)
class Projection:
    """scale * (linear @ input), not recorded before it is known whether it is added to something."""

    input: Value | Normed
    linear: Linear
    scale: float = 1.0

    def __rmul__(self, scale: float) -> Projection:
        return replace(self, scale=scale * self.scale)

    def add_to(self, x: Value) -> Value:
        input = self.input
        if isinstance(input, Normed) and input.value is x:  # some rows would be added while others still read x
            input = input.computed()
        return x.graph.record_linear(input, [self.linear], [x], accumulate=True, scale=self.scale)

    def value(self) -> Value:
        graph = parts(self.input)[0].graph
        out = Value(graph, self.linear.weight.rows)
        return graph.record_linear(self.input, [self.linear], [out], accumulate=False, scale=self.scale)


@dataclass(eq=False)
class Routed:
    """The sum over the experts that each token went to, not recorded before it is known what it is added to."""

    hidden: list[Value]  # of the routed experts, the routing, and of the shared expert if there is one
    experts: Experts
    scale: float = 1.0

    def __rmul__(self, scale: float) -> Routed:
        return replace(self, scale=scale * self.scale)

    def add_to(self, x: Value) -> Value:
        return self.into(x, accumulate=True)

    def value(self) -> Value:
        graph = self.hidden[0].graph
        return self.into(Value(graph, self.experts.n_embd), accumulate=False)

    def into(self, out: Value, *, accumulate: bool) -> Value:
        e = self.experts
        out.graph.record(
            "experts_down", self.hidden, [out], e.down_matrices, cost=e.cost_of(e.down_matrices),
            n_expert=e.routing.n_expert, n_used=e.routing.n_used, accumulate=accumulate, scale=self.scale,
            down_scale=e.down_scale,
        )  # fmt: skip
        return out


def parts(x: Value | Normed) -> tuple[Value, Vector | None, float]:
    if isinstance(x, Normed) and x.n_groups > 1:
        x = x.computed()
    return (x.value, x.weight, x.eps) if isinstance(x, Normed) else (x, None, 0.0)


@dataclass
class Node:
    """A recorded operation: what `Plan.add` takes, with values for slots. A value that is written again is added to."""

    kind: str
    reads: list[Value]
    writes: list[Value]
    linears: Sequence[Linear]
    norm: Vector | None
    eps: float
    cost: CostOf | None
    parameters: dict[str, Any]


class Graph:
    """Records operations in order. Its methods are the vocabulary that model files are written in."""

    def __init__(self) -> None:
        self.operations: list[Node] = []
        self.ropes: list[tuple[Angles, bool]] = []

    def record(
        self,
        kind: str,
        reads: list[Value],
        writes: list[Value],
        linears: Sequence[Linear] = (),
        *,
        norm: Vector | None = None,
        eps: float = 0.0,
        cost: CostOf | None = None,
        **parameters: Any,
    ) -> None:
        """An operation of kernels/engine/ops/; norm, eps: RMSNorm of the first value it reads. See `Plan.add`."""
        self.operations.append(Node(kind, reads, writes, linears, norm, eps, cost, parameters))

    def record_linear(
        self, x: Value | Normed, linears: list[Linear], outs: list[Value], *, accumulate: bool, scale: float = 1.0
    ) -> Value:
        value, norm, eps = parts(x)
        self.record("linear", [value], outs, linears, norm=norm, eps=eps, accumulate=accumulate, scale=scale)
        return outs[0]

    def rope(self, angles: Angles, *, interleaved: bool) -> int:
        """Declares a kind of rotary embedding, of pairs (2p, 2p + 1) if interleaved, else (p, p + n_rot / 2)."""
        self.ropes.append((angles, interleaved))
        return len(self.ropes) - 1

    def embed(self, token_embd: Linear, scale: float = 1.0) -> Value:
        """scale * the token's row of token_embd."""
        x = Value(self, token_embd.weight.cols)
        self.record("embed", [], [x], [token_embd], scale=scale)
        return x

    def rms_norm(self, x: Value | Projection | Routed, weight: Vector, eps: float, n_groups: int = 1) -> Normed:
        """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, 2019), of each of n_groups equal parts of x."""
        return Normed(x if isinstance(x, Value) else x.value(), weight, eps, n_groups)

    def linear(self, x: Value | Normed, linear: Linear) -> Projection:
        """linear.weight @ x + linear.bias."""
        return Projection(x, linear)

    def linears(self, x: Value | Normed, *linears: Linear) -> list[Value]:
        """Several projections of one input in one go, as for q, k and v."""
        outs = [Value(self, linear.weight.rows) for linear in linears]
        self.record_linear(x, list(linears), outs, accumulate=False)
        return outs

    def head_linear(
        self, x: Value, linear: Linear, *, n_head: int, passed: int = 0, first_row: int = 0, n_rows: int | None = None
    ) -> Value:
        """A matrix of each head's own times the first values of the head, [W_h @ x_h, passed], for all n_head heads.

        linear: the matrices of all heads, one after the other. passed: so many of the values of x_h that W_h does not
        meet follow its products. first_row, n_rows: of the rows that each head has; None for all.
        """
        w = linear.weight
        n_rows = w.rows // n_head if n_rows is None else n_rows
        out = Value(self, n_head * (n_rows + passed))

        def cost(n: int, _depth: int) -> OperationCost:
            size = n_head * n_rows * w.cols
            return OperationCost(((w.format, size, n * size),))

        self.record("head_linear", [x], [out], [linear], cost=cost, n_head=n_head, first_row=first_row, n_rows=n_rows)
        return out

    def glu(self, x: Value | Normed, gate: Linear, up: Linear, activation: str) -> Value:
        """activation(gate @ x) * (up @ x); "silu" (SwiGLU), "gelu" (GeGLU, tanh form), "relu"."""
        return self.record_glu(x, [gate, up], activation)

    def gated(self, x: Value | Normed, gate: Linear, values: Value, activation: str, *, column: int = 0) -> Value:
        """activation(gate @ x) * values[column : column + rows of gate]."""
        return self.record_glu(x, [gate], activation, [values], column)

    def relu_squared(self, x: Value | Normed, up: Linear) -> Value:
        """max(up @ x, 0)^2 (So et al., "Primer", 2021)."""
        return self.record_glu(x, [up], "relu")

    def record_glu(
        self, x: Value | Normed, linears: list[Linear], activation: str, values: Sequence[Value] = (), column: int = 0
    ) -> Value:
        value, norm, eps = parts(x)
        out = Value(self, linears[0].weight.rows)
        reads = [value, *values]
        self.record("glu", reads, [out], linears, norm=norm, eps=eps, activation=activation, column=column)
        return out

    def experts(
        self, x: Value | Normed, e: Experts, activation: str, *, routed_by: Value | Normed | None = None
    ) -> Routed:
        """The sum of weight * down @ (activation(gate @ x) * (up @ x)) over the experts that a token goes to.

        The router's logits decide which these are and their weights (Shazeer et al., "Outrageously Large Neural
        Networks", 2017); the shared expert, if there is one, is for every token. routed_by: what the router reads, x
        by default.
        """
        value, norm, eps = parts(x)
        logits = self.linears(x if routed_by is None else routed_by, *e.routers)
        hidden = [Value(self, e.routing.n_used * e.n_ff), Value(self, 2 * e.routing.n_used + 1)]
        if e.shared is not None:
            hidden.append(Value(self, e.shared.up.weight.rows))
        self.record(
            "experts_up", [value, *logits], hidden, e.up_matrices, norm=norm, eps=eps, cost=e.cost_of(e.up_matrices),
            **vars(e.routing), selection_bias=e.selection_bias, activation=activation, fused=e.fused,
            gate_scale=e.gate_scale, up_scale=e.up_scale,
        )  # fmt: skip
        return Routed(hidden, e)

    def attention(
        self,
        q: Value | Normed,
        k: Value | Normed | None,
        v: Value | None,
        *,
        n_head: int,
        n_head_kv: int,
        head_dim: int,
        rope: int | None,
        rope_start: int = 0,
        scale: float | None = None,
        window: int = 0,
        q_norm: Vector | None = None,
        k_norm: Vector | None = None,
        v_norm: Vector | None = None,
        keys_of: Value | None = None,
        one_row: bool = False,
        norm_after_rope: bool = False,
        eps: float = 0.0,
        softcap: float = 0.0,
        sinks: Vector | None = None,
        temperature_scale: float = 0.0,
        temperature_length: int = 0,
    ) -> Value:
        """softmax(scale * q @ K^T) @ V over the cached keys and values, k and v appended first.

        v None: k, as it is before norm and rope, is v, too; with one_row (multi-head latent attention) as it is cached,
        where a row is both. k and v None: nothing is appended, and K and V are those of an earlier attention, the one
        that gave keys_of.

        rope: None for none; it turns a head's values from rope_start on. scale defaults to 1/sqrt(head_dim). q_norm,
        k_norm, v_norm: RMSNorm of each head; of q and k before rope unless norm_after_rope, and of as many of their
        first values as the norm has. window: how many positions a query sees, its own included; 0 for all.
        softcap: scores become softcap * tanh(score / softcap), if > 0. sinks [n_head]: the score of a key more, whose
        value is 0, in each query head's softmax. temperature_scale, temperature_length: queries at position pos are
        multiplied by 1 + temperature_scale * ln(1 + floor(pos / temperature_length)), which sharpens attention.
        """
        operands = [x.computed() if isinstance(x, Normed) else x for x in (q, k, v) if x is not None]
        out = Value(self, operands[0].width)

        def cost(n: int, depth: int) -> OperationCost:
            read, pairs = attended(1, depth + n - 1, window), attended(n, depth, window)
            cached = (1 if one_row else 2) * read * n_head_kv * head_dim
            return OperationCost(cached=cached, float_macs=2 * pairs * n_head * head_dim)

        self.record(
            "attention", operands, [out], cost=cost, n_head=n_head, n_head_kv=n_head_kv, head_dim=head_dim,
            rope=-1 if rope is None else rope, rope_start=rope_start,
            scale=head_dim**-0.5 if scale is None else scale, window=window,
            q_norm=q_norm, k_norm=k_norm, v_norm=v_norm, norm_after_rope=norm_after_rope, head_eps=eps, softcap=softcap,
            sinks=sinks, keys_of=-1 if keys_of is None else self.attention_of(keys_of), one_row=one_row,
            temperature_scale=temperature_scale, temperature_length=temperature_length,
        )  # fmt: skip
        return out

    def attention_of(self, value: Value) -> int:
        """The number of the attention that gave a value, among the recorded operations."""
        return next(i for i, op in enumerate(self.operations) if op.kind == "attention" and value in op.writes)

    def split(self, x: Value, n_heads: int, *widths: int) -> list[Value]:
        """Of x [n_heads, sum of widths], so many values of each head to a value of their own [n_heads, width]."""
        outs = [Value(self, n_heads * width) for width in widths]
        self.record("split", [x], outs, n_heads=n_heads)
        return outs

    def sigmoid_gated(self, x: Value, gate: Value) -> Value:
        """x * sigmoid(gate), in place; the old value is gone."""
        self.record("gate", [gate], [x])
        return x

    def delta_net(
        self,
        qkv: Value,
        z: Value,
        beta: Value,
        alpha: Value,
        *,
        n_key_heads: int,
        n_heads: int,
        head_dim: int,
        order: str,
        width: int,
        convolution: Vector,
        a: Vector,
        dt: Vector,
        norm: Vector,
        eps: float,
    ) -> Value:
        """A gated delta net's heads (Yang, Kautz and Hatamizadeh, "Gated Delta Networks", 2024).

        qkv: n_key_heads queries, as many keys, n_heads values, all of head_dim; they go through the convolution of
        `width` inputs, and SiLU; queries and keys to length 1. Each head's state [keys, values] forgets,
        S = exp(a * softplus(alpha + dt)) * S, and learns what it does not give yet,
        S += k (sigmoid(beta) * (v - S^T k))^T. S^T q / sqrt(head_dim) is normed, and multiplied by SiLU(z). order:
        value head h has key head h % n_key_heads ("tiled") or h // (n_heads / n_key_heads) ("grouped").
        """
        out = Value(self, z.width)
        unit = np.full(head_dim, head_dim**-0.5, np.float32)  # RMSNorm with it brings a head to length 1

        def cost(n: int, _depth: int) -> OperationCost:
            state = n_heads * head_dim * head_dim
            return OperationCost(state=state, float_macs=n * (3 * state + width * qkv.width))

        self.record(
            "delta_net", [qkv, z, beta, alpha], [out], cost=cost, n_key_heads=n_key_heads, n_heads=n_heads,
            head_dim=head_dim, order=order, width=width, convolution=convolution, a=a, dt=dt,
            q_norm=unit * np.float32(head_dim**-0.5), k_norm=unit, head_norm=norm, head_eps=eps,
        )  # fmt: skip
        return out

    def short_conv(self, bcu: Value, *, width: int, convolution: Vector) -> Value:
        """c * convolution(b * u) of [b, c, u], over the last `width` tokens of each channel (LFM2)."""
        out = Value(self, bcu.width // 3)

        def cost(n: int, _depth: int) -> OperationCost:
            return OperationCost(state=(width - 1) * out.width, float_macs=n * width * out.width)

        self.record("short_conv", [bcu], [out], cost=cost, width=width, convolution=convolution)
        return out

    def mamba2(
        self,
        x: Value,
        *,
        n_heads: int,
        head_dim: int,
        n_groups: int,
        n_keys: int,
        width: int,
        convolution: Vector,
        bias: Vector | None,
        a: Vector,
        dt: Vector,
        skip: Vector,
        norm: Vector | None,
        eps: float,
    ) -> Value:
        """Mamba-2's heads (Dao and Gu, "Transformers are SSMs", 2024).

        x: [z | x | B | C | dt] of n_heads * head_dim, the same, n_groups * n_keys, the same, n_heads. x, B and C go
        through the convolution of `width` inputs, and SiLU. With dt = softplus(dt + its bias), each head's state
        forgets and learns, S = exp(a * dt) * S + B (dt * x)^T; S^T C + skip * x is multiplied by SiLU(z), and normed
        group by group if there is a norm.
        """
        out = Value(self, n_heads * head_dim)

        def cost(n: int, _depth: int) -> OperationCost:
            state = n_keys * out.width
            return OperationCost(state=state, float_macs=n * (2 * state + width * (out.width + 2 * n_groups * n_keys)))

        self.record(
            "mamba2", [x], [out], cost=cost, n_heads=n_heads, head_dim=head_dim, n_groups=n_groups, n_keys=n_keys,
            width=width, convolution=convolution, bias=bias, a=a, dt=dt, skip=skip, group_norm=norm, group_eps=eps,
        )  # fmt: skip
        return out

    def head(self, x: Normed, output: Linear, softcap: float = 0.0, scale: float = 1.0) -> None:
        """logits = scale * (output @ x), then softcap * tanh(logits / softcap) if softcap > 0. The last operation."""
        self.record("lm_head", [x.value], [], [output], norm=x.weight, eps=x.eps, scale=scale, softcap=softcap)

    def plan(self) -> Plan:
        """The recorded operations, with a slot of memory for every value."""
        slots, widths = allocate(self.operations)
        plan = Plan(widths, [(*angles, interleaved) for angles, interleaved in self.ropes])
        for op in self.operations:
            reads, writes = ([slots[value] for value in values] for values in (op.reads, op.writes))
            matrices = [(linear.weight, linear.bias) for linear in op.linears]
            plan.add(op.kind, reads, writes, matrices, norm=op.norm, eps=op.eps, cost=op.cost, **op.parameters)
        return plan


def attended(n: int, depth: int, window: int) -> int:
    """Positions that n tokens behind depth others look at, all together: itself and, with a window, window - 1 more."""
    growing = n if window == 0 else min(max(window - depth, 0), n)
    return growing * depth + growing * (growing + 1) // 2 + (n - growing) * window


def allocate(operations: list[Node]) -> tuple[dict[Value, int], list[int]]:
    """A slot for each value: one of the same width whose value is read no more, or a new one. And the slots' widths."""
    last_use = {value: i for i, operation in enumerate(operations) for value in operation.reads + operation.writes}
    slots: dict[Value, int] = {}
    widths: list[int] = []
    free: list[int] = []
    for i, operation in enumerate(operations):
        for value in operation.writes:
            if value not in slots:
                slot = next((s for s in free if widths[s] == value.width), len(widths))
                if slot == len(widths):
                    widths.append(value.width)
                else:
                    free.remove(slot)
                slots[value] = slot
        free += {slots[value] for value in operation.reads + operation.writes if last_use[value] == i}
    return slots, widths
