"""What differs between two GGUF files: metadata, texts, tokenizer, tensors and weights; as records and as tables."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.names import split_name
from subbyte.runtime.gguf.tensors import size_of
from subbyte.runtime.inspect.diff_metadata import MAX_TEXT, ArrayChange, TextChange, ValueChange, compare_metadata
from subbyte.runtime.inspect.diff_tensors import TensorChange, compare_tensors, layers_of, ranges
from subbyte.runtime.inspect.diff_text import MAX_LINES
from subbyte.runtime.inspect.diff_weights import WeightError, differing, ratio, weight_errors
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.tables import Table, html
from subbyte.runtime.types import StepProgress

MAX_KEY = 64  # characters; a file's may have 65535


@dataclass(frozen=True, slots=True)
class Side(Record):
    """One of the files in numbers; bits_per_weight counts all tensors, None without any."""

    path: str
    n_bytes: int
    n_tensors: int
    n_weights: int
    bits_per_weight: float | None


@dataclass(frozen=True, slots=True)
class Diff(Record, Tabular):
    """All differences of b from a. Order and place of keys and tensors in the files don't count.

    values:  keys with a single value, or that only one file has
    texts:   texts of several lines or long ones, the chat template above all
    arrays:  keys that hold arrays in both, such as the vocabulary
    tensors: by kind, what differs in the same way in several layers as one
    errors:  of the weights, for each tensor that differs and has the same shape; None if that was not asked for
    """

    a: Side
    b: Side
    values: tuple[ValueChange, ...]
    texts: tuple[TextChange, ...]
    arrays: tuple[ArrayChange, ...]
    tensors: tuple[TensorChange, ...]
    errors: tuple[WeightError, ...] | None

    def records(self) -> list[dict[str, Any]]:
        """A difference each; what a and b are depends on the part: values, bytes, items, types."""
        return list(_records(self))

    @property
    def same(self) -> bool:
        """Whether the files hold the same model: equal metadata, and equal tensors to the last byte."""
        return not (self.values or self.texts or self.arrays or self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """All fields, fit for JSON, and `same`."""
        return {"same": self.same, **Record.to_dict(self)}

    def _repr_html_(self) -> str:
        return as_html(self)


def diff(
    a: Source,
    b: Source,
    *,
    weights: bool = False,
    on_progress: StepProgress | None = None,
) -> Diff:
    """Compares two models, each a path, a built-in name, hf:user/repo:QUANT, a `Model` or a `GGUF`.

    Nothing is loaded, so that any GGUF file will do. Tensors of the same type and shape are compared byte by byte.
    weights: also decode those that differ, and measure the error of b's. Raises what `GGUF.open` raises, and
    ModelChanged when a file is written to meanwhile.
    """
    arguments.flag("weights", weights)
    arguments.callback("on_progress", on_progress)
    with open_source("a", a) as first, open_source("b", b) as second:
        values, texts, arrays = compare_metadata(first.metadata, second.metadata)
        other_bytes = differing(first, second, on_progress)
        tensors = compare_tensors(first.tensors, second.tensors, other_bytes)
        errors = weight_errors(first, second, other_bytes, on_progress) if weights else None
        return Diff(_side(first), _side(second), values, texts, arrays, tensors, errors)


def _side(gguf: GGUF) -> Side:
    size = size_of(gguf.tensors.values())
    return Side(str(gguf.path), gguf.size, len(gguf.tensors), size.n_weights, size.bits_per_weight)


def tables(diff: Diff, *, each_tensor: bool = False) -> Iterator[Table]:
    """The files in numbers, then what differs. each_tensor: weight errors of every tensor instead of every kind."""
    yield Table.of("", ("", "file"), [("a", diff.a.path), ("b", diff.b.path)])
    yield Table.of("", ("", "a>", "b>", "change>"), list(_sides(diff.a, diff.b)))
    if diff.values:
        pairs = [(sign, _short(of.key), value) for of in diff.values for sign, value in (("-", of.a), ("+", of.b))]
        yield Table.of(
            "metadata", ("", "key", "value"), [(*place, value) for *place, value in pairs if value is not None]
        )
    if diff.arrays:
        yield Table.of("arrays", ("key", "items", "differ>", "the first of them"), [_array(of) for of in diff.arrays])
    if diff.tensors:
        yield Table.of(
            "tensors", ("kind", "change", "tensors>", "bytes>", "layers"), [_tensor(of) for of in diff.tensors]
        )
    if diff.errors:
        title = "relative error of the weights"
        if each_tensor:
            yield Table.of(title, ("error>", "types", "tensor"), list(_each(diff.errors)))
        else:
            yield Table.of(
                title, ("kind", "types", "tensors>", "error>", "largest>", "layers"), list(_kinds(diff.errors))
            )


def as_html(diff: Diff) -> str:
    """For notebooks."""
    parts = [html(*tables(diff))]
    for text in diff.texts:
        lines = "\n".join(map(_html, text.lines))
        parts.append(f"<p>{_html(title_of(text))}</p><pre>{lines}</pre>")
    return "".join(parts) + ("<p>no difference</p>" if diff.same else "")


def title_of(text: TextChange) -> str:
    """What goes above the changed lines of a text."""
    part = f" in the first {MAX_TEXT} bytes" if max(text.bytes_a, text.bytes_b) > MAX_TEXT else ""
    cut = f"; the first {MAX_LINES} lines of that" if len(text.lines) == MAX_LINES else ""
    return f"{_short(text.key)}: {text.n_removed} lines removed, {text.n_added} added{part}{cut}"


def _records(differences: Diff) -> Iterator[dict[str, Any]]:
    """A difference each; what a and b are depends on the part: values, bytes, items, types."""
    for value in differences.values:
        yield {"part": "value", "name": value.key, "a": value.a, "b": value.b}
    for text in differences.texts:
        lines = {"lines_removed": text.n_removed, "lines_added": text.n_added}
        yield {"part": "text", "name": text.key, "a": text.bytes_a, "b": text.bytes_b, **lines}
    for array in differences.arrays:
        counts = {"a": array.count_a, "b": array.count_b, "n_differing": array.n_differing}
        yield {"part": "array", "name": array.key, **counts}
    for tensor in differences.tensors:
        sizes = {"bytes_a": tensor.bytes_a, "bytes_b": tensor.bytes_b}
        layers = " ".join(map(str, tensor.layers))
        yield {"part": "tensor", "name": tensor.kind, "a": tensor.a, "b": tensor.b, "layers": layers, **sizes}
    for error in differences.errors or ():
        types = {"a": error.type_a, "b": error.type_b}
        yield {"part": "weights", "name": error.tensor, **types, "relative_error": error.relative}


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
