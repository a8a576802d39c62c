"""Weights that are not finite, or make what is computed not finite: never an answer, always an error."""

import math
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from hostile import model, section
from tiny_models import N_VOCAB

from subbyte.errors import NumericError

MATRICES = ["token_embd", "blk.1.attn_q", "blk.1.attn_k", "blk.1.attn_v", "blk.1.attn_output", "blk.1.ffn_gate",
            "blk.1.ffn_up", "blk.1.ffn_down", "output"]  # fmt: skip
NORMS = ["blk.1.attn_norm", "blk.1.ffn_norm", "output_norm"]
DIMS = {"token_embd": (N_VOCAB, 64), "output": (N_VOCAB, 64), "blk.1.attn_k": (32, 64), "blk.1.attn_v": (32, 64),
        "blk.1.ffn_gate": (96, 64), "blk.1.ffn_up": (96, 64), "blk.1.ffn_down": (64, 96)}  # fmt: skip
WHERE = {"Q8_0": slice(34, 36), "Q4_1": slice(2, 4)}  # the scale of the second block, the min of the first


def damaged(name: str, kind: str, bad: float, rows: slice) -> Any:
    """A tensor in whose rows one scale (or weight) is `bad`."""
    if name in NORMS:
        vector = np.ones(64, np.float32)
        vector[17] = bad
        return vector
    values = np.random.default_rng(1).standard_normal(DIMS.get(name, (64, 64))).astype(np.float32)
    matrix = quantize(values, GGMLQuantizationType[kind])
    if kind == "F32":
        matrix[rows, 40] = bad
        return matrix
    matrix.view(np.uint8)[rows, WHERE[kind]] = np.frombuffer(np.float16(bad).tobytes(), np.uint8)
    return matrix, kind


def _case(name: str, kind: str, bad: float) -> tuple[Any, ...]:
    rows = slice(None) if name == "token_embd" else slice(3, 4)  # any token of a text
    tensors = {f"{name}.weight": damaged(name, kind, bad, rows)}
    return f"{name} {kind} {bad}", model(types=[kind], tensors=tensors), NumericError, "not finite"


def _mixture_case(name: str, bad: float) -> tuple[Any, ...]:
    """One number of each of its experts is damaged, or of a router."""
    shape = EXPERT_DIMS[name]
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    values[..., -1] = bad
    tensors = {name if name.endswith(".bias") else f"{name}.weight": values}
    return f"{name} {bad}", model("bailingmoe2", tensors=tensors), NumericError, "not finite"


EXPERT_DIMS: dict[str, tuple[int, ...]] = {
    "blk.1.ffn_gate_inp": (8, 64), "blk.1.exp_probs_b.bias": (8,), "blk.1.ffn_gate_exps": (8, 32, 64),
    "blk.1.ffn_up_exps": (8, 32, 64), "blk.1.ffn_down_exps": (8, 64, 32), "blk.1.ffn_up_shexp": (32, 64),
}  # fmt: skip

CASES = section("N", [
    *[_case(name, *kind) for name in MATRICES for kind in (("F32", math.nan), ("Q8_0", math.inf), ("Q4_1", -math.inf))],
    *[_case(name, "F32", bad) for name in NORMS for bad in (math.nan, math.inf)],
    *[_mixture_case(name, bad) for name in EXPERT_DIMS for bad in (math.nan, math.inf)],
])  # fmt: skip
