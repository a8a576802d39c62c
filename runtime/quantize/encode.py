"""Rows of weights from one block type to another, in pieces, on all cores. The encoders are libgguf's.

libgguf's bytes are llama-quantize's. Rows are encoded one by one, so the result depends neither on the number of
threads nor on the pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError, ResourceError
from subbyte.kernels import FORMATS, dequantize
from subbyte.runtime.gguf.tensors import TensorInfo

PIECE = 1 << 17  # weights: half a second of the slowest encoder, half a megabyte of floats
Weights = NDArray[np.float32]


def encoders() -> ModuleType:
    """libgguf. Raises ResourceError where it is not installed."""
    try:
        import libgguf
    except ImportError as error:
        raise ResourceError(
            f"the encoders are not installed ({error}); install them with: pip install 'subbyte[quantize]'"
        ) from None
    module: ModuleType = libgguf
    return module


class Encoder:
    """Encodes tensors with a number of threads; libgguf lets go of the GIL while it works. A context manager."""

    def __init__(self, n_threads: int) -> None:
        self._libgguf = encoders()
        self._pool = ThreadPoolExecutor(n_threads, "subbyte-encode")
        self._ahead = 2 * n_threads
        self._ready: set[str] = set()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def encode(self, tensor: TensorInfo, type: str, importances: Weights | None) -> Iterator[bytes]:
        """The tensor's data in another type, a piece of rows after the other; raises the errors of `encode_all`."""
        for _, data in self.encode_all(tensor, [type], importances):
            found = data[type]
            if isinstance(found, NumericError):
                raise found
            yield found

    def encode_all(
        self, tensor: TensorInfo, types: Sequence[str], importances: Weights | None
    ) -> Iterator[tuple[int, Mapping[str, bytes | NumericError]]]:
        """A piece of the tensor's rows after the other in each of several types, and how many weights come before it.

        importances: float32 [matrices, row length], a weight for each column: of experts each has its own. For a type
        that the weights do not fit there is a NumericError; one is raised for weights that are not finite. The tensor's
        own type, which is copied, must be one that can be read if there are others.
        """
        for type in types:
            if type != tensor.type:
                self._prepare(type)
        pieces = _pieces(tensor, importances)
        waiting: deque[tuple[int, Future[Mapping[str, bytes | NumericError]]]] = deque()
        try:
            while True:
                for piece in islice(pieces, self._ahead - len(waiting)):
                    start = piece[0] * tensor.shape[0]
                    waiting.append((start, self._pool.submit(self._rows, tensor, *piece, types)))
                if not waiting:
                    return
                start, future = waiting.popleft()
                yield start, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _prepare(self, type: str) -> None:
        """Has libgguf make the tables of a type, which it does at first use and not safely in several threads."""
        if type not in self._ready:
            block = np.ones(FORMATS[type].block_size, np.float32)
            self._libgguf.quantize_rows_raw(FORMATS[type].id, block, 1, len(block), block)
            self._ready.add(type)

    def _rows(
        self, tensor: TensorInfo, start: int, n: int, importances: Weights | None, types: Sequence[str]
    ) -> Mapping[str, bytes | NumericError]:
        row = tensor.shape[0]
        row_bytes = tensor.n_bytes // (tensor.n_weights // row)
        own = tensor.data[start * row_bytes : (start + n) * row_bytes]
        encoded: dict[str, bytes | NumericError] = {type: bytes(own) for type in types if type == tensor.type}
        if len(encoded) == len(types):
            return encoded
        x = dequantize(own, tensor.type)
        if not np.isfinite(x).all():
            raise NumericError(f"tensor {tensor.name}: weights that are not finite; fetch the model again")
        for type in types:
            if type == tensor.type:
                continue
            data: bytes = self._libgguf.quantize_rows_raw(FORMATS[type].id, x, n, row, importances)
            too_large = f"tensor {tensor.name}: weights too large for {type}; take another, such as BF16"
            encoded[type] = data if np.isfinite(dequantize(data, type)).all() else NumericError(too_large)
        return encoded


def _pieces(tensor: TensorInfo, importances: Weights | None) -> Iterator[tuple[int, int, Weights | None]]:
    """First row, number of rows and importances of what is encoded at once: of one matrix each."""
    row = tensor.shape[0]
    n_rows, at_once = tensor.n_weights // row, max(1, PIECE // row)
    of_each = [None] if importances is None else list(importances)
    each = n_rows // len(of_each)
    for i, weights in enumerate(of_each):
        for start in range(i * each, (i + 1) * each, at_once):
            yield start, min(at_once, (i + 1) * each - start), weights
