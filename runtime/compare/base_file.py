"""llama-perplexity's base files (`--kl-divergence-base`): what a base model predicts over a text, 16 bits a logit.

Layout, little-endian: "_logits_"; int32 n_ctx, n_vocab, n_chunks; int32 tokens [n_chunks, n_ctx]; then for each chunk a
row for each of its n_ctx - 1 - n_ctx // 2 scored tokens: float32 scale, float32 least, uint16 codes [n_vocab], and one
code more where n_vocab is odd. A token's log-probability is scale * code + least. Code 0 stands for all logits that lie
more than 16 below the greatest.
https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity/perplexity.cpp
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, ModelNotFound, ResourceError
from subbyte.kernels import MAX_CTX
from subbyte.runtime import arguments
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, check_place, open_regular, write_failure
from subbyte.runtime.gguf.cursor import DAMAGED
from subbyte.runtime.handles import Handle
from subbyte.runtime.text import printable

Values = NDArray[np.float32]
Tokens = NDArray[np.int32]

MAGIC = b"_logits_"
MAX_TOKENS = 1 << 28  # of a file: they are held in memory
BASE_FILE = FileKind("a base file", lambda head: head.startswith(MAGIC))
LEAST_LOG_PROB = -16.0  # tokens that are less likely don't count in a divergence
TOP_CODE = np.float32(65535)
HEADER = struct.Struct("<8s3i")
_AT_ONCE = 8  # rows encoded, for few temporary values
_RANGE = np.float32(16)  # how far below the greatest a logit has a code of its own


def row_type(n_vocab: int) -> np.dtype[Any]:
    """A row of a base file."""
    return np.dtype([("scale", "<f4"), ("least", "<f4"), ("codes", "<u2", (n_vocab + n_vocab % 2,))])


def n_scored(n_ctx: int) -> int:
    """Rows of a chunk."""
    return n_ctx - 1 - n_ctx // 2


def is_base_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file at that path begins as a base file does."""
    try:
        with _open(Path(path)) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (FormatError, ModelNotFound, ResourceError):
        return False


class BaseFile(Handle):
    """A base file opened for reading; a context manager. Rows are read when they are asked for.

    path: as given. n_ctx, n_vocab: of the model that wrote it. tokens: int32 [n_chunks, n_ctx].
    Raises ModelNotFound, ResourceError, and FormatError unless the file has exactly the size its header asks for.
    """

    instead = "open it again from its path"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(arguments.path("path", path))
        self._name = printable(str(path))
        self._file = _open(self.path)
        try:
            self.n_ctx, self.n_vocab, n_chunks = self._read_header()
            self._row = row_type(self.n_vocab)
            tokens = self._read(HEADER.size, np.dtype("<i4"), n_chunks * self.n_ctx)
            self.tokens: Tokens = tokens.astype(np.int32).reshape(n_chunks, -1)
            if ((self.tokens < 0) | (self.tokens >= self.n_vocab)).any():
                raise FormatError(f"{self._name}: a token id is not in 0..{self.n_vocab - 1}; {DAMAGED}")
        except BaseException:
            self.close()
            raise

    def log_probs(self, chunk: int, rows: range) -> Values:
        """log p of every token at some scored positions of a chunk, float32 [len(rows), n_vocab]."""
        start = HEADER.size + 4 * self.tokens.size
        first = chunk * n_scored(self.n_ctx) + rows.start
        block = self._read(start + first * self._row.itemsize, self._row, len(rows))
        scale, least = block["scale"][:, None], block["least"][:, None]
        with np.errstate(invalid="ignore", over="ignore"):
            sound = (scale >= 0) & np.isfinite(least) & (scale * TOP_CODE + least <= 1e-3)  # else some p is above 1
        if not sound.all():
            raise FormatError(f"{self._name}: chunk {chunk + 1}: these are no log-probabilities; {DAMAGED}")
        log_probs: Values = scale * block["codes"][:, : self.n_vocab] + least
        return log_probs

    def digest(self) -> str:
        """sha256 of what tells a base file from others: its sizes, its tokens and its first row."""
        digest = hashlib.sha256(HEADER.pack(MAGIC, self.n_ctx, self.n_vocab, len(self.tokens)) + self.tokens.tobytes())
        digest.update(self.log_probs(0, range(1)).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Lets go of the file; closing twice is no error."""
        self._file.close()

    def __enter__(self) -> BaseFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_header(self) -> tuple[int, int, int]:
        data = self._file.read(HEADER.size)
        if len(data) < HEADER.size or not data.startswith(MAGIC):
            raise FormatError(f"{self._name}: does not begin with {MAGIC.decode()!r}, as base files of llama.cpp do")
        _, n_ctx, n_vocab, n_chunks = HEADER.unpack(data)
        if not (4 <= n_ctx <= MAX_CTX and 1 <= n_vocab <= MAX_CTX and 1 <= n_chunks <= MAX_TOKENS // n_ctx):
            sizes = f"{n_chunks} chunks of {n_ctx} tokens, {n_vocab} in the vocabulary"
            raise FormatError(f"{self._name}: {sizes}; {DAMAGED}")
        need = base_bytes(n_ctx, n_vocab, n_chunks)
        size = os.fstat(self._file.fileno()).st_size
        if size != need:
            raise FormatError(f"{self._name}: has {size} bytes, its header asks for {need}; {DAMAGED}")
        return n_ctx, n_vocab, n_chunks

    def _read(self, at: int, kind: np.dtype[Any], n: int) -> NDArray[Any]:
        self._file.seek(at)
        data = self._file.read(n * kind.itemsize)
        if len(data) < n * kind.itemsize:
            raise FormatError(f"{self._name}: was cut short while in use; {DAMAGED}")
        return np.frombuffer(data, kind)


def base_bytes(n_ctx: int, n_vocab: int, n_chunks: int) -> int:
    """Size of a base file."""
    row_bytes = 8 + 2 * (n_vocab + n_vocab % 2)
    return HEADER.size + (4 * n_ctx + row_bytes * n_scored(n_ctx)) * n_chunks


def _open(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFound(f"{printable(str(path))}: there is no such file; give the path of a base file") from None
    except UnfitFile as error:
        raise FormatError(f"{printable(str(path))}: {error.strerror}; give the path of a base file") from None
    except OSError as error:
        raise ResourceError(f"{printable(str(path))}: can't be read: {error.strerror}") from None


@contextmanager
def write_base(
    path: str | os.PathLike[str], tokens: Tokens, n_vocab: int, *, overwrite: bool = False
) -> Iterator[Callable[[Values], None]]:
    """Gives a function that takes the next rows, logits [n, n_vocab]; tokens: int32 [n_chunks, n_ctx].

    The file appears at the end of the block if all rows came, else not at all. overwrite: also over a base file. Raises
    FileExists for any other file, ResourceError where the disk is too small or can't be written to.
    """
    path = Path(path)
    n_chunks, n_ctx = tokens.shape
    left = n_chunks * n_scored(n_ctx)
    try:
        check_place(path, BASE_FILE, overwrite=overwrite)
        _check_space(path, base_bytes(n_ctx, n_vocab, n_chunks))
        with atomic_write(path, BASE_FILE, overwrite=overwrite) as temporary:
            with temporary.open("wb") as file:
                file.write(HEADER.pack(MAGIC, n_ctx, n_vocab, n_chunks) + tokens.astype("<i4").tobytes())

                def write(logits: Values) -> None:
                    nonlocal left
                    for start in range(0, len(logits), _AT_ONCE):
                        file.write(encode(logits[start : start + _AT_ONCE]))
                    left -= len(logits)

                yield write
            if left:
                temporary.unlink()
    except OSError as error:
        raise write_failure(path, error) from error


def encode(logits: Values) -> bytes:
    """Rows of a base file; the same steps in float32 as llama.cpp's."""
    greatest = logits.max(axis=1, keepdims=True)
    lowest = np.maximum(logits.min(axis=1, keepdims=True), greatest - _RANGE)
    log_sum = np.log(np.exp(logits - greatest).sum(axis=1, dtype=np.float64)).astype(np.float32)
    scale = (greatest - lowest) / TOP_CODE
    with np.errstate(divide="ignore"):
        codes_per_nat = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
    rows = np.zeros(len(logits), row_type(logits.shape[1]))
    rows["scale"], rows["least"] = scale[:, 0], (lowest - greatest)[:, 0] - log_sum
    rows["codes"][:, : logits.shape[1]] = np.rint(codes_per_nat * (np.maximum(logits, lowest) - lowest))
    return rows.tobytes()


def _check_space(path: Path, need: int) -> None:
    free = shutil.disk_usage(path.absolute().parent).free
    if free < need:
        sizes = f"{printable(str(path))} needs {need / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free"
        raise ResourceError(f"{sizes}; make room or take fewer chunks")
