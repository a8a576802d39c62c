"""What differs between two GGUF files: metadata, texts, tokenizer, tensors, and by how much their weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.tensors import size_of
from subbyte.runtime.inspect.diff_metadata import ArrayChange, TextChange, ValueChange, compare_metadata
from subbyte.runtime.inspect.diff_tensors import TensorChange, compare_tensors
from subbyte.runtime.inspect.diff_weights import WeightError, differing, weight_errors
from subbyte.runtime.records import Record
from subbyte.runtime.store.resolve import resolve
from subbyte.runtime.types import StepProgress

__all__ = ["ArrayChange", "Diff", "Side", "TensorChange", "TextChange", "ValueChange", "WeightError", "diff"]


@dataclass(frozen=True, slots=True)
class Side(Record):
    """One of the files in numbers; bits_per_weight counts all tensors, None without any."""

    path: str
    n_bytes: int
    n_tensors: int
    n_weights: int
    bits_per_weight: float | None


@dataclass(frozen=True, slots=True)
class Diff(Record):
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

    @property
    def same(self) -> bool:
        """Whether the files hold the same model: equal metadata, and equal tensors to the last byte."""
        return not (self.values or self.texts or self.arrays or self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """All fields, fit for JSON, and `same`."""
        return {"same": self.same, **Record.to_dict(self)}

    def _repr_html_(self) -> str:
        from subbyte.runtime.inspect.diff_tables import as_html

        return as_html(self)


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    weights: bool = False,
    on_progress: StepProgress | None = None,
) -> Diff:
    """Compares two models, each a path, a built-in name or hf:user/repo:QUANT.

    Nothing is loaded, so that any GGUF file will do. Tensors of the same type and shape are compared byte by byte.
    weights: also decode those that differ, and measure the error of b's. Raises what `GGUF.open` raises, and
    ModelChanged when a file is written to meanwhile.
    """
    with GGUF.open(resolve(a)) as first, GGUF.open(resolve(b)) as second:
        values, texts, arrays = compare_metadata(first.metadata, second.metadata)
        other_bytes = differing(first, second, on_progress)
        tensors = compare_tensors(first.tensors, second.tensors, other_bytes)
        errors = weight_errors(first, second, other_bytes, on_progress) if weights else None
        return Diff(_side(first), _side(second), values, texts, arrays, tensors, errors)


def _side(gguf: GGUF) -> Side:
    size = size_of(gguf.tensors.values())
    return Side(str(gguf.path), gguf.size, len(gguf.tensors), size.n_weights, size.bits_per_weight)
