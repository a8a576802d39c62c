"""Routed experts in plain numpy, token by token and expert by expert: the oracle of the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def expert_tensors(s: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and numpy shapes of a layer's routed experts, and of the shared one if s has n_ff_shexp."""
    n, n_expert, ff = s["n_embd"], s["n_expert"], s["n_ff_exp"]
    block: dict[str, tuple[int, ...]] = {
        "ffn_gate_inp": (n_expert, n), "ffn_gate_exps": (n_expert, ff, n), "ffn_up_exps": (n_expert, ff, n),
        "ffn_down_exps": (n_expert, n, ff),
    }  # fmt: skip
    if "n_ff_shexp" in s:
        ff = s["n_ff_shexp"]
        block |= {"ffn_gate_shexp": (ff, n), "ffn_up_shexp": (ff, n), "ffn_down_shexp": (n, ff)}
    return block


def sigmoid(x: F64) -> F64:
    return 1 / (1 + np.exp(-x))


def softmax(x: F64) -> F64:
    p = np.exp(x - x.max())
    total: F64 = p / p.sum()
    return total


def swiglu(gate: F64, up: F64) -> F64:
    return gate * sigmoid(gate) * up


def clamped_swiglu(gate: F64, up: F64) -> F64:
    """gpt-oss's."""
    gate = np.minimum(gate, 7)
    return gate * sigmoid(1.702 * gate) * (np.clip(up, -7, 7) + 1)


def choose(
    z: F64,
    n_used: int,
    *,
    gating: str = "softmax",
    bias: F32 | float = 0,
    n_group: int = 1,
    n_group_used: int = 1,
    renormalize: bool = True,
    scale: float = 1.0,
) -> dict[int, float]:
    """Weights of the experts that a token with the router's logits z goes to."""
    p = softmax(z) if gating == "softmax" else sigmoid(z) if gating == "sigmoid" else z
    scores = (p + bias).reshape(n_group, -1)
    best = np.sort(scores, axis=1)[:, -2:].sum(axis=1)
    scores[np.argsort(best)[: n_group - n_group_used]] = -np.inf
    chosen = np.argsort(scores.ravel())[-n_used:]
    weights = softmax(p[chosen]) if gating == "softmax_of_chosen" else p[chosen]
    if renormalize:
        weights = weights / max(weights.sum(), 2**-14)
    return dict(zip(chosen.tolist(), (weights * scale).tolist(), strict=True))


def network(x: F64, b: Mapping[str, F32], kind: str, activation: Any, expert: int | None = None) -> F64:
    """One feed-forward network of a layer: of kind "exps" the given expert, or the "shexp"."""

    def part(name: str, x: F64) -> F64:
        matrix, bias = (b.get(f"ffn_{name}_{kind}{end}") for end in ("", ".bias"))
        scale = b.get(f"ffn_{name}_{kind}.scale")
        if expert is not None:
            matrix, bias, scale = (None if t is None else t[expert] for t in (matrix, bias, scale))
        if matrix is None:
            return part("up", x)  # an activation without a gate
        product: F64 = x @ matrix.T * (1 if scale is None else scale) + (0 if bias is None else bias)
        return product

    hidden: F64 = activation(part("gate", x), part("up", x))
    return part("down", hidden)


def routed_experts(
    x: F64,
    b: Mapping[str, F32],
    n_used: int,
    activation: Any = swiglu,
    *,
    routed_by: F64 | None = None,
    **routing: Any,
) -> F64:
    """What a layer's experts make of x [n, n_embd]; b: its tensors; routing: as `choose` has it.

    routed_by: what the router reads, x by default.
    """
    out = np.zeros_like(x)
    for end in ("", ".bias"):
        if f"ffn_gate_up_exps{end}" in b:
            gate, up = np.split(b[f"ffn_gate_up_exps{end}"], 2, axis=1)
            b = {**b, f"ffn_gate_exps{end}": gate, f"ffn_up_exps{end}": up}
    for t, row in enumerate(x):
        z = (row if routed_by is None else routed_by[t]) @ b["ffn_gate_inp"].T.astype(np.float64) + b.get(
            "ffn_gate_inp.bias", 0
        )
        for expert, weight in choose(z, n_used, bias=b.get("exp_probs_b.bias", 0), **routing).items():
            out[t] += weight * network(row, b, "exps", activation, expert)
    if "ffn_up_shexp" in b:
        open = (
            sigmoid(x @ b["ffn_gate_inp_shexp"].T.astype(np.float64)) if "ffn_gate_inp_shexp" in b else np.ones(len(x))
        )
        out += open.reshape(-1, 1) * network(x, b, "shexp", activation)
    return out
