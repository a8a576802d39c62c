"""The tensors in which a model differs from its base, in groups whose sensitivity is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from subbyte.kernels import Operation
from subbyte.runtime.evaluation.forward import layer_starts, self_contained
from subbyte.runtime.gguf.names import is_routed, kind_of, layer_of
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.model import Model

By: TypeAlias = Literal["tensor", "kind", "layer", "part"]
"""One tensor; all of a kind, such as ffn_down; all of a layer; or of a part: attention, experts, shared experts, …"""

_HEAD = ("output", "output_norm")  # behind all layers


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Tensors of a model by name. start: the layer to begin with, n_layer for the head; None: with the embeddings."""

    name: str
    tensors: Mapping[str, TensorInfo]
    start: int | None
    types: str
    base_bytes: int
    n_bytes: int


def differing_groups(base: Model, model: Model, by: By) -> list[Group]:
    """Groups of the tensors that are not equal in both files, those that begin first in front.

    Raises ValueError where the files don't hold the same tensors.
    """
    ours, theirs = model.gguf.tensors, base.gguf.tensors
    if lone := sorted(ours.keys() ^ theirs.keys()):
        where = model.path if lone[0] in ours else base.path
        raise ValueError(f"only {where} has a tensor {lone[0]}; blame needs files with the same tensors")
    groups: dict[str, list[str]] = {}
    model.gguf.check_unchanged()
    base.gguf.check_unchanged()
    for name in ours:
        if ours[name].shape != theirs[name].shape:
            shapes = f"{list(ours[name].shape)} in {model.path}, {list(theirs[name].shape)} in {base.path}"
            raise ValueError(f"tensor {name} has shape {shapes}; blame needs equal shapes")
        if not _equal(ours[name], theirs[name]):
            groups.setdefault(_group_name(name, by), []).append(name)
    made = [make_group(group, names, base, model) for group, names in groups.items()]
    return sorted(made, key=lambda group: -1 if group.start is None else group.start)


def make_group(name: str, names: Iterable[str], base: Model, model: Model) -> Group:
    """The tensors of these names as a group."""
    ours = {tensor: model.gguf.tensors[tensor] for tensor in names}
    theirs = [base.gguf.tensors[tensor] for tensor in ours]
    return Group(
        name=name,
        tensors=ours,
        start=start_of(ours, base.plan.operations),
        types=f"{_types(theirs)} → {_types(ours.values())}",
        base_bytes=sum(tensor.n_bytes for tensor in theirs),
        n_bytes=sum(tensor.n_bytes for tensor in ours.values()),
    )


def _group_name(name: str, by: By) -> str:
    layer = layer_of(name)
    if by == "part":
        return part_of(name)
    return name if by == "tensor" else f"blk.{layer}" if by == "layer" and layer is not None else kind_of(name)


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to, over all layers; its kind where it is none of these."""
    kind = kind_of(name)
    if kind.endswith("_norm"):
        return "norms"
    if kind.startswith(("ffn_gate_inp", "exp_probs_b")):
        return "router"
    if is_routed(name):
        return "experts"
    if kind.endswith("_shexp"):
        return "shared experts"
    parts = {
        "attn_": "attention", "ffn_": "feed-forward", "token_embd": "embeddings", "ssm_": "recurrent layers",
        "shortconv": "recurrent layers", **dict.fromkeys(("per_layer_", "inp_gate", "proj"), "per-layer embeddings"),
    }  # fmt: skip
    return next((part for start, part in parts.items() if kind.startswith(start)), kind)


def start_of(names: Iterable[str], operations: Sequence[Operation]) -> int | None:
    """The last layer that a run may begin with, from the base's hidden state, to have all that these tensors change."""
    start = len(layer_starts(operations)) - 1
    for name in names:
        layer = layer_of(name)
        if layer is None and kind_of(name) not in _HEAD:
            return None
        start = start if layer is None else min(start, layer)  # a file may hold layers that are not run
    return self_contained(operations, start)


def _types(tensors: Iterable[TensorInfo]) -> str:
    return " ".join(sorted({tensor.type for tensor in tensors}))


def _equal(a: TensorInfo, b: TensorInfo) -> bool:
    return a.type == b.type and np.array_equal(np.frombuffer(a.data, np.uint8), np.frombuffer(b.data, np.uint8))
