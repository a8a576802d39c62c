"""Tensor names: `blk.{layer}.{kind}.{suffix}` in a layer, `{kind}.{suffix}` outside of the layers.

Names and kinds (`attn_q`, `ffn_down`, `token_embd`) are the GGUF specification's, suffixes are `weight` and `bias`.
"""

import re
from typing import NamedTuple

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
