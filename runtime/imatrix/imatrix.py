"""What an importance matrix holds, and the weights that encoders get from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        from subbyte.runtime.imatrix.imatrix_file import read_imatrix

        return read_imatrix(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the GGUF format that llama-quantize reads; whole, or not at all. Raises ResourceError."""
        from subbyte.runtime.imatrix.imatrix_file import write_imatrix

        write_imatrix(self, path)

    def weights(self, name: str) -> NDArray[np.float32] | None:
        """The mean square of each column of a tensor's inputs, float32; None for a tensor that was not seen.

        Divided in float32 as llama-quantize does it, so that the bytes that encoders make are the same. What was never
        reached has weights of 1.
        """
        if name not in self.squares:
            return None
        squares, counts = self.squares[name].astype(np.float32), self.counts[name].astype(np.float32)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            means: NDArray[np.float32] = np.where(counts > 0, squares / counts, np.float32(1))
        return means.reshape(-1)

    def digest(self) -> str:
        """sha256 of the values that quantizing depends on."""
        digest = hashlib.sha256()
        for name in sorted(self.squares):
            digest.update(name.encode() + b"\0" + self.squares[name].tobytes() + self.counts[name].tobytes())
        return digest.hexdigest()
