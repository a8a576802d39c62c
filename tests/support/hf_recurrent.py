"""Recurrent layers of transformers as llama.cpp's converter writes them: names, decays, the order of heads, keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from recurrent_oracle import DELTA_NETS, HYBRIDS, MAMBAS, SHORT_CONVS

F32 = NDArray[np.float32]
NAMES = {  # of modules that gguf-py's map lacks, or has for other parts
    "A_log": "ssm_a", "D": "ssm_d", "dt_bias": "ssm_dt.bias", "conv1d.weight": "ssm_conv1d.weight",
    "conv1d.bias": "ssm_conv1d.bias", "norm.weight": "ssm_norm.weight", "in_proj.weight": "ssm_in.weight",
    "out_proj.weight": "ssm_out.weight", "in_proj_qkv.weight": "attn_qkv.weight",
    "in_proj_z.weight": "attn_gate.weight", "in_proj_b.weight": "ssm_beta.weight",
    "in_proj_a.weight": "ssm_alpha.weight", "in_proj_ba.weight": "ssm_ba.weight",
}  # fmt: skip
SHORT_CONV_NAMES = {
    "conv.weight": "shortconv.conv.weight", "in_proj.weight": "shortconv.in_proj.weight",
    "out_proj.weight": "shortconv.out_proj.weight",
}  # fmt: skip
FALCON = {  # modules, and the multipliers that go into their weights
    "embed_tokens": ("embedding_multiplier",), "lm_head": ("lm_head_multiplier",),
    "q_proj": ("attention_in_multiplier",), "v_proj": ("attention_in_multiplier",),
    "k_proj": ("attention_in_multiplier", "key_multiplier"), "o_proj": ("attention_out_multiplier",),
    "out_proj": ("ssm_out_multiplier",),
}  # fmt: skip


def is_recurrent(name: str, arch: str) -> bool:
    """Whether a parameter is of the recurrent part of a layer."""
    if arch in SHORT_CONVS:
        return ".conv." in name
    mixer = ".linear_attn." if arch in DELTA_NETS else ".mamba." if arch != "nemotron_h" else ".mixer."
    return mixer in name and name.partition(mixer)[2] in {*NAMES, "in_proj_qkvz.weight"}


def recurrent_tensors(name: str, x: F32, arch: str, config: Any) -> Iterator[tuple[str, F32]]:
    """GGUF names and values of such a parameter."""
    leaf = ".".join(name.split(".")[4:])
    block = f"blk.{name.split('.')[2]}."
    if leaf == "in_proj_qkvz.weight":  # of each key head: its query, key, values and gates
        groups, d = config.linear_num_key_heads, config.linear_key_head_dim
        rows = config.linear_num_value_heads // groups * config.linear_value_head_dim
        parts = np.split(x.reshape(groups, -1, x.shape[1]), [d, 2 * d, 2 * d + rows], axis=1)
        q, k, v, z = (part.reshape(-1, x.shape[1]) for part in parts)
        yield f"{block}attn_qkv.weight", np.concatenate([q, k, v])
        yield f"{block}attn_gate.weight", z
        return
    x = x.squeeze(1) if x.ndim == 3 else -np.exp(x) if leaf == "A_log" else x
    if arch in ("qwen35", "qwen35moe"):
        x = tiled(leaf, x, config)
    if arch in MAMBAS and leaf in ("A_log", "D"):
        x = x[:, None]
    if arch in MAMBAS and leaf == "norm.weight":
        x = x.reshape(n_groups(config), -1)
    yield block + (SHORT_CONV_NAMES if arch in SHORT_CONVS else NAMES)[leaf], np.ascontiguousarray(x)


def tiled(leaf: str, x: F32, config: Any) -> F32:
    """Value heads in the order that all first ones of the key heads come first, then all second ones."""
    groups, d = config.linear_num_key_heads, config.linear_value_head_dim

    def moved(rows: F32, size: int) -> F32:
        out: F32 = rows[np.arange(len(rows)).reshape(groups, -1, size).swapaxes(0, 1).ravel()]
        return out

    first = 2 * groups * config.linear_key_head_dim
    if leaf in ("in_proj_qkv.weight", "conv1d.weight"):
        return np.concatenate([x[:first], moved(x[first:], d)])
    if leaf == "out_proj.weight":
        columns: F32 = moved(x.T, d).T
        return columns
    if leaf == "norm.weight":
        return x
    return moved(x, d if leaf == "in_proj_z.weight" else 1)


def n_groups(config: Any) -> int:
    names = ("mamba_n_groups", "n_groups", "linear_num_key_heads")
    return int(next(getattr(config, name) for name in names if hasattr(config, name)))


def with_multipliers(name: str, x: F32, config: Any) -> F32:
    """A parameter of Falcon-H1 with the multipliers that stand behind it."""
    part = name.split(".")[-2]
    for multiplier in FALCON.get(part, ()):
        x = x * getattr(config, multiplier)
    if part in ("gate_proj", "down_proj"):
        x = x * config.mlp_multipliers[part == "down_proj"]
    if part == "in_proj":
        inner, bc = config.mamba_d_ssm, config.mamba_n_groups * config.mamba_d_state
        sizes = (inner, inner, bc, bc, config.mamba_n_heads)
        x = x * config.ssm_in_multiplier * np.repeat(config.ssm_multipliers, sizes)[:, None]
    return x.astype(np.float32)


def kv_heads(config: Any, arch: str) -> int | list[int]:
    """KV heads; of each layer, where layers without attention are told by them."""
    n: int = config.num_key_value_heads
    if not by_heads(arch):
        return n
    return [n if "attention" in kind and "linear" not in kind else 0 for kind in layer_kinds(config)]


def by_heads(arch: str) -> bool:
    return arch in HYBRIDS and arch not in DELTA_NETS and arch != "falcon-h1"


def layer_kinds(config: Any) -> list[str]:
    return list(getattr(config, "layer_types", None) or config.layers_block_type)


def add_recurrent(w: gguf.GGUFWriter, arch: str, config: Any, values: dict[str, F32]) -> None:
    """The keys of recurrent layers; their sizes are those of the tensors."""
    if arch in SHORT_CONVS:
        w.add_shortconv_l_cache(next(x for name, x in values.items() if "shortconv.conv" in name).shape[1])
    if arch not in (*DELTA_NETS, *MAMBAS):
        return
    channels, width = next(x for name, x in values.items() if name.endswith("ssm_conv1d.weight")).shape
    inner = next(x for name, x in values.items() if name.endswith("ssm_out.weight")).shape[1]
    heads, groups = len(next(x for name, x in values.items() if name.endswith("ssm_a"))), n_groups(config)
    w.add_ssm_conv_kernel(width)
    w.add_ssm_inner_size(inner)
    w.add_ssm_time_step_rank(heads)
    w.add_ssm_group_count(groups)
    w.add_ssm_state_size((channels - inner) // (2 * groups))
    if arch in DELTA_NETS:
        w.add_array(f"{arch}.attention.recurrent_layers", ["linear" in kind for kind in layer_kinds(config)])
