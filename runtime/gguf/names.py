"""Tensor names: `blk.{layer}.{kind}.{suffix}` in a layer, `{kind}.{suffix}` outside of the layers.

Names and kinds (`attn_q`, `ffn_down`, `token_embd`) are the GGUF specification's, suffixes are `weight` and `bias`.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

_KINDS = (
    "attn_q", "attn_q_a", "attn_q_b", "attn_k", "attn_v", "attn_qkv", "attn_kv_a_mqa", "attn_kv_b", "attn_k_b",
    "attn_v_b", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
    "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_gate_up_exps", "ffn_down_exps",
    "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp",
)  # fmt: skip
_IN_LAYER = re.compile(r"blk\.(0|[1-9][0-9]{0,4})\.(.+)", re.DOTALL)


class TensorName(NamedTuple):
    """A tensor's name taken apart. layer: None outside of the layers. rest: what follows, suffix included."""

    layer: int | None
    rest: str


def split_name(name: str) -> TensorName:
    """The layer of a tensor and the rest of its name: `blk.7.attn_q.weight` is 7 and `attn_q.weight`."""
    match = _IN_LAYER.fullmatch(name)
    return TensorName(None, name) if match is None else TensorName(int(match[1]), match[2])


def layer_of(name: str) -> int | None:
    """The layer of a tensor; None outside of the layers."""
    return split_name(name).layer


def kind_of(name: str) -> str:
    """The kind of a tensor, the same in all layers: `attn_q` of `blk.7.attn_q.weight`, `output` of `output.weight`."""
    return split_name(name).rest.removesuffix(".weight").removesuffix(".bias")


def is_routed(name: str) -> bool:
    """Whether a tensor holds experts that a router chooses from, one behind the other: `blk.7.ffn_up_exps.weight`."""
    return "_exps." in name


def in_layer_order(kinds: Collection[str]) -> list[str]:
    """Kinds of matrices in the order in which a layer uses them; unknown ones behind, in the order given."""
    return [*(kind for kind in _KINDS if kind in kinds), *(kind for kind in kinds if kind not in _KINDS)]
