"""Tensors of two files side by side: what one of them lacks, shapes, types and bytes; layers alike told as one."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from subbyte.runtime.gguf.names import layer_of, split_name
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.records import Record

What: TypeAlias = Literal["only in a", "only in b", "shape", "type", "bytes"]


@dataclass(frozen=True, slots=True)
class TensorChange(Record):
    """Tensors of one kind that differ in the same way.

    kind:   the name behind the layer, such as `ffn_down.weight`; outside of the layers the whole name
    layers: ascending; empty outside of the layers
    what:   the first of these that differs
    a, b:   type, with the shape if that differs; None where there is no such tensor
    """

    kind: str
    layers: tuple[int, ...]
    what: What
    a: str | None
    b: str | None
    bytes_a: int
    bytes_b: int

    @property
    def count(self) -> int:
        """Tensors."""
        return max(len(self.layers), 1)


class _Way(NamedTuple):
    kind: str
    in_layer: bool
    what: What
    a: str | None
    b: str | None


def compare_tensors(
    a: Mapping[str, TensorInfo], b: Mapping[str, TensorInfo], other_bytes: Collection[str]
) -> tuple[TensorChange, ...]:
    """The changes, kinds in the order of the files; other_bytes: names of the tensors alike but for their bytes."""
    groups: dict[_Way, list[str]] = {}
    for name in [*a, *(name for name in b if name not in a)]:
        change = _compare(a.get(name), b.get(name), name in other_bytes)
        if change is not None:
            layer, kind = split_name(name)
            groups.setdefault(_Way(kind, layer is not None, *change), []).append(name)
    order = {kind: i for i, kind in enumerate(dict.fromkeys(way.kind for way in groups))}
    return tuple(
        TensorChange(
            way.kind, layers_of(names), way.what, way.a, way.b,
            sum(a[name].n_bytes for name in names if name in a), sum(b[name].n_bytes for name in names if name in b),
        )
        for way, names in sorted(groups.items(), key=lambda group: order[group[0].kind])
    )  # fmt: skip


def layers_of(names: Iterable[str]) -> tuple[int, ...]:
    """The layers of tensors, ascending."""
    return tuple(sorted(layer for name in names if (layer := layer_of(name)) is not None))


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers in short: `0-7,10`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def _compare(
    a: TensorInfo | None, b: TensorInfo | None, other_bytes: bool
) -> tuple[What, str | None, str | None] | None:
    if a is None or b is None:
        return ("only in b", None, _full(b)) if a is None else ("only in a", _full(a), None)
    if a.shape != b.shape:
        return "shape", _full(a), _full(b)
    if a.type != b.type:
        return "type", a.type, b.type
    return ("bytes", a.type, b.type) if other_bytes else None


def _full(tensor: TensorInfo | None) -> str | None:
    return None if tensor is None else f"{tensor.type} {' x '.join(map(str, tensor.shape))}"
