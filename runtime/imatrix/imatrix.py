"""Importance matrices and their files: llama.cpp's GGUF format, written and read, and its older one (.dat), read.

GGUF: general.type "imatrix", and for each tensor `NAME.in_sum2` (sums of squares, float32 [row length, matrices]) and
`NAME.counts` (rows summed, [1, matrices]); other suffixes are passed over. Older: counts of calls in place of rows.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, ResourceError
from subbyte.runtime import arguments
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, open_regular, read_regular, write_failure
from subbyte.runtime.gguf.cursor import DAMAGED, Cursor
from subbyte.runtime.gguf.shard import MAGIC, Shard
from subbyte.runtime.gguf.tensors import MAX_NAME_BYTES, MAX_TENSORS, TensorInfo
from subbyte.runtime.gguf.values import STRING
from subbyte.runtime.text import printable, quoted

if TYPE_CHECKING:
    import gguf

SQUARES, COUNTS, SUMS = ".in_sum2", ".counts", ".in_sum"
_TYPE = b"general.type" + struct.pack("<IQ", STRING, len(b"imatrix")) + b"imatrix"
IMATRIX_FILE = FileKind("an importance matrix", lambda head: head.startswith(MAGIC) and _TYPE in head)
MAX_DATASETS = 1 << 10
MAX_OLD_BYTES = 1 << 30
MAX_ROW = 1 << 24  # weights; no model has a row like that
MAX_CALLS = (1 << 31) - 1  # a negative number is greater

Sums = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Imatrix:
    """Sums over the inputs of tensors, by their names. Of experts each has a row of its own, others have one.

    squares, sums: float64 [matrices, row length]; sums may be missing. counts: how many rows were summed, float64
    [matrices]. datasets: names of the texts. chunk_count, chunk_size: how much of them was run; 0 where not known.
    """

    squares: Mapping[str, Sums]
    counts: Mapping[str, Sums]
    sums: Mapping[str, Sums]
    datasets: tuple[str, ...]
    chunk_count: int
    chunk_size: int

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Imatrix:
        """Read a file of either of llama.cpp's formats. Raises FormatError, ModelNotFound and ResourceError."""
        path = Path(arguments.path("path", path))
        with suppress(OSError), open_regular(path) as file:  # what can't be opened is told by the other reader
            if file.read(len(MAGIC)) != MAGIC:
                return _read_old(path)
        return _read_gguf(path)  # which says what is wrong with a file that can't be opened

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the GGUF format that llama-quantize reads; whole, or not at all. overwrite: also over such a file.

        Raises ResourceError, and FileExists for any other file.
        """
        path = Path(arguments.path("path", path))
        arguments.flag("overwrite", overwrite)
        try:
            with atomic_write(path, IMATRIX_FILE, overwrite=overwrite) as temporary:
                w = _writer(temporary)
                w.add_array("imatrix.datasets", list(self.datasets) or ["(not known)"])
                w.add_uint32("imatrix.chunk_count", self.chunk_count)
                w.add_uint32("imatrix.chunk_size", self.chunk_size)
                for name in sorted(self.squares):
                    w.add_tensor(name + SQUARES, self.squares[name].astype(np.float32))
                    w.add_tensor(name + COUNTS, self.counts[name].astype(np.float32)[:, None])
                    if name in self.sums:
                        w.add_tensor(name + SUMS, self.sums[name].astype(np.float32))
                w.write_header_to_file()
                w.write_kv_data_to_file()
                w.write_tensors_to_file()
                w.close()
        except OSError as error:
            raise write_failure(path, error) from error

    def weights(self, name: str) -> NDArray[np.float32] | None:
        """The mean square of each column of a tensor's inputs, float32 [matrices, row length]; None if it was not seen.

        Divided in float32 as llama-quantize does it, so that the bytes that encoders make are the same. An expert that
        was never chosen has weights of 1.
        """
        return _means(self.squares[name], self.counts[name]) if name in self.squares else None

    def digest(self) -> str:
        """sha256 of the values that quantizing depends on."""
        digest = hashlib.sha256()
        for name in sorted(self.squares):
            digest.update(name.encode() + b"\0" + self.squares[name].tobytes() + self.counts[name].tobytes())
        return digest.hexdigest()


def _writer(path: Path) -> gguf.GGUFWriter:
    from gguf import GGUFWriter

    class Writer(GGUFWriter):
        def add_architecture(self) -> None:
            """A file of importances has none."""

    w = Writer(str(path), "")
    w.add_type("imatrix")
    return w


def _read_gguf(path: Path) -> Imatrix:
    with Shard(path) as file:
        metadata, tensors = file.metadata, file.tensors
        kind = metadata.str("general.type", None)
        if kind != "imatrix":
            actual = "a model" if kind in (None, "model") else f"of type {quoted(kind)}"
            raise FormatError(f"{file.file}: {actual}, not an importance matrix; make one with `subbyte imatrix`")
        squares, counts = _sums(file.file, tensors, SQUARES), {}
        for name, sums in squares.items():
            if name + COUNTS not in tensors:
                raise FormatError(f"{file.file}: {quoted(name)} has sums and no counts; {DAMAGED}")
            counts[name] = _values(file.file, tensors[name + COUNTS]).reshape(-1)
            if len(counts[name]) != len(sums):
                sizes = f"{len(sums)} matrices and {len(counts[name])} counts"
                raise FormatError(f"{file.file}: {quoted(name)} has {sizes}; {DAMAGED}")
        names = metadata.entries.get("imatrix.datasets")
        datasets = names.data.values(MAX_DATASETS) if names and names.type_name == "[str]" else []
        return Imatrix(
            squares=_checked(file.file, squares, counts), counts=counts,
            sums=_checked_sums(file.file, _sums(file.file, tensors, SUMS), squares),
            datasets=tuple(datasets), chunk_count=metadata.u32("imatrix.chunk_count", 0),
            chunk_size=metadata.u32("imatrix.chunk_size", 0),
        )  # fmt: skip


def _sums(file: str, tensors: Mapping[str, TensorInfo], suffix: str) -> dict[str, Sums]:
    of_kind = [tensor for name, tensor in tensors.items() if name.endswith(suffix)]
    return {t.name.removesuffix(suffix): _values(file, t).reshape(-1, t.shape[0]) for t in of_kind}


def _values(file: str, tensor: TensorInfo) -> Sums:
    if tensor.type != "F32":
        raise FormatError(f"{file}: tensor {quoted(tensor.name)} is {tensor.type}, importances are F32; {DAMAGED}")
    return np.frombuffer(tensor.data, "<f4").astype(np.float64)


def _means(squares: Sums, counts: Sums) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # of what was never reached; anything else that is no number is refused
        of, n = squares.astype(np.float32), counts.astype(np.float32)[:, None]
        means: NDArray[np.float32] = np.where(n > 0, of / n, np.float32(1))
    return means


def _checked(file: str, squares: dict[str, Sums], counts: Mapping[str, Sums]) -> dict[str, Sums]:
    """What quantizers multiply errors with: finite and not negative, or they would hang or make rubbish."""
    for name, values in squares.items():
        for each in (values, counts[name]):
            if not (np.isfinite(each).all() and (each >= 0).all()):
                raise FormatError(f"{file}: {quoted(name)} has values that are negative or not finite; {DAMAGED}")
        if not np.isfinite(_means(values, counts[name])).all():
            raise FormatError(f"{file}: {quoted(name)} has means that are no float32: sums by their counts; {DAMAGED}")
    if not squares:
        raise FormatError(f"{file}: an importance matrix without any tensor; make another with `subbyte imatrix`")
    return squares


def _checked_sums(file: str, sums: Mapping[str, Sums], squares: Mapping[str, Sums]) -> dict[str, Sums]:
    """Those of tensors that have sums of squares, of as many columns, and finite."""
    for name, values in sums.items():
        if name in squares and not (values.shape == squares[name].shape and np.isfinite(values).all()):
            raise FormatError(f"{file}: {quoted(name)} has sums of another shape, or not finite; {DAMAGED}")
    return {name: values for name, values in sums.items() if name in squares}


def _read_old(path: Path) -> Imatrix:
    file = printable(str(path))
    try:
        data = read_regular(path, MAX_OLD_BYTES)
    except UnfitFile as error:
        raise FormatError(f"{file}: no importance matrix: {error.strerror}") from None
    except OSError as error:
        raise ResourceError(f"{file}: can't be read: {error.strerror or error}") from None
    cursor = Cursor(memoryview(data), file)
    n_entries = cursor.u32("the number of tensors")
    if not 0 < n_entries <= MAX_TENSORS:
        raise cursor.error(f"no importance matrix: {n_entries} tensors, 1 to {MAX_TENSORS} are allowed", 0)
    squares: dict[str, Sums] = {}
    counts: dict[str, Sums] = {}
    for i in range(n_entries):
        cursor.place = f"tensor {i + 1} of {n_entries}"
        name = _old_text(cursor, "the name", MAX_NAME_BYTES)
        n_calls, n_values = cursor.u32("the number of calls"), cursor.u32("the number of values")
        if name in squares or not 0 < n_values <= MAX_ROW or n_calls > MAX_CALLS:
            raise cursor.error(f"{quoted(name)} with {n_values} values of {n_calls} calls; {DAMAGED}")
        values = np.frombuffer(cursor.take(4 * n_values, "the values"), "<f4")
        squares[name], counts[name] = values.astype(np.float64)[None], np.array([n_calls or 1], np.float64)
    chunk_count = 0
    datasets: tuple[str, ...] = ()
    if cursor.left:  # the oldest files end here
        chunk_count = cursor.u32("the number of chunks")
        datasets = (_old_text(cursor, "the data set's name", 1 << 16),) if cursor.left else ()
    return Imatrix(
        squares=_checked(cursor.file, squares, counts), counts=counts, sums={}, datasets=datasets,
        chunk_count=chunk_count, chunk_size=0,
    )  # fmt: skip


def _old_text(cursor: Cursor, what: str, longest: int) -> str:
    n_bytes = cursor.u32(f"the length of {what}")
    if n_bytes > longest:
        raise cursor.error(f"{what} is {n_bytes} bytes long, at most {longest} are allowed; {DAMAGED}")
    return bytes(cursor.take(n_bytes, what)).decode("utf-8", "replace")
