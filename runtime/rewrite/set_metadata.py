"""`sb.set_metadata`: a model's file with other metadata, such as a chat template that was repaired."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subbyte.errors import ModelNotFound, ModelRefused, ResourceError, SubbyteError
from subbyte.models import Graph, Weights, architecture
from subbyte.runtime import arguments
from subbyte.runtime.files import check_place, write_failure
from subbyte.runtime.gguf.model_file import GGUF, Metadata
from subbyte.runtime.gguf.override import STRUCTURE
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.values import ARRAY, MAX_KEYS, STRING, MetadataValue
from subbyte.runtime.quantize.part_file import MODEL_FILE, check_out
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.rewrite.copy import Copy, layout_of, without_split, write_copies
from subbyte.runtime.rewrite.typed_value import parse_setting, parse_value
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.text import did_you_mean, printable, quoted
from subbyte.runtime.tokenizer.tokenizer import load_tokenizer
from subbyte.runtime.types import StepProgress

SHOWN = 60  # characters of a text, and items of an array


@dataclass(frozen=True, slots=True)
class MetadataChange(Record):
    """A key and its values, with their types, as they are shown: long ones cut; None where there is none."""

    key: str
    was: str | None
    now: str | None


@dataclass(frozen=True)
class ChangedMetadata(Tabular):
    """What was changed, and where. n_bytes: of the file that was written."""

    out: Path
    changes: tuple[MetadataChange, ...]
    n_bytes: int
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A key each."""
        return [change.to_dict() for change in self.changes]

    def to_dict(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        own = {"out": str(self.out), "n_bytes": self.n_bytes, "seconds": self.seconds}
        return {**own, "changes": self.records()}


def set_metadata(
    source: Source,
    values: Sequence[str] = (),
    *,
    remove: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    in_place: bool = False,
    overwrite: bool = False,
    on_progress: StepProgress | None = None,
) -> ChangedMetadata:
    """Writes a model with other metadata; tensors stay as they are, byte for byte.

    source: a path or a name, as for `load`, a `Model` or a `GGUF`. values: "KEY=TYPE:VALUE", see `parse_value`.
    remove: keys. out: the new file, into which a split model comes as one. in_place, instead of out: the file itself is
    replaced, at once and only when the new one is whole and on the disk, beside which it is written: the disk needs
    room for both. Of a split model only the first file is then written. Raises ModelRefused for changes after which the
    model could not be loaded any more, ValueError, FileExists, ResourceError, ModelNotFound.
    """
    started = time.perf_counter()
    values, remove = arguments.strings("values", values), arguments.strings("remove", remove)
    out = arguments.optional_path("out", out)
    arguments.flag("in_place", in_place)
    arguments.flag("overwrite", overwrite)
    arguments.callback("on_progress", on_progress)
    if (out is None) != in_place:
        raise ValueError("give either the place of the new file or leave to change the model's own (out, in_place)")
    if not values and not remove:
        raise ValueError("nothing to change; give KEY=TYPE:VALUE, or keys to remove (values, remove)")
    if in_place and isinstance(source, str | os.PathLike) and not os.path.exists(source):
        raise ModelNotFound(f"{printable(str(source))}: no such file; in place only a file of your own is changed")
    with open_source("source", source) as gguf:
        entries = dict(gguf.metadata.entries) if in_place else without_split(gguf)
        changes = _change(entries, values, remove)
        _check_loadable(gguf, entries)
        if in_place:
            _check_other_files(gguf, changes)
            place, target, like = gguf.paths[0], _own_place(gguf), os.stat(gguf.paths[0])
            tensors = tuple(t for t in gguf.tensors.values() if t.file == gguf.files[0])
        else:
            place, like, tensors = Path(out or ""), None, tuple(gguf.tensors.values())
            target = check_out(place, gguf, overwrite=overwrite)
        layout = layout_of(entries, tensors, gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT))
        copy = Copy(target, layout, tensors)
        write_copies(gguf, [copy], overwrite=overwrite or in_place, like=like, on_progress=on_progress)
        return ChangedMetadata(place, changes, layout.end, time.perf_counter() - started)


def _change(
    entries: dict[str, MetadataValue], values: Sequence[str], remove: Sequence[str]
) -> tuple[MetadataChange, ...]:
    """Changes the entries; what is new comes last."""
    given = list(map(parse_setting, values))
    keys = [key for key, _ in given] + list(remove)
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise ValueError(f"{quoted(key)} is given twice; give each key once")
        if key.startswith(STRUCTURE):
            raise ValueError(f"{quoted(key)} says how the file is built; it is changed by split and merge alone")
    before = dict(entries)
    for key, typed in given:
        try:
            entries[key] = parse_value(typed, before.get(key))
        except ValueError as error:
            raise ValueError(f"{printable(key)}: {error}") from None
    for key in remove:
        if key not in entries:
            raise ValueError(f"there is no metadata {quoted(key)}{did_you_mean(key, before)} to remove")
        del entries[key]
    if len(entries) > MAX_KEYS:
        raise ValueError(f"{len(entries)} keys of metadata; at most {MAX_KEYS} are allowed")
    return tuple(MetadataChange(key, shown(before.get(key)), shown(entries.get(key))) for key in keys)


def _check_loadable(gguf: GGUF, entries: dict[str, MetadataValue]) -> None:
    """Refuses changes without which the file is a model that can be run, and with which it is none."""
    before = gguf.metadata
    try:
        _load(Metadata(before.file, before.entries), gguf.tensors)
    except SubbyteError:  # which may be what is to be repaired, or a model that runs elsewhere
        return
    try:
        _load(Metadata(before.file, entries), gguf.tensors)
    except SubbyteError as error:
        raise ModelRefused(f"with these changes the model could not be loaded any more: {error}") from None


def _load(metadata: Metadata, tensors: Mapping[str, TensorInfo]) -> None:
    """Up to the forward pass, which says whether all tensors are there in the shapes it needs."""
    of = architecture(metadata.str("general.architecture"))
    config = of.configure(metadata, load_tokenizer(metadata).n_vocab)
    graph = Graph()
    of.forward(graph, config, Weights(tensors))
    graph.operations.clear()  # they refer to the graph: a cycle that would hold the mapped file for a while


def _check_other_files(gguf: GGUF, changes: Sequence[MetadataChange]) -> None:
    """Refuses, of a split model whose first file alone is written, what must be the same in the others."""
    for change in changes:
        if (other := gguf.repeated_in(change.key)) is not None:
            found = f"{other} has {quoted(change.key)} too, which must be the same in all files"
            raise ModelRefused(f"{found}; write the model into one file (out)")


def shown(value: MetadataValue | None) -> str | None:
    """A value as `TYPE:VALUE`, cut where it is long; None for none."""
    if value is None:
        return None
    if value.type == ARRAY:
        span = value.data
        text = ", ".join(map(str, span.values(SHOWN)))
        return f"{value.type_name}:[{_cut(text, span.count > SHOWN)}] ({span.count})"
    text = str(value.data, "utf-8", "replace") if value.type == STRING else str(value.data)
    return f"{value.type_name}:{_cut(text)}"


def _cut(text: str, more: bool = False) -> str:
    return text[:SHOWN] + "…" if more or len(text) > SHOWN else text


def _own_place(gguf: GGUF) -> Path:
    """The first of a model's own files; not one that is kept elsewhere, maybe by the name of its content."""
    path = gguf.paths[0]
    if path.is_symlink():
        raise ResourceError(f"{gguf.files[0]}: a link, as stores of models have; give the file itself, or use out")
    try:
        return check_place(path, MODEL_FILE, overwrite=True)
    except OSError as error:
        raise write_failure(path, error) from error
