"""`sb.merge`: the files of a split model as one, for programs and stores that want a model in one file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from subbyte.errors import ModelRefused
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT, Shard
from subbyte.runtime.quantize.part_file import check_out
from subbyte.runtime.records import Record
from subbyte.runtime.rewrite.copy import SPLIT, Copy, layout_of, without_split, write_copies
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.text import printable, quoted
from subbyte.runtime.types import StepProgress


@dataclass(frozen=True, slots=True)
class MergedModel(Record):
    """What was written. n_files: that it was made of. n_bytes: of the file."""

    out: str
    n_files: int
    n_tensors: int
    n_bytes: int
    seconds: float


def merge(
    source: Source,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    on_progress: StepProgress | None = None,
) -> MergedModel:
    """Writes a split model as one file, which has what the files say but for their places; the files stay.

    source: the path of any of the files, a name as for `load`, a `Model` or a `GGUF`. A run that was interrupted is
    taken up by the same call. Raises ModelRefused for a model that is in one file already, and where files have
    metadata of their own that the first has not, FormatError where they don't belong together, FileExists,
    ResourceError, ModelNotFound.
    """
    started, out = time.perf_counter(), Path(arguments.path("out", out))
    arguments.flag("overwrite", overwrite)
    arguments.callback("on_progress", on_progress)
    with open_source("source", source) as gguf:
        if f"{SPLIT}count" not in gguf.metadata:
            raise ModelRefused(f"{gguf.files[0]}: is one file already; give a part of a split model")
        _check_metadata(gguf)
        target = check_out(out, gguf, overwrite=overwrite)
        tensors = tuple(gguf.tensors.values())
        alignment = gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT)
        layout = layout_of(without_split(gguf), tensors, alignment)
        write_copies(gguf, [Copy(target, layout, tensors)], overwrite=overwrite, on_progress=on_progress)
        seconds = time.perf_counter() - started
        return MergedModel(str(out), len(gguf.paths), len(tensors), layout.end, seconds)


def _check_metadata(gguf: GGUF) -> None:
    """Refuses files behind the first with metadata of their own, which would be lost."""
    for path in gguf.paths[1:]:
        with Shard(path) as shard:
            for key in shard.metadata:
                same = key in gguf.metadata and gguf.metadata[key] == shard.metadata[key]
                if not (same or key.startswith(SPLIT) or key == "general.alignment"):
                    found = f"has metadata {quoted(key)} that {printable(gguf.paths[0].name)} has not, or otherwise"
                    raise ModelRefused(f"{shard.file}: {found}; it would be lost: split the original model again")
