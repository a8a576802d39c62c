"""Importance matrices: how large the inputs of each matrix are, column by column, which is what quantizers weigh by.

The algorithm is llama-imatrix's: chunks as for perplexity, and of all their rows the squares of each column summed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from subbyte.errors import NumericError
from subbyte.runtime.evaluation.corpus import Chunk, read_corpus
from subbyte.runtime.evaluation.forward import Forward, Input
from subbyte.runtime.imatrix.imatrix import Imatrix, Sums
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType, SessionOptions


def imatrix(
    model: Model,
    text: str | bytes | Sequence[str | bytes],
    *,
    n_ctx: int = 512,
    chunks: int | None = None,
    process_output: bool = False,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    datasets: Sequence[str] = (),
    on_chunk: Callable[[int, int], None] | None = None,
) -> Imatrix:
    """Run texts through a model and sum the squares of what its matrices are multiplied with.

    process_output: also for the head (output, or token_embd where that is the head), which llama-imatrix leaves out
    unless asked. datasets: names of the texts, kept in the result; default: their sha256. on_chunk(done, total): told
    after each chunk. Raises ValueError for a text shorter than two chunks, NumericError for inputs that are not finite,
    ResourceError.
    """
    texts = [text] if isinstance(text, (str, bytes)) else text
    corpus = read_corpus(texts, model.tokenizer, n_ctx=n_ctx, chunks=chunks)
    forward = Forward(model, SessionOptions(n_ctx, cache_type, activations))
    squares: dict[str, Sums] = {}
    sums: dict[str, Sums] = {}
    counts: defaultdict[str, int] = defaultdict(int)
    for done, chunk in enumerate(corpus.chunks, 1):
        for tensors, x in _inputs(forward, chunk):
            names = dict.fromkeys(tensors)  # a fused tensor is there once for each of its parts
            wanted = [name for name in names if name.startswith("blk.") or process_output]
            if not wanted:
                continue
            x64 = x.astype(np.float64)
            total, square = x64.sum(axis=0), np.einsum("ij,ij->j", x64, x64)
            if not np.isfinite(square).all():
                raise NumericError(f"{model.path}: the inputs of {wanted[0]} are not finite; fetch the model again")
            for name in wanted:
                squares[name] = squares.get(name, 0) + square[None]
                sums[name] = sums.get(name, 0) + total[None]
                counts[name] += len(x)
        if on_chunk is not None:
            on_chunk(done, len(corpus.chunks))
    return Imatrix(
        squares=squares, sums=sums, counts={name: np.array([n], np.float64) for name, n in counts.items()},
        datasets=tuple(datasets) or (f"sha256:{corpus.sha256}",), chunk_count=len(corpus.chunks), chunk_size=n_ctx,
    )  # fmt: skip


def _inputs(forward: Forward, chunk: Chunk) -> Iterator[Input]:
    """Inputs of all tokens of a chunk, the last one too, though nothing is predicted from it."""
    tokens = np.append(chunk.tokens, chunk.wanted[-1:])
    for start in range(0, len(tokens), forward.n_batch):
        yield from forward.inputs(tokens[start : start + forward.n_batch], start)
