"""A diff as tables: for the terminal, and as HTML for notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from subbyte.runtime.gguf.names import split_name
from subbyte.runtime.inspect.diff import Diff, Side
from subbyte.runtime.inspect.diff_metadata import MAX_TEXT, ArrayChange, TextChange
from subbyte.runtime.inspect.diff_tensors import TensorChange, layers_of, ranges
from subbyte.runtime.inspect.diff_text import MAX_LINES
from subbyte.runtime.inspect.diff_weights import WeightError, ratio

MAX_KEY = 64  # characters; a file's may have 65535


class Table(NamedTuple):
    """Columns whose heading ends with > have their cells at the right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(diff: Diff, *, each_tensor: bool = False) -> Iterator[Table]:
    """The files in numbers, then what differs. each_tensor: weight errors of every tensor instead of every kind."""
    yield Table("", ("", "file"), [("a", diff.a.path), ("b", diff.b.path)])
    yield Table("", ("", "a>", "b>", "change>"), list(_sides(diff.a, diff.b)))
    if diff.values:
        pairs = [(sign, _short(of.key), value) for of in diff.values for sign, value in (("-", of.a), ("+", of.b))]
        yield Table("metadata", ("", "key", "value"), [(*place, value) for *place, value in pairs if value is not None])
    if diff.arrays:
        yield Table("arrays", ("key", "items", "differ>", "the first of them"), [_array(of) for of in diff.arrays])
    if diff.tensors:
        yield Table("tensors", ("kind", "change", "tensors>", "bytes>", "layers"), [_tensor(of) for of in diff.tensors])
    if diff.errors:
        title = "relative error of the weights"
        if each_tensor:
            yield Table(title, ("error>", "types", "tensor"), list(_each(diff.errors)))
        else:
            yield Table(title, ("kind", "types", "tensors>", "error>", "largest>", "layers"), list(_kinds(diff.errors)))


def as_html(diff: Diff) -> str:
    """For notebooks."""
    parts = []
    for title, columns, rows in tables(diff):
        heads = "".join(f"<th>{escape(column.removesuffix('>'))}</th>" for column in columns)
        body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
        parts.append(f"<table><caption>{escape(title)}</caption><tr>{heads}</tr>{body}</table>")
    for text in diff.texts:
        lines = "\n".join(map(_html, text.lines))
        parts.append(f"<p>{_html(title_of(text))}</p><pre>{lines}</pre>")
    return "".join(parts) + ("<p>no difference</p>" if diff.same else "")


def title_of(text: TextChange) -> str:
    """What goes above the changed lines of a text."""
    part = f" in the first {MAX_TEXT} bytes" if max(text.bytes_a, text.bytes_b) > MAX_TEXT else ""
    cut = f"; the first {MAX_LINES} lines of that" if len(text.lines) == MAX_LINES else ""
    return f"{_short(text.key)}: {text.n_removed} lines removed, {text.n_added} added{part}{cut}"


def _sides(a: Side, b: Side) -> Iterator[tuple[str, ...]]:
    yield "bytes", str(a.n_bytes), str(b.n_bytes), _signed(b.n_bytes - a.n_bytes)
    yield "tensors", str(a.n_tensors), str(b.n_tensors), _signed(b.n_tensors - a.n_tensors)
    yield "weights", str(a.n_weights), str(b.n_weights), _signed(b.n_weights - a.n_weights)
    if a.bits_per_weight is not None and b.bits_per_weight is not None:
        change = b.bits_per_weight - a.bits_per_weight
        bits = (f"{side.bits_per_weight:.4f}" for side in (a, b))
        yield "bits/weight", *bits, f"{change:+.4f}" if change else ""


def _array(of: ArrayChange) -> tuple[str, ...]:
    items = str(of.count_a) if of.count_a == of.count_b else f"{of.count_a} -> {of.count_b}"
    return _short(of.key), items, str(of.n_differing), ", ".join(f"[{i}] {a} -> {b}" for i, a, b in of.first)


def _tensor(of: TensorChange) -> tuple[str, ...]:
    change = {
        "only in a": f"{of.a} only in a", "only in b": f"{of.b} only in b", "bytes": f"{of.a}, other bytes",
    }.get(of.what, f"{of.a} -> {of.b}")  # fmt: skip
    return _kind(of.kind), change, str(of.count), _signed(of.bytes_b - of.bytes_a), ranges(of.layers)


def _kinds(errors: Sequence[WeightError]) -> Iterator[tuple[str, ...]]:
    """A row for the tensors of each kind and type together, with the largest error of a single one; and for all."""
    groups: dict[str, dict[str, list[WeightError]]] = {}
    for of in errors:
        groups.setdefault(split_name(of.tensor).rest, {}).setdefault(_types(of), []).append(of)
    for kind, types, members in ((kind, *of) for kind, by_type in groups.items() for of in by_type.items()):
        together, largest = f"{_together(members):.5f}", f"{max(of.relative for of in members):.5f}"
        layers = ranges(layers_of(of.tensor for of in members))
        yield _kind(kind), types, str(len(members)), together, largest, layers
    yield "all of these", "", str(len(errors)), f"{_together(errors):.5f}", "", ""


def _each(errors: Sequence[WeightError]) -> Iterator[tuple[str, ...]]:
    """A row for each tensor, the worst first."""
    for of in sorted(errors, key=lambda of: (math.isfinite(of.relative), -of.relative)):
        yield f"{of.relative:.5f}", _types(of), _kind(of.tensor)


def _kind(name: str) -> str:
    return name.removesuffix(".weight")


def _types(of: WeightError) -> str:
    return of.type_a if of.type_a == of.type_b else f"{of.type_a} -> {of.type_b}"


def _together(errors: Sequence[WeightError]) -> float:
    """The relative error of several tensors as if they were one."""
    wrong, size = (
        math.sqrt(sum(of.n_weights * rms**2 for of, rms in pairs))
        for pairs in ([(of, of.rms_error) for of in errors], [(of, of.rms) for of in errors])
    )
    return ratio(wrong, size)


def _signed(change: int) -> str:
    return f"{change:+d}" if change else ""


def _short(key: str) -> str:
    return key if len(key) <= MAX_KEY else key[:MAX_KEY] + "…"


def _html(text: str) -> str:
    return escape(text if text.isprintable() else ascii(text)[1:-1])
