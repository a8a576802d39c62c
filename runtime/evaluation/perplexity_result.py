"""What a measurement of perplexity found: each model's figures, and what the differences between models are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from subbyte.runtime.evaluation.corpus import Corpus
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Floats, Interval, Verdict, block_bootstrap, exp, mean_error
from subbyte.runtime.model import Model
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, html, short_names


@dataclass(frozen=True, slots=True)
class PerplexityResult(Record):
    """exp of the mean negative log-likelihood (natural log), with the standard error of independent tokens.

    interval: of ppl, by block bootstrap as for differences of models, so that tokens need not be independent.
    """

    model: str
    ppl: float
    error: float
    interval: Interval
    bits_per_byte: float
    """code length over the bytes of the scored tokens: comparable between models of different vocabularies"""
    running: tuple[float, ...]
    n_ctx: int
    stride: int | None
    chunks: int
    total_chunks: int
    """of the whole text, or as many as were asked for: more than `chunks` where the run was ended early"""
    n_tokens: int | None
    """of the whole text; None where no more of it was tokenized than the chunks take"""
    n_scored: int
    text_sha256: str | None
    """None where only the text's tokens are known"""
    cache_type: str
    activations: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Delta(Record):
    """How model a's loss differs from model b's on the same tokens. Negative: a is better.

    log_ratio: of ln PPL(a) - ln PPL(b), with its interval by block bootstrap; ratio: of PPL(a) / PPL(b).
    """

    a: str
    b: str
    log_ratio: Interval
    ratio: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PerplexityRun(Record, Tabular):
    """Several models over the same tokens. losses: of each model, nats of every scored token, float64 [chunks, n]."""

    results: tuple[PerplexityResult, ...]
    losses: tuple[Floats, ...]
    level: float
    """confidence of its intervals: 0.95, or more if the run was judged several times, see `SequentialTest`"""
    same: tuple[int, ...] = ()
    """of each model the index of the first one that is the same, see `first_of_same`; empty where that is not known"""

    def delta(self, a: int, b: int) -> Delta:
        """Model a against model b, by their indices in `results`."""
        log_ratio = block_bootstrap((self.losses[a] - self.losses[b]).mean(axis=1), self.level)
        ratio = _exp_of(log_ratio)
        identical = bool(self.same) and self.same[a] == self.same[b]
        verdict: Verdict = "identical" if identical else log_ratio.verdict
        return Delta(self.results[a].model, self.results[b].model, log_ratio, ratio, verdict)

    def to_dict(self) -> dict[str, Any]:
        """Results and the differences of each model from the first, fit for JSON."""
        deltas = [self.delta(i, 0).to_dict() for i in range(1, len(self.results))]
        return {"results": [result.to_dict() for result in self.results], "deltas": deltas, "level": self.level}

    def table(self) -> Table:
        """A row for each model, with how it differs from the first one."""
        numbers = ("PPL>", "±>", "bits/byte>", "ln PPL - first>", f"{self.level:.1%} interval>")
        names = short_names([result.model for result in self.results])
        rows = [(name, *self._cells(i)) for i, name in enumerate(names)]
        return Table.of("", ("model", *numbers, "verdict"), rows)

    def records(self) -> list[dict[str, Any]]:
        """A model each; delta, low, high and verdict: how it differs from the first one, in ln PPL."""
        rows = []
        for i, result in enumerate(self.results):
            row = {name: value for name, value in result.to_dict().items() if name not in ("running", "interval")}
            row |= {f"ppl_{end}": result.to_dict()["interval"][end] for end in ("low", "high")}
            delta = self.delta(i, 0)
            interval = delta.log_ratio.to_dict()
            row |= {"delta": interval["estimate"], **{name: interval[name] for name in ("low", "high", "level")}}
            rows.append(row | {"verdict": delta.verdict})
        return rows

    def _cells(self, i: int) -> tuple[str, ...]:
        result = self.results[i]
        figures = (f"{result.ppl:.4f}", f"{result.error:.4f}", f"{result.bits_per_byte:.4f}")
        if not i:
            return (*figures, "", "", "")
        delta = self.delta(i, 0)
        log_ratio = delta.log_ratio
        return (*figures, f"{log_ratio.estimate:+.5f}", log_ratio.text(5, " .. ", "+"), delta.verdict)

    def _repr_html_(self) -> str:
        return html(self.table())


def _exp_of(interval: Interval) -> Interval:
    return Interval(exp(interval.estimate), exp(interval.low), exp(interval.high), interval.level)


def estimate(loss: float, error: float) -> tuple[float, float]:
    """(perplexity, its standard error) from the mean negative log-likelihood per token and the error of that."""
    ppl = exp(loss)
    return ppl, ppl * error


def result_of(model: Model, corpus: Corpus, losses: Floats, options: EvalOptions, seconds: float) -> PerplexityResult:
    """What a model's losses over the first chunks of a corpus come to, float64 [chunks, n]."""
    nll = losses.ravel()
    ppl, error = estimate(*mean_error(nll))
    n_bytes = sum(len(model.tokenizer.piece(t)) for c in corpus.chunks[: len(losses)] for t in c.targets.tolist())
    so_far = np.cumsum(losses.sum(axis=1)) / np.cumsum([len(loss) for loss in losses])
    return PerplexityResult(
        model=str(model.path),
        ppl=ppl,
        error=error,
        interval=_exp_of(block_bootstrap(losses.mean(axis=1))),
        bits_per_byte=float(nll.sum()) / math.log(2) / n_bytes if n_bytes else math.nan,
        running=tuple(exp(float(mean)) for mean in so_far),
        n_ctx=corpus.n_ctx,
        stride=corpus.stride,
        chunks=len(losses),
        total_chunks=len(corpus.chunks),
        n_tokens=corpus.n_tokens,
        n_scored=len(nll),
        text_sha256=corpus.sha256,
        cache_type=options.cache_type,
        activations=options.activations,
        seconds=seconds,
    )
