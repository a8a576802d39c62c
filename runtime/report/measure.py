"""What a report is made of: digests of files, losses over a text with divergences from a base, speeds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from subbyte.runtime.bench.bench import bench
from subbyte.runtime.compare.compare import compare
from subbyte.runtime.evaluation.corpus import read_corpus
from subbyte.runtime.evaluation.divergence import Divergence
from subbyte.runtime.evaluation.perplexity import perplexity
from subbyte.runtime.evaluation.perplexity_result import PerplexityRun, result_of
from subbyte.runtime.evaluation.statistics import LEVEL
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.model import Model
from subbyte.runtime.records import Record
from subbyte.runtime.types import Activations, CacheType, StepProgress, Texts

PIECE = 1 << 24  # bytes hashed at once


@dataclass(frozen=True, slots=True)
class Speed(Record):
    """Tokens/s: the median of the runs, their median distance from it, and the share of the roofline.

    test: as llama-bench names it, "pp512". bound_by: "memory" or "compute".
    """

    test: str
    rate: float
    spread: float
    share: float
    bound_by: str


class Speeds(TypedDict):
    """Of one model."""

    prompt: Speed
    generation: Speed


def digests(models: Sequence[GGUF], tell: StepProgress) -> list[dict[str, str]]:
    """sha256 of all files of each model, by file name."""
    total, done = sum(gguf.size for gguf in models), 0

    def digest(path: Path) -> str:
        nonlocal done
        sha256 = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                sha256.update(piece)
                done += len(piece)
                tell(f"sha256 of {path.name}", done, total)
        return sha256.hexdigest()

    return [{path.name: digest(path) for path in gguf.paths} for gguf in models]


def losses_and_divergences(
    files: Sequence[Model],
    base: Model | None,
    text: Texts,
    *,
    n_ctx: int,
    chunks: int | None,
    cache_type: CacheType,
    activations: Activations,
    tell: StepProgress,
) -> tuple[PerplexityRun, tuple[Divergence, ...]]:
    """Perplexity of the files, then of the base, and how the files diverge from it; all in one pass over the text."""
    if base is None:
        run = perplexity(
            files, text, n_ctx=n_ctx, chunks=chunks, cache_type=cache_type, activations=activations,
            on_chunk=lambda chunk: tell("perplexity", chunk.index, chunk.total),
        )  # fmt: skip
        return run, ()
    found = compare(
        base, files, text, n_ctx=n_ctx, chunks=chunks, cache_type=cache_type, activations=activations,
        on_chunk=lambda chunk: tell("perplexity and divergence", chunk.index, chunk.total),
    )  # fmt: skip
    texts = [text] if isinstance(text, str | bytes) else text
    corpus = read_corpus(texts, base.tokenizer, n_ctx=n_ctx, chunks=chunks)
    losses = (*(scored.loss for scored in found.scored), found.scored[0].loss_base)
    results = tuple(
        result_of(model, corpus, loss, cache_type, activations, found.seconds)
        for model, loss in zip((*files, base), losses, strict=True)
    )
    return PerplexityRun(results, losses, LEVEL), found.results


def speeds(
    model: Model, prompt: int, generation: int, repeats: int, cache_type: CacheType, tell: StepProgress
) -> Speeds:
    """Of a prompt of so many tokens and of so many generated ones."""
    found = bench(
        model.path, prompts=[prompt], generations=[generation], threads=[model.n_threads], repeats=repeats,
        cache_type=cache_type, on_progress=lambda what, done, total: tell(f"{model.path.name}: {what}", done, total),
    )  # fmt: skip
    ours = [Speed(m.case.name, m.rate, m.spread, m.share, m.bound_by) for m in found.measured]
    return {"prompt": ours[0], "generation": ours[1]}
