"""What a measurement of perplexity found: each model's figures, and what the differences between models are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.corpus import Corpus
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import Estimate, Floats, Interval, Verdict, exp, mean_error, share
from subbyte.runtime.model import Model
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names


@dataclass(frozen=True, slots=True)
class PartPerplexity(Record):
    """Perplexity of a part of the tokens: of one text, or at some positions. right: as of `PerplexityResult`."""

    n_scored: int
    ppl: float
    error: float
    right: Estimate


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
    right: Estimate
    """how many tokens of the text are the model's likeliest, from 0 to 1"""
    domains: dict[str, PartPerplexity]
    """of each text by its name, where there are several"""
    positions: dict[str, PartPerplexity]
    """by the number of tokens before the one predicted, "256-319" """


@dataclass(frozen=True, slots=True)
class Delta(Record):
    """How model a's loss differs from model b's on the same tokens. Negative: a is better.

    log_ratio: of ln PPL(a) - ln PPL(b), with its interval by block bootstrap; ratio: of PPL(a) / PPL(b).
    right_to_wrong: how many tokens of the text are b's likeliest and not a's; wrong_to_right: a's and not b's. right:
    their difference, how many more are a's likeliest than b's, with its interval.
    """

    a: str
    b: str
    log_ratio: Interval
    ratio: Interval
    verdict: Verdict
    right_to_wrong: Estimate
    wrong_to_right: Estimate
    right: Interval


@dataclass(frozen=True, slots=True)
class PerplexityRun(Record, Tabular):
    """Several models over the same tokens. losses: of each model, nats of every scored token, float64 [n].

    right: of each model, whether the token is its likeliest, bool [n]. tokens: which these are.
    """

    results: tuple[PerplexityResult, ...]
    losses: tuple[Floats, ...]
    right: tuple[NDArray[np.bool_], ...]
    tokens: ScoredTokens
    level: float
    """confidence of its intervals: 0.95, or more if the run was judged several times, see `SequentialTest`"""
    same: tuple[int, ...] = ()
    """of each model the index of the first one that is the same, see `first_of_same`; empty where that is not known"""

    def delta(self, a: int, b: int) -> Delta:
        """Model a against model b, by their indices in `results`."""
        log_ratio = self.tokens.interval(self.losses[a] - self.losses[b], self.level)
        identical = bool(self.same) and self.same[a] == self.same[b]
        right_a, right_b = self.right[a], self.right[b]
        return Delta(
            a=self.results[a].model,
            b=self.results[b].model,
            log_ratio=log_ratio,
            ratio=_exp_of(log_ratio),
            verdict="identical" if identical else log_ratio.verdict,
            right_to_wrong=share(right_b & ~right_a),
            wrong_to_right=share(right_a & ~right_b),
            right=self.tokens.interval(right_a.astype(np.float64) - right_b, self.level),
        )

    def to_dict(self) -> dict[str, Any]:
        """Results and the differences of each model from the first, fit for JSON."""
        deltas = [self.delta(i, 0).to_dict() for i in range(1, len(self.results))]
        return {"results": [result.to_dict() for result in self.results], "deltas": deltas, "level": self.level}

    def table(self) -> Table:
        """A row for each model, with how it differs from the first one."""
        numbers = ("PPL>", "±>", "bits/byte>", "right>", "flips>", "ln PPL - first>", f"{self.level:.1%} interval>")
        names = short_names([result.model for result in self.results])
        rows = [(name, *self._cells(i)) for i, name in enumerate(names)]
        return Table.of("", ("model", *numbers, "verdict"), rows)

    def parts(self) -> list[Table]:
        """Perplexity by text and by position of the token, where there is more than one; a column for each model."""
        columns = ("", *short_names([result.model for result in self.results]))
        titles = {"PPL by text": "domains", "PPL by tokens before the one predicted": "positions"}
        tables = []
        for title, of in titles.items():
            parts = [getattr(result, of) for result in self.results]
            rows = [(name, *(f"{part[name].ppl:.4f} ± {part[name].error:.4f}" for part in parts)) for name in parts[0]]
            if len(rows) > 1:
                tables.append(Table.of_figures(title, columns, rows))
        return tables

    def records(self) -> list[dict[str, Any]]:
        """A model each; delta, low, high and verdict: how it differs from the first one, in ln PPL."""
        rows = []
        for i, result in enumerate(self.results):
            row = {name: value for name, value in result.to_dict().items() if name not in ("running", "interval")}
            row |= {f"ppl_{end}": result.to_dict()["interval"][end] for end in ("low", "high")}
            delta = self.delta(i, 0)
            interval = delta.log_ratio.to_dict()
            row |= {"delta": interval["estimate"], **{name: interval[name] for name in ("low", "high", "level")}}
            flips = {name: getattr(delta, name).value for name in ("right_to_wrong", "wrong_to_right")}
            rows.append(dict(flat(row)) | {"verdict": delta.verdict} | flips)
        return rows

    def _cells(self, i: int) -> tuple[str, ...]:
        result = self.results[i]
        right = f"{result.right.value:.2%}"
        figures = (f"{result.ppl:.4f}", f"{result.error:.4f}", f"{result.bits_per_byte:.4f}", right)
        if not i:
            return (*figures, "", "", "", "")
        delta = self.delta(i, 0)
        log_ratio = delta.log_ratio
        flips = f"+{delta.wrong_to_right.value:.2%} -{delta.right_to_wrong.value:.2%}"
        return (*figures, flips, f"{log_ratio.estimate:+.5f}", log_ratio.text(5, " .. ", "+"), delta.verdict)

    def _repr_html_(self) -> str:
        return html(self.table(), *self.parts())


def _exp_of(interval: Interval) -> Interval:
    return Interval(exp(interval.estimate), exp(interval.low), exp(interval.high), interval.level)


def estimate(loss: float, error: float) -> tuple[float, float]:
    """(perplexity, its standard error) from the mean negative log-likelihood per token and the error of that."""
    ppl = exp(loss)
    return ppl, ppl * error


def result_of(
    model: Model,
    losses: Floats,
    right: NDArray[np.bool_],
    corpus: Corpus,
    tokens: ScoredTokens,
    options: EvalOptions,
    seconds: float,
) -> PerplexityResult:
    """What a model's losses of the first tokens of a corpus come to, float64 [n]; right: see `PerplexityRun`."""
    ppl, error = estimate(*mean_error(losses))
    n_chunks = int(tokens.chunk[-1]) + 1
    n_bytes = sum(len(model.tokenizer.piece(t)) for c in corpus.chunks[:n_chunks] for t in c.targets.tolist())
    so_far = np.cumsum(np.bincount(tokens.chunk, losses)) / np.cumsum(np.bincount(tokens.chunk))
    return PerplexityResult(
        model=str(model.path),
        ppl=ppl,
        error=error,
        interval=_exp_of(tokens.interval(losses)),
        bits_per_byte=float(losses.sum()) / math.log(2) / n_bytes if n_bytes else math.nan,
        running=tuple(exp(float(mean)) for mean in so_far),
        n_ctx=corpus.n_ctx,
        stride=corpus.stride,
        chunks=n_chunks,
        total_chunks=len(corpus.chunks),
        n_tokens=corpus.n_tokens,
        n_scored=len(losses),
        text_sha256=corpus.sha256,
        cache_type=options.cache_type,
        activations=options.activations,
        seconds=seconds,
        right=share(right),
        domains={name: _part(losses[of], right[of]) for name, of in tokens.domains()},
        positions={name: _part(losses[of], right[of]) for name, of in tokens.positions()},
    )


def _part(losses: Floats, right: NDArray[np.bool_]) -> PartPerplexity:
    return PartPerplexity(len(losses), *estimate(*mean_error(losses)), share(right))
