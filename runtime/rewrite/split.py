"""`sb.split`: a model in several files, as llama-gguf-split makes them, for places that take no larger ones."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subbyte.errors import ModelRefused
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF, MAX_SHARDS, shard_name
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.values import MetadataValue
from subbyte.runtime.gguf.writer import table_bytes
from subbyte.runtime.quantize.part_file import check_out
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.rewrite.copy import Copy, layout_of, without_split, write_copies
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.text import printable
from subbyte.runtime.types import StepProgress

U16, I32 = 2, 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SplitPart(Record):
    """One file of a split model. n_bytes: of the whole file."""

    path: str
    n_tensors: int
    n_bytes: int


@dataclass(frozen=True)
class SplitModel(Tabular):
    """What was written, or with dry_run would be; parts in their order."""

    source: Path
    parts: tuple[SplitPart, ...]
    dry_run: bool
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A file each."""
        return [part.to_dict() for part in self.parts]

    def to_dict(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        return {"source": str(self.source), "parts": self.records(), "dry_run": self.dry_run, "seconds": self.seconds}


def split(
    source: Source,
    out: str | os.PathLike[str],
    *,
    max_bytes: int | None = None,
    max_tensors: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    on_progress: StepProgress | None = None,
) -> SplitModel:
    """Writes a model in files OUT-00001-of-00003.gguf, …, any of which opens all of it; `merge` makes it one again.

    source: a path or a name, as for `load`, a `Model` or a `GGUF`. out: folder and beginning of the names; ".gguf" at
    its end is dropped. max_bytes: the most that a file may have, its head included; a tensor that is larger gets a file
    of its own. max_tensors: the most tensors of a file. At least one of the two is needed. All metadata is in the first
    file. None of the files appears before all are whole; a run that was interrupted is taken up by the same call.
    Raises ValueError, ModelRefused, FileExists, ResourceError, ModelNotFound.
    """
    started, out = time.perf_counter(), Path(arguments.path("out", out))
    if not out.name.removesuffix(".gguf") or os.path.isdir(out):
        raise ValueError(f"out is {str(out)!r}, but must be how the files' names begin, such as folder/model")
    if max_bytes is None and max_tensors is None:
        raise ValueError("give the most bytes or the most tensors that a file may have (max_bytes, max_tensors)")
    if max_bytes is not None:
        max_bytes = arguments.whole("max_bytes", max_bytes, 1, hint="bytes")
    if max_tensors is not None:
        max_tensors = arguments.whole("max_tensors", max_tensors, 1)
    arguments.flag("dry_run", dry_run)
    arguments.flag("overwrite", overwrite)
    arguments.callback("on_progress", on_progress)
    with open_source("source", source) as gguf:
        groups = _groups_of(gguf, max_bytes, max_tensors)
        names = [shard_name(out.name.removesuffix(".gguf"), i, len(groups)) for i in range(1, len(groups) + 1)]
        places = [out.with_name(name) for name in names]
        copies = _copies(gguf, groups, places, overwrite=overwrite or dry_run)
        _warn_of_larger(copies, max_bytes)
        if not dry_run:
            write_copies(gguf, copies, overwrite=overwrite, on_progress=on_progress)
        parts = tuple(
            SplitPart(str(place), len(to.tensors), to.layout.end) for place, to in zip(places, copies, strict=True)
        )
        return SplitModel(gguf.path, parts, dry_run, time.perf_counter() - started)


def _copies(
    gguf: GGUF, groups: Sequence[Sequence[TensorInfo]], places: Sequence[Path], *, overwrite: bool
) -> list[Copy]:
    metadata, alignment = without_split(gguf), gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT)
    copies = []
    for i, (tensors, place) in enumerate(zip(groups, places, strict=True)):
        claims = _claims(i, len(groups), len(gguf.tensors))
        layout = layout_of({**(metadata if i == 0 else {}), **claims}, tensors, DEFAULT_ALIGNMENT if i else alignment)
        copies.append(Copy(check_out(place, gguf, overwrite=overwrite), layout, tuple(tensors)))
    return copies


def _warn_of_larger(copies: Sequence[Copy], max_bytes: int | None) -> None:
    larger = [to for to in copies if max_bytes is not None and to.layout.end > max_bytes]
    if larger:
        _log.warning("%s has %d bytes, more than the %d allowed: what is in it can't be divided",
                     printable(larger[0].path.name), larger[0].layout.end, max_bytes)  # fmt: skip


def _claims(i: int, count: int, n_tensors: int) -> dict[str, MetadataValue]:
    """What a file says about its place, in the types that llama.cpp reads."""
    return {
        "split.no": MetadataValue(U16, i),
        "split.count": MetadataValue(U16, count),
        "split.tensors.count": MetadataValue(I32, n_tensors),
    }


def _groups_of(gguf: GGUF, max_bytes: int | None, max_tensors: int | None) -> Sequence[list[TensorInfo]]:
    """The tensors of each file, in the model's order: as many as fit, at least one."""
    if not gguf.tensors:
        raise ModelRefused(f"{printable(str(gguf.path))}: holds no tensors; give a model")
    groups = _grouped(gguf, max_bytes or 1 << 63, max_tensors or len(gguf.tensors))
    if len(groups) > MAX_SHARDS:
        raise ValueError(f"{len(groups)} files would be needed, {MAX_SHARDS} are the most; allow larger ones")
    return groups


def _grouped(gguf: GGUF, max_bytes: int, max_tensors: int) -> Sequence[list[TensorInfo]]:
    claims = _claims(0, 1, 1)  # as long as any others
    alignment = gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT)
    head = len(layout_of({**without_split(gguf), **claims}, [], 1).head)
    groups: list[list[TensorInfo]] = [[]]
    table, data, aligned = head, 0, alignment
    for tensor in gguf.tensors.values():
        row, n_bytes = table_bytes(tensor.name, tensor.shape), tensor.n_bytes + -tensor.n_bytes % aligned
        end = table + row + -(table + row) % aligned + data + n_bytes
        if groups[-1] and (end > max_bytes or len(groups[-1]) == max_tensors):
            groups.append([])
            table, data, aligned = len(layout_of(claims, [], 1).head), 0, DEFAULT_ALIGNMENT
            n_bytes = tensor.n_bytes + -tensor.n_bytes % aligned
        groups[-1].append(tensor)
        table, data = table + row, data + n_bytes
    return groups
