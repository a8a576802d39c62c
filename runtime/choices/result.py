"""How many questions models answer rightly, and whether one does so better than another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.proportions import Paired, proportion
from subbyte.runtime.evaluation.statistics import Interval, Verdict
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names


@dataclass(frozen=True, slots=True)
class ChoicesResult(Record):
    """accuracy: how often the right choice has the highest log-probability; accuracy_norm: the highest per byte.

    From 0 to 1, with Wilson's interval.
    """

    model: str
    accuracy: Interval
    accuracy_norm: Interval


@dataclass(frozen=True, slots=True)
class ChoicesDelta(Record):
    """Model a against model b on the same questions, by accuracy and by accuracy per byte: b is the base of the pairs.

    changed: questions that they answer otherwise, of which both answers may be wrong.
    """

    a: str
    b: str
    accuracy: Paired
    accuracy_norm: Paired
    changed: int
    changed_norm: int
    verdict: Verdict
    verdict_norm: Verdict


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
        accuracy, norm = (paired(of[a], of[b], self.answers) for of in (self.chosen, self.chosen_norm))
        changed, changed_norm = (int((of[a] != of[b]).sum()) for of in (self.chosen, self.chosen_norm))
        same = self.same[a] == self.same[b]
        return ChoicesDelta(
            self.results[a].model, self.results[b].model, accuracy, norm, changed, changed_norm,
            "identical" if same else accuracy.verdict, "identical" if same else norm.verdict,
        )  # fmt: skip

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
            delta = {f"delta_{name}": of for name, of in self.delta(i, 0).to_dict().items() if name not in "ab"}
            rows.append(dict(flat({**result.to_dict(), **delta})) | shared)
        return rows

    def tables(self) -> list[Table]:
        """A table for either measure: a row for each model, with how it differs from the first one."""
        names = short_names([result.model for result in self.results])
        tables = []
        for title, suffix in (("Accuracy", ""), ("Accuracy by log-probability per byte", "_norm")):
            columns = ("model", "right>", "95 % interval>", "flips>", "- first>", "95 % interval>", "p>", "verdict")
            shown = len(columns) if len(names) > 1 else 3
            rows = [(name, *self._cells(i, suffix))[:shown] for i, name in enumerate(names)]
            tables.append(Table.of(title, columns[:shown], rows))
        return tables

    def _cells(self, i: int, suffix: str) -> tuple[str, ...]:
        accuracy: Interval = getattr(self.results[i], f"accuracy{suffix}")
        own = f"{accuracy.estimate:.1%}", _percents(accuracy)
        if not i:
            return (*own, "", "", "", "", "")
        delta = self.delta(i, 0)
        of: Paired = getattr(delta, f"accuracy{suffix}")
        flips = f"+{of.this_only} -{of.base_only}"
        difference = f"{of.difference.estimate:+.1%}", _percents(of.difference, "+")
        return (*own, flips, *difference, f"{of.p:.3f}", getattr(delta, f"verdict{suffix}"))

    def _repr_html_(self) -> str:
        return html(*self.tables())


def result_of(
    model: str, chosen: NDArray[np.int64], chosen_norm: NDArray[np.int64], answers: NDArray[np.int64]
) -> ChoicesResult:
    """What a model's choices come to."""
    n = len(answers)
    return ChoicesResult(model, *(proportion(int((of == answers).sum()), n) for of in (chosen, chosen_norm)))


def paired(this: NDArray[np.int64], base: NDArray[np.int64], answers: NDArray[np.int64]) -> Paired:
    """Choices of a model against those of a base."""
    right, of_base = this == answers, base == answers
    counts = (right & of_base, ~right & of_base, right & ~of_base, ~right & ~of_base)
    return Paired.of(*(int(each.sum()) for each in counts))


def _percents(of: Interval, sign: str = "") -> str:
    return f"{100 * of.low:{sign}.1f} .. {100 * of.high:{sign}.1f} %"
