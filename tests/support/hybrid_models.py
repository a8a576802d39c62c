"""Files of models with states or shared keys, as quantizers see them: row lengths and a few counts.

Every tensor has two rows only, since types depend on their length alone; no such file computes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

Rows = dict[str, int]
"""Of each tensor, named as behind `blk.N.`, the row length; see `_shape`."""


@dataclass(frozen=True)
class Listed:
    """A model by its tensors. counts: of hyper-parameters behind the architecture's name, one or one for each layer."""

    architecture: str
    layers: tuple[Rows, ...]
    counts: dict[str, int | list[int]]
    outside: Rows

    def write(self, path: Path, rng: np.random.Generator | None = None) -> None:
        """As a GGUF file of zeros, or of random numbers, in F32."""
        w = GGUFWriter(str(path), self.architecture)
        for key, value in {"block_count": len(self.layers), **self.counts}.items():
            name = f"{self.architecture}.{key}"
            w.add_array(name, value) if isinstance(value, list) else w.add_uint32(name, value)
        n_expert = self.counts.get("expert_count", 0)
        assert isinstance(n_expert, int)
        tensors = {
            **self.outside,
            **{f"blk.{i}.{n}": row for i, layer in enumerate(self.layers) for n, row in layer.items()},
        }
        for name, row in tensors.items():
            shape = _shape(name, row, n_expert)
            data = np.zeros(shape, np.float32) if rng is None else rng.standard_normal(shape, np.float32)
            w.add_tensor(name if name.endswith(("ssm_a", "ssm_d", ".bias")) else f"{name}.weight", data)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()


def _shape(name: str, row: int, n_expert: int) -> tuple[int, ...]:
    """Norms, biases and decays are vectors; experts are of three dimensions."""
    if name.endswith(("norm", ".bias", "ssm_a")):
        return (row,)
    if name.endswith("_exps"):
        return n_expert, 2, row
    return 2, row


def _of(row: int, *names: str) -> Rows:
    return dict.fromkeys(names, row)


NORMS = _of(256, "attn_norm", "ffn_norm")
DENSE = {**_of(256, "ffn_gate", "ffn_up"), "ffn_down": 512}
EXPERTS = {**_of(256, "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps"), "ffn_down_exps": 256}
SHARED = {**_of(256, "ffn_gate_inp_shexp", "ffn_gate_shexp", "ffn_up_shexp"), "ffn_down_shexp": 512}
ATTENTION = {**_of(256, "attn_q", "attn_k", "attn_v"), "attn_output": 512}
DELTA_NET = {**_of(256, "attn_qkv", "attn_gate", "ssm_alpha", "ssm_beta"), "ssm_conv1d": 4, "ssm_out": 512}
DELTA_NET |= _of(16, "ssm_a", "ssm_dt.bias", "ssm_norm")
SHORT_CONV = {"shortconv.conv": 3, **_of(416, "shortconv.in_proj", "shortconv.out_proj")}
MAMBA = {
    "ssm_in": 288,
    "ssm_conv1d": 4,
    "ssm_conv1d.bias": 64,
    "ssm_out": 512,
    **_of(16, "ssm_a", "ssm_d", "ssm_dt.bias"),
}
TIED = {**_of(256, "token_embd", "output_norm")}
UNTIED = {**TIED, "output": 256}

QWEN35 = (NORMS | DELTA_NET | DENSE,) * 3 + (NORMS | ATTENTION | DENSE,)
PREDICTION = NORMS | ATTENTION | DENSE | {"nextn.eh_proj": 512, **_of(256, "nextn.enorm", "nextn.hnorm")}
QWEN35_MOE = tuple(
    {name: row for name, row in layer.items() if name not in DENSE} | EXPERTS | SHARED for layer in QWEN35
)
LFM2_MOE = (NORMS | SHORT_CONV | DENSE, *(NORMS | SHORT_CONV | EXPERTS, NORMS | ATTENTION | EXPERTS) * 4)
NEMOTRON = (NORMS | MAMBA, {"attn_norm": 256, "ffn_up": 256, "ffn_down": 416}, NORMS | MAMBA, NORMS | ATTENTION) * 4
GEMMA4 = NORMS | ATTENTION | DENSE | {"inp_gate": 256, "proj": 32, "post_norm": 256}
BORROWING = {name: row for name, row in GEMMA4.items() if name not in ("attn_k", "attn_v")}
GEMMA4_OUTSIDE = {**TIED, "per_layer_token_embd": 384, "per_layer_model_proj": 256, "per_layer_proj_norm": 32}

# Layer 0 has no KV heads where each layer has a number of its own; eight experts, by which llama.cpp knows Mixtral; a
# block for further tokens; embeddings of each layer.
HYBRIDS = {
    "qwen35": Listed(
        "qwen35", (*QWEN35 * 5, PREDICTION), {"attention.head_count": 8, "attention.head_count_kv": 2}, UNTIED
    ),
    "qwen35moe": Listed(
        "qwen35moe", QWEN35_MOE * 3, {"attention.head_count": 4, "attention.head_count_kv": 2, "expert_count": 4}, TIED
    ),
    "lfm2moe": Listed(
        "lfm2moe", LFM2_MOE,
        {"attention.head_count": 4, "attention.head_count_kv": [0] + [0, 1] * 4, "expert_count": 8}, TIED,
    ),
    "nemotron_h": Listed(
        "nemotron_h", NEMOTRON, {"attention.head_count": 4, "attention.head_count_kv": [0, 0, 0, 2] * 4}, UNTIED
    ),
    "falcon-h1": Listed(
        "falcon-h1", (NORMS | MAMBA | ATTENTION | DENSE,) * 9,
        {"attention.head_count": 8, "attention.head_count_kv": 2}, TIED,
    ),
    "gemma4": Listed(
        "gemma4", (GEMMA4,) * 6 + (BORROWING,) * 4, {"attention.head_count": 4, "attention.head_count_kv": 1},
        GEMMA4_OUTSIDE,
    ),
}  # fmt: skip
