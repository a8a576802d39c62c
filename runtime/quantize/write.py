"""Several files from one reading of a model: each tensor is decoded once, and encoded once for each of its types."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from subbyte.errors import NumericError
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT
from subbyte.runtime.gguf.writer import Layout, lay_out
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.quantize.importances import importances_of
from subbyte.runtime.quantize.metadata import quantized
from subbyte.runtime.quantize.part_file import PartFile, check_room
from subbyte.runtime.quantize.plan import QuantPlan
from subbyte.runtime.text import printable
from subbyte.runtime.types import StepProgress


@dataclass(frozen=True)
class Output:
    """A file to be written. out: as it was asked for. target: the same with links followed."""

    out: Path
    target: Path
    plan: QuantPlan
    layout: Layout


def file_layout(gguf: GGUF, plan: QuantPlan, imatrix: Imatrix | None, imatrix_name: str) -> Layout:
    """The head of the file that a plan makes, and where its tensors are. imatrix_name: as it stands in the file."""
    metadata = quantized(gguf.metadata.entries, plan.recipe.file_type, imatrix, imatrix_name)
    tensors = [(change.name, change.shape, change.type, change.n_bytes) for change in plan.changes]
    return lay_out(metadata, tensors, gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT))


def write_files(
    gguf: GGUF,
    outputs: Sequence[Output],
    imatrix: Imatrix | None,
    encoder: Encoder,
    *,
    overwrite: bool,
    on_progress: StepProgress | None,
) -> list[int]:
    """Writes files of the same tensors in other types; how many tensors of each an earlier run had left.

    Memory is that of a few pieces of a tensor, whatever its size. The files take their places when all are whole; one
    whose type can't hold a weight is given up, and its NumericError raised when the others are there.
    """
    parts = [
        PartFile(output.target, output.layout, _fingerprint(gguf, output.layout, imatrix), overwrite=overwrite)
        for output in outputs
    ]
    check_room(parts)
    types = {part: [change.type for change in output.plan.changes] for part, output in zip(parts, outputs, strict=True)}
    failed: dict[PartFile, NumericError] = {}
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part)
        resumed = [part.n_done for part in parts]
        done, total = 0, outputs[0].plan.n_weights
        for i, tensor in enumerate(gguf.tensors.values()):
            lacking = {part: types[part][i] for part in parts if part.n_done <= i and part not in failed}
            if not lacking:
                done += tensor.n_weights
                continue
            wanted = [*dict.fromkeys(lacking.values())]
            importances = importances_of(tensor.name, tensor.shape, imatrix) if {*wanted} - {tensor.type} else None
            for n_read, data in encoder.encode_all(tensor, wanted, importances):
                if on_progress is not None:
                    on_progress(f"{tensor.name}, {', '.join(wanted)}", done + n_read, total)
                failed |= _write(lacking, data)
                if len(failed) == len(parts):
                    raise _failure(failed, n_others=0)
            gguf.check_unchanged()
            for part in lacking:
                if part not in failed:
                    part.end_tensor()
            done += tensor.n_weights
        for part in parts:
            if part in failed:
                part.path.unlink()
            else:
                part.publish()
    if failed:
        raise _failure(failed, n_others=len(parts) - len(failed))
    return resumed


def _write(lacking: Mapping[PartFile, str], data: Mapping[str, bytes | NumericError]) -> dict[PartFile, NumericError]:
    """Writes a piece to each file in its type; those that can't have it, with the error."""
    failed = {}
    for part, type in lacking.items():
        piece = data[type]
        if isinstance(piece, NumericError):
            failed[part] = piece
        else:
            part.write(piece)
    return failed


def _failure(failed: Mapping[PartFile, NumericError], n_others: int) -> NumericError:
    """Of files that can't hold a weight, each with its reason. n_others: how many can."""
    if len(failed) == 1 and not n_others:
        return next(iter(failed.values()))
    reasons = "; ".join(f"{printable(part.out.name)}: {reason}" for part, reason in failed.items())
    return NumericError(f"not written: {reasons}{'; the others were' if n_others else ''}")


def _fingerprint(gguf: GGUF, layout: Layout, imatrix: Imatrix | None) -> str:
    """Of all that decides about the file's bytes."""
    facts = (gguf.identity, imatrix.digest() if imatrix else "", version("libgguf"))
    return hashlib.sha256(layout.head + repr(facts).encode()).hexdigest()
