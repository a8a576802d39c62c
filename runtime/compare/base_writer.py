"""Writing a base file of llama.cpp (see base_file.py) while the base model is evaluated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from subbyte.errors import ResourceError
from subbyte.runtime.compare.base_file import HEADER, MAGIC, TOP_CODE, Tokens, Values, base_bytes, n_scored, row_type

_AT_ONCE = 8  # rows, for few temporary values
_RANGE = np.float32(16)  # how far below the greatest a logit has a code of its own


@contextmanager
def write_base(path: str | os.PathLike[str], tokens: Tokens, n_vocab: int) -> Iterator[Callable[[Values], None]]:
    """Gives a function that takes the next rows, logits [n, n_vocab]; tokens: int32 [n_chunks, n_ctx].

    The file appears at the end of the block if all rows came, else not at all. Raises ResourceError where the disk is
    too small or can't be written to.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    n_chunks, n_ctx = tokens.shape
    left = n_chunks * n_scored(n_ctx)
    try:
        _check_space(path, base_bytes(n_ctx, n_vocab, n_chunks))
        try:
            with scratch.open("wb") as file:
                file.write(HEADER.pack(MAGIC, n_ctx, n_vocab, n_chunks) + tokens.astype("<i4").tobytes())

                def write(logits: Values) -> None:
                    nonlocal left
                    for start in range(0, len(logits), _AT_ONCE):
                        file.write(encode(logits[start : start + _AT_ONCE]))
                    left -= len(logits)

                yield write
            if left == 0:
                scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"can't write {path}: {error.strerror or error}; give another place") from error


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
        found = f"{path} needs {need / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free"
        raise ResourceError(f"{found}; make room or take fewer chunks")
