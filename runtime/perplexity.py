"""Perplexity of a text, by the algorithm of llama-perplexity, so that figures can be compared digit by digit.

The text's tokens are cut into chunks of n_ctx. Each chunk starts from an empty cache; its first token is replaced by
BOS where the model wants one; the predictions of its second half are scored. The tail that fills no chunk is dropped.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.model import Model
from subbyte.runtime.session import Activations, CacheType

MAX_EXP = 709.0  # e to the power of more is no float64


@dataclass(frozen=True)
class ChunkResult:
    """The state after a chunk: index counts from 1, ppl and error cover all chunks so far."""

    index: int
    total: int
    ppl: float
    error: float
    seconds: float


@dataclass(frozen=True)
class PerplexityResult:
    """exp of the mean negative log-likelihood (natural log), with the standard error of independent tokens."""

    model: str
    ppl: float
    error: float
    running: tuple[float, ...]
    n_ctx: int
    chunks: int
    n_tokens: int
    """tokens of the whole text"""
    n_scored: int
    text_sha256: str
    cache_type: str
    activations: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, fit for JSON."""
        return asdict(self)


def estimate(nll: NDArray[np.float64]) -> tuple[float, float]:
    """(perplexity, its standard error) of negative log-likelihoods per token."""
    mean = float(nll.mean())
    ppl = math.exp(mean) if mean < MAX_EXP else math.inf
    variance = float((nll * nll).mean()) - mean * mean
    return ppl, ppl * math.sqrt(max(variance, 0.0) / (len(nll) - 1)) if len(nll) > 1 else math.inf


def perplexity(
    model: Model,
    text: str | bytes,
    *,
    n_ctx: int = 512,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    on_chunk: Callable[[ChunkResult], None] | None = None,
) -> PerplexityResult:
    """Perplexity of `text` (one trailing newline is dropped) in chunks of n_ctx tokens; chunks: at most so many.

    activations: "int8x2" measures the file, not the rounding of activations; "int8" measures what chat and generation
    compute. on_chunk is called after each. Memory does not depend on n_ctx * n_vocab. Raises ValueError when the text
    is shorter than two chunks or n_ctx leaves nothing to score.
    """
    if n_ctx < 4:
        raise ValueError(f"chunks of {n_ctx} tokens; they must have at least 4")
    if chunks is not None and chunks < 1:
        raise ValueError(f"{chunks} chunks; there must be at least 1")
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    start = time.perf_counter()
    tokenizer = model.tokenizer
    tokens = tokenizer.encode(data.removesuffix(b"\n"), add_bos=True)
    if len(tokens) < 2 * n_ctx:
        raise ValueError(
            f"the text has {len(tokens)} tokens, {2 * n_ctx} are needed for n_ctx = {n_ctx}; "
            "give more text or a smaller context"
        )
    total = len(tokens) // n_ctx if chunks is None else min(chunks, len(tokens) // n_ctx)
    first = n_ctx // 2
    nll: NDArray[np.float64] = np.empty(0, np.float64)
    running: list[float] = []
    with model.session(n_ctx, cache_type, activations) as session:
        for i in range(total):
            chunk = tokens[i * n_ctx : (i + 1) * n_ctx]
            wanted = chunk[first + 1 :]
            if tokenizer.add_bos and tokenizer.bos is not None:
                chunk[0] = tokenizer.bos
            session.rewind(0)
            nll = np.concatenate((nll, -session.logprobs(chunk[:-1], wanted, first).astype(np.float64)))
            ppl, error = estimate(nll)
            running.append(ppl)
            if on_chunk is not None:
                on_chunk(ChunkResult(i + 1, total, ppl, error, time.perf_counter() - start))
    return PerplexityResult(
        model=str(model.path),
        ppl=ppl,
        error=error,
        running=tuple(running),
        n_ctx=n_ctx,
        chunks=total,
        n_tokens=len(tokens),
        n_scored=len(nll),
        text_sha256=hashlib.sha256(data).hexdigest(),
        cache_type=cache_type,
        activations=activations,
        seconds=time.perf_counter() - start,
    )
