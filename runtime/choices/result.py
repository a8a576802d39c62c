"""How many questions models answer rightly, and whether one does so better than another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.statistics import LEVEL, Estimate, Interval, Verdict, block_bootstrap, share
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names


@dataclass(frozen=True, slots=True)
class ChoicesResult(Record):
    """accuracy: how often the right choice has the highest log-probability; accuracy_norm: the highest per byte.

    From 0 to 1, with the standard error of independent questions.
    """

    model: str
    accuracy: Estimate
    accuracy_norm: Estimate


@dataclass(frozen=True, slots=True)
class PairedAccuracy(Record):
    """Model a against model b on the same questions.

    difference: of accuracy, a's minus b's, with its interval by bootstrap over questions. wrong_to_right: questions
    that a answers rightly and b does not; right_to_wrong: the other way. changed: those that they answer otherwise.
    p_value: of McNemar's exact test, that as many flips of both directions would differ so much by chance.
    """

    difference: Interval
    wrong_to_right: int
    right_to_wrong: int
    changed: int
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ChoicesDelta(Record):
    """How two models differ, by accuracy and by accuracy per byte."""

    a: str
    b: str
    accuracy: PairedAccuracy
    accuracy_norm: PairedAccuracy


@dataclass(frozen=True, slots=True)
class ChoicesRun(Record, Tabular):
    """Models on the same questions. chosen, chosen_norm: of each model the choices it takes, int64 [questions].

    answers: the right ones. same: of each model the index of the first one that is the same file.
    """

    results: tuple[ChoicesResult, ...]
    chosen: tuple[NDArray[np.int64], ...]
    chosen_norm: tuple[NDArray[np.int64], ...]
    answers: NDArray[np.int64]
    same: tuple[int, ...]
    questions: int
    total_questions: int
    """as many as there are: more than `questions` where the run was ended early"""
    questions_sha256: str
    chat_template: bool
    seconds: float

    def delta(self, a: int, b: int) -> ChoicesDelta:
        """Model a against model b, by their indices in `results`."""
        identical = self.same[a] == self.same[b]
        measures = (paired(of[a], of[b], self.answers, identical=identical) for of in (self.chosen, self.chosen_norm))
        return ChoicesDelta(self.results[a].model, self.results[b].model, *measures)

    def to_dict(self) -> dict[str, Any]:
        """Results and the differences of each model from the first, fit for JSON."""
        names = ("questions", "total_questions", "questions_sha256", "chat_template", "seconds")
        return {
            **{name: getattr(self, name) for name in names},
            "results": [result.to_dict() for result in self.results],
            "deltas": [self.delta(i, 0).to_dict() for i in range(1, len(self.results))],
        }

    def records(self) -> list[dict[str, Any]]:
        """A model each, with how it differs from the first one."""
        shared = {name: getattr(self, name) for name in ("questions", "questions_sha256", "chat_template")}
        rows = []
        for i, result in enumerate(self.results):
            delta = self.delta(i, 0).to_dict()
            differences = {f"delta_{name}": delta[name] for name in ("accuracy", "accuracy_norm")}
            rows.append(dict(flat({**result.to_dict(), **differences})) | shared)
        return rows

    def tables(self) -> list[Table]:
        """A table for either measure: a row for each model, with how it differs from the first one."""
        names = short_names([result.model for result in self.results])
        tables = []
        for title, measure in (("Accuracy", "accuracy"), ("Accuracy by log-probability per byte", "accuracy_norm")):
            columns = ("model", "right>", "flips>", "- first>", f"{LEVEL:.0%} interval>", "McNemar p>", "verdict")
            rows = [(name, *self._cells(i, measure)) for i, name in enumerate(names)]
            tables.append(Table.of(title, columns, rows))
        return tables

    def _cells(self, i: int, measure: str) -> tuple[str, ...]:
        right = f"{getattr(self.results[i], measure).text(2, 100)}%"
        if not i:
            return (right, "", "", "", "", "")
        of: PairedAccuracy = getattr(self.delta(i, 0), measure)
        percents = Interval(100 * of.difference.estimate, 100 * of.difference.low, 100 * of.difference.high, LEVEL)
        interval = percents.text(2, " .. ", "+") if math.isfinite(percents.high - percents.low) else "too few flips"
        flips = f"+{of.wrong_to_right} -{of.right_to_wrong}"
        return (
            right, flips, f"{percents.estimate:+.2f}%", interval, f"{of.p_value:.3f}", of.verdict,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return html(*self.tables())


def result_of(
    model: str, chosen: NDArray[np.int64], chosen_norm: NDArray[np.int64], answers: NDArray[np.int64]
) -> ChoicesResult:
    """What a model's choices come to."""
    return ChoicesResult(model, share(chosen == answers), share(chosen_norm == answers))


def paired(
    a: NDArray[np.int64], b: NDArray[np.int64], answers: NDArray[np.int64], *, identical: bool
) -> PairedAccuracy:
    """Choices of two models against each other."""
    right_a, right_b = a == answers, b == answers
    difference = block_bootstrap(right_a.astype(np.float64) - right_b)
    won, lost = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    verdict: Verdict = "better" if difference.low > 0 else "worse" if difference.high < 0 else "undecided"
    return PairedAccuracy(
        difference, won, lost, int((a != b).sum()), mcnemar(won, lost), "identical" if identical else verdict
    )


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p-value that flips of both directions are equally likely (McNemar, 1947): a sign test."""
    n, fewer = won + lost, min(won, lost)
    log_tail = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * sum(math.exp(term - n * math.log(2)) for term in log_tail))
