"""Which block type each matrix of a quantized file takes: one type for all, or the mixtures that quantizers write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from subbyte.kernels import FORMATS


class Place(NamedTuple):
    """Where a matrix stands. tensor: `attn_q`, … or `output`, `token_embd` (a tied one counts as `output`).

    gqa: query heads that share a KV head.
    """

    tensor: str
    layer: int
    n_layer: int
    gqa: int


Mix = Callable[[Place], str]


def _pure(type: str) -> Mix:
    """One type for all, as llama.cpp writes Q4_0 and Q6_K: only the output matrix is Q6_K."""
    return lambda place: "Q6_K" if place.tensor == "output" else type


def _q4_k_m(place: Place) -> str:
    """llama.cpp's Q4_K_M: Q6_K for half of the layers, both ends among them, where errors hurt most."""
    eighth = place.n_layer // 8
    early, late = place.layer < eighth, place.layer >= 7 * place.n_layer // 8
    often = early or late or (place.layer - eighth) % 3 == 2
    return "Q6_K" if place.tensor == "output" or (place.tensor in ("attn_v", "ffn_down") and often) else "Q4_K"


def _dynamic_gate(base: str, *, output: str, edge: str, middle: str) -> Mix:
    """The rule of Mungert's DynamicGate files: ffn_down is finer in the outer quarters of the layers.

    output: the type of attn_output, and of attn_v where fewer than 4 heads share one.
    """

    def choose(place: Place) -> str:
        quarter = place.n_layer // 4
        outer = place.layer < quarter or place.layer >= place.n_layer - quarter
        special = {
            "token_embd": "Q5_K",
            "output": "Q5_K",
            "attn_v": "IQ4_XS" if place.gqa >= 4 else output,
            "attn_output": output,
            "ffn_down": edge if outer else middle,
        }
        return special.get(place.tensor, base)

    return choose


_COARSE = {"output": "IQ3_S", "edge": "IQ3_S", "middle": "IQ2_XXS"}
_FINE = {"output": "IQ3_S", "edge": "IQ4_XS", "middle": "IQ3_S"}

MIXES: Mapping[str, Mix] = {
    **{name: _pure(name) for name in FORMATS},
    "Q4_K_M": _q4_k_m,
    "DynamicGate-IQ1_S": _dynamic_gate("IQ1_S", **{**_COARSE, "output": "IQ3_XXS"}),
    "DynamicGate-IQ1_M": _dynamic_gate("IQ1_M", **{**_COARSE, "output": "IQ3_XXS"}),
    "DynamicGate-IQ2_XXS": _dynamic_gate("IQ2_XXS", **_COARSE),
    "DynamicGate-IQ2_XS": _dynamic_gate("IQ2_XS", **_COARSE),
    "DynamicGate-IQ2_S": _dynamic_gate("IQ2_XS", **_FINE),
    "DynamicGate-IQ2_M": _dynamic_gate("IQ2_S", **_FINE),
}
"""By name: every block type, and the mixtures. Q6_K is also the name of llama.cpp's mixture of that name."""
