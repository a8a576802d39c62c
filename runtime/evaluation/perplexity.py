"""Perplexity of texts: of one model, or of several over the same tokens, whose differences have errors of their own.

One model's figure can be compared with llama-perplexity's digit by digit (see corpus.py). Two models predict the same
tokens well and badly together, so the error of their difference is far smaller than that of either: it comes from the
differences token by token.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from subbyte.runtime.evaluation.checkpoint import Journal
from subbyte.runtime.evaluation.corpus import Corpus, read_corpus
from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun, estimate, result_of
from subbyte.runtime.evaluation.statistics import LEVEL, Floats, Looks
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The state after a chunk: index counts from 1; ppl and error, one for each model, cover all chunks so far."""

    index: int
    total: int
    ppl: tuple[float, ...]
    error: tuple[float, ...]
    seconds: float


@overload
def perplexity(
    model: Model,
    text: str | bytes | Sequence[str | bytes],
    *,
    n_ctx: int = ...,
    chunks: int | None = ...,
    stride: int | None = ...,
    cache_type: CacheType = ...,
    activations: Activations = ...,
    compat: bool = ...,
    resume: str | os.PathLike[str] | None = ...,
    on_chunk: Callable[[ChunkResult], None] | None = ...,
) -> PerplexityResult: ...
@overload
def perplexity(
    model: Sequence[Model],
    text: str | bytes | Sequence[str | bytes],
    *,
    n_ctx: int = ...,
    chunks: int | None = ...,
    stride: int | None = ...,
    cache_type: CacheType = ...,
    activations: Activations = ...,
    compat: bool = ...,
    until_decided: bool = ...,
    resume: str | os.PathLike[str] | None = ...,
    on_chunk: Callable[[ChunkResult], None] | None = ...,
) -> PerplexityRun: ...
def perplexity(
    model: Model | Sequence[Model],
    text: str | bytes | Sequence[str | bytes],
    *,
    n_ctx: int = 512,
    chunks: int | None = None,
    stride: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    compat: bool = False,
    until_decided: bool = False,
    resume: str | os.PathLike[str] | None = None,
    on_chunk: Callable[[ChunkResult], None] | None = None,
) -> PerplexityResult | PerplexityRun:
    """Perplexity of `text`, or of several texts, in chunks of n_ctx tokens; chunks: at most so many in all.

    model: one, or a list of them that tokenize alike: they take turns at each chunk, and `PerplexityRun.delta` compares
    them. stride: score the last so many tokens of overlapping windows (see corpus.py). activations: "int8x2" measures
    the file, not the rounding of activations; "int8" measures what chat and generation compute. compat: llama.cpp's
    rules where they differ (corpus.py). until_decided: stop when every model is better or worse than the first, or at
    the end of the text; each look has a price, see `Looks`. resume: a file that takes the results of each chunk; if it
    is there, the run goes on from it. on_chunk is called after each chunk. Memory does not depend on n_ctx * n_vocab.
    Raises ValueError when a text is shorter than two chunks, when n_ctx leaves nothing to score, or when the models
    tokenize it differently; SubbyteError when the file to resume from is of another run.
    """
    models = [model] if isinstance(model, Model) else list(model)
    texts = [text] if isinstance(text, str | bytes) else list(text)
    corpora = [
        read_corpus(texts, m.tokenizer, n_ctx=n_ctx, stride=stride, chunks=chunks, compat=compat) for m in models
    ]
    check_alike(models, corpora)
    start, total = time.perf_counter(), len(corpora[0].chunks)
    losses: list[list[Floats]] = [[] for _ in models]
    looks = Looks(LEVEL)
    journal = None
    if resume is not None:
        what = _identity(models, corpora[0], cache_type, activations)
        journal = Journal(resume, what, (len(models), len(corpora[0].chunks[0].wanted)))
    for n, turn in enumerate(_turns(models, corpora, cache_type, activations, journal), 1):
        for model_losses, loss in zip(losses, turn, strict=True):
            model_losses.append(loss)
        if on_chunk is not None:
            ppl, error = zip(*(estimate(np.concatenate(loss)) for loss in losses), strict=True)
            on_chunk(ChunkResult(n, total, ppl, error, time.perf_counter() - start))
        if until_decided and looks.is_due(n, total) and looks.settles([[loss.mean() for loss in m] for m in losses]):
            break
    seconds = time.perf_counter() - start
    results = tuple(
        result_of(m, corpus, np.stack(loss), cache_type, activations, seconds)
        for m, corpus, loss in zip(models, corpora, losses, strict=True)
    )
    if isinstance(model, Model):
        return results[0]
    return PerplexityRun(results, tuple(np.stack(loss) for loss in losses), looks.level)


def check_alike(models: Sequence[Model], corpora: Sequence[Corpus]) -> None:
    """Raise ValueError unless the models, at least one, make the same tokens of the texts."""
    if not models:
        raise ValueError("no model to measure; give at least one")
    for model, corpus in zip(models, corpora, strict=True):
        if not corpus.same_tokens(corpora[0]):
            raise ValueError(
                f"{model.path} tokenizes the text otherwise than {models[0].path}, so their losses can't be paired; "
                "measure each alone and compare bits per byte"
            )


def _identity(models: Sequence[Model], corpus: Corpus, cache_type: str, activations: str) -> dict[str, Any]:
    """What results of another run must share with this one to be part of it."""
    files = [[str(m.path.resolve()), m.path.stat().st_size, m.path.stat().st_mtime_ns] for m in models]
    same = {"n_ctx": corpus.n_ctx, "stride": corpus.stride, "cache_type": cache_type, "activations": activations}
    return {"models": files, "text_sha256": corpus.sha256, **same, "first_tokens": corpus.chunks[0].tokens[:2].tolist()}


def _turns(
    models: Sequence[Model],
    corpora: Sequence[Corpus],
    cache_type: CacheType,
    activations: Activations,
    journal: Journal | None,
) -> Iterator[list[Floats]]:
    """For each chunk every model's loss in nats of its scored tokens, float64 [n]."""
    n_ctx, n_done = corpora[0].n_ctx, 0
    if journal is not None:
        n_done = min(len(journal.done), len(corpora[0].chunks))
        yield from journal.done[:n_done]
    with ExitStack() as stack:
        sessions = [stack.enter_context(model.session(n_ctx, cache_type, activations)) for model in models]
        for chunks in zip(*(corpus.chunks[n_done:] for corpus in corpora), strict=True):
            turn = []
            for session, chunk in zip(sessions, chunks, strict=True):
                session.rewind(0)
                turn.append(-session.logprobs(chunk.tokens, chunk.wanted, chunk.first).astype(np.float64))
            if journal is not None:
                journal.add(turn)
            yield turn
