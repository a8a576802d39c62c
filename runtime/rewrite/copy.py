"""Files of tensors that are copied from a model as they are, beside their places and then in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from subbyte.errors import ResourceError
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.values import MetadataValue
from subbyte.runtime.gguf.writer import Layout, lay_out
from subbyte.runtime.quantize.part_file import PartFile, check_room
from subbyte.runtime.types import StepProgress

SPLIT = "split."
AT_ONCE = 1 << 20  # bytes


class Copy(NamedTuple):
    """A file to be written. path: where it comes to lie, links followed."""

    path: Path
    layout: Layout
    tensors: tuple[TensorInfo, ...]


def without_split(gguf: GGUF) -> dict[str, MetadataValue]:
    """A model's metadata but for what says which part of it a file is."""
    return {key: value for key, value in gguf.metadata.entries.items() if not key.startswith(SPLIT)}


def layout_of(metadata: dict[str, MetadataValue], tensors: Sequence[TensorInfo], alignment: int) -> Layout:
    """The head of a file with these tensors, and where they lie in it."""
    return lay_out(metadata, [(t.name, t.shape, t.type, t.n_bytes) for t in tensors], alignment)


def write_copies(
    gguf: GGUF,
    copies: Sequence[Copy],
    *,
    overwrite: bool,
    like: os.stat_result | None = None,
    on_progress: StepProgress | None = None,
) -> None:
    """Writes files from a model's tensors; none appears in its place before all are whole and on the disk.

    A run that was interrupted is taken up by the same call. overwrite: also over models. like: whose permissions
    they get.
    on_progress: tensor, bytes that are done, bytes in all. Raises ResourceError, FileExists, ModelChanged.
    """
    parts = [PartFile(to.path, to.layout, _fingerprint(gguf, to.layout), overwrite=overwrite) for to in copies]
    check_room(parts)
    total, done = sum(t.n_bytes for to in copies for t in to.tensors), 0
    try:
        for to, part in zip(copies, parts, strict=True):
            with part:
                for i, tensor in enumerate(to.tensors):
                    if i >= part.n_done:
                        for at in range(0, tensor.n_bytes, AT_ONCE):
                            if on_progress is not None:
                                on_progress(tensor.name, done + at, total)
                            part.write(bytes(tensor.data[at : at + AT_ONCE]))
                        gguf.check_unchanged()
                        part.end_tensor()
                    done += tensor.n_bytes
                part.sync(like)
        for to, part in zip(copies, parts, strict=True):
            with part:
                if part.n_done < len(to.tensors):
                    found = "was removed or cut by another program while the other files were written"
                    raise ResourceError(f"{part.path}: {found}; run the command again")
                part.publish()
    except Exception as error:
        if not isinstance(error, ResourceError):  # after which the same call goes on
            for part in parts:
                part.path.unlink(missing_ok=True)
        raise


def _fingerprint(gguf: GGUF, layout: Layout) -> str:
    """Of all that decides about the file's bytes."""
    return hashlib.sha256(layout.head + repr(gguf.identity).encode()).hexdigest()
