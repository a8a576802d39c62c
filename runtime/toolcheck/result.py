"""What a measurement of function calling found: how often models call right, and what the differences are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from subbyte.runtime.evaluation.proportions import Paired, proportion
from subbyte.runtime.evaluation.statistics import Interval, Verdict
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, html, short_names
from subbyte.runtime.text import one_line
from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.scoring import FailureKind
from subbyte.runtime.types import Activations, CacheType

Mode: TypeAlias = Literal["free", "constrained"]
"""free: the model decides whether to call, and writes as it likes. constrained: its answer must be calls, each held to
its function's schema."""
_Row: TypeAlias = tuple[str | None, int]  # a category, None for all, and the index of a model


@dataclass(frozen=True, slots=True)
class CaseOutcome(Record):
    """A model's answer to a case: what it called, and what is wrong with that. model: its index.

    failure: None where the answer is right; detail: what is wrong in words.
    """

    model: int
    mode: Mode
    id: str
    category: str
    failure: FailureKind | None
    detail: str
    answer: CaseAnswer


@dataclass(frozen=True, slots=True)
class ToolcheckRun(Record, Tabular):
    """Models over the same cases. same: of each model the index of the first one that is the same file.

    base: the index of the model that the others are compared with. n_done: the answers that there are, fewer than
    n_total in a run that was ended early. n_ctx: None for what each model took. seconds: None where an earlier run made
    some of the answers.
    """

    models: tuple[str, ...]
    base: int
    modes: tuple[Mode, ...]
    outcomes: tuple[CaseOutcome, ...]
    same: tuple[int, ...]
    n_cases: int
    n_done: int
    n_total: int
    cases_sha256: str
    thinking: bool | None
    max_tokens: int
    n_ctx: int | None
    cache_type: CacheType
    activations: Activations
    seconds: float | None

    def accuracy(self, model: int, mode: Mode, category: str | None = None) -> Interval | None:
        """The share of right answers, with Wilson's interval; None where there are none. category: None for all."""
        right = [outcome.failure is None for outcome in self._of(model, mode, category)]
        return proportion(sum(right), len(right)) if right else None

    def paired(self, model: int, mode: Mode, category: str | None = None) -> Paired | None:
        """A model against the base on the cases that both answered; None where there are none."""
        base = {outcome.id: outcome.failure is None for outcome in self._of(self.base, mode, category)}
        pairs = [(base[o.id], o.failure is None) for o in self._of(model, mode, category) if o.id in base]
        counts = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
        return Paired.of(*counts) if pairs else None

    def verdict(self, model: int, mode: Mode, category: str | None = None) -> Verdict:
        """Whether a model calls better or worse than the base, by McNemar's test."""
        paired = self.paired(model, mode, category)
        if self.same[model] == self.same[self.base]:
            return "identical"
        return "undecided" if paired is None else paired.verdict

    def failures(self, model: int, mode: Mode) -> dict[FailureKind, int]:
        """How many answers have each kind of failure, those that none has left out."""
        kinds = [outcome.failure for outcome in self._of(model, mode, None)]
        return {kind: n for kind in get_args(FailureKind) if (n := kinds.count(kind))}

    def tables(self) -> list[Table]:
        """For each mode the share of right answers, each model against the base, and how often answers fail how."""
        names = short_names(self.models)
        return [
            table
            for mode in self.modes
            if (rows := self._rows_of(mode))
            for table in (
                self._mode_table(mode, rows, names),
                *(self._paired_table(mode, rows, names, i) for i in range(len(names)) if i != self.base),
                self._failures_table(mode, names),
            )
            if table.rows
        ]

    def failed(self) -> Table:
        """The answers that are wrong: what was called, and what is wrong with it."""
        names = short_names(self.models)
        rows = [
            (o.id, names[o.model], o.mode, _words(o.failure), one_line(o.detail), _called(o.answer))
            for o in self.outcomes
            if o.failure is not None
        ]
        return Table.of("Wrong answers", ("case", "model", "mode", "failure", "what", "called"), rows)

    def records(self) -> list[dict[str, Any]]:
        """A row for each mode, category and model; all categories together are "all"."""
        return [self._record(mode, category, i) for mode in self.modes for category, i in self._rows_of(mode)]

    def to_dict(self) -> dict[str, Any]:
        """The figures, every answer, and what they were measured under, fit for JSON."""
        rows = [
            {"mode": mode, "category": category, "model": self.models[i], **self._figures(mode, category, i)}
            for mode in self.modes
            for category, i in self._rows_of(mode)
        ]
        facts = Record.to_dict(self)
        return {"results": rows, **{key: value for key, value in facts.items() if key != "same"}}

    def _of(self, model: int, mode: Mode, category: str | None) -> Iterator[CaseOutcome]:
        return (
            outcome
            for outcome in self.outcomes
            if outcome.model == model and outcome.mode == mode and category in (None, outcome.category)
        )

    def _rows_of(self, mode: Mode) -> list[_Row]:
        """The categories and models that there are answers of; None: all categories, where there are several."""
        found = dict.fromkeys((o.category, o.model) for o in self.outcomes if o.mode == mode)
        categories = dict.fromkeys(category for category, _ in found)
        rows: list[_Row] = [
            (category, i) for category in categories for i in range(len(self.models)) if (category, i) in found
        ]
        if len(categories) > 1:
            rows += [(None, i) for i in sorted({model for _, model in found})]
        return rows

    def _figures(self, mode: Mode, category: str | None, i: int) -> dict[str, Any]:
        answers = list(self._of(i, mode, category))
        paired = None if i == self.base else self.paired(i, mode, category)
        accuracy = self.accuracy(i, mode, category)
        return {
            "cases": len(answers),
            "right": sum(outcome.failure is None for outcome in answers),
            "accuracy": accuracy.to_dict() if accuracy else None,
            "paired": paired.to_dict() if paired else None,
            "verdict": self.verdict(i, mode, category) if paired else None,
        }

    def _record(self, mode: Mode, category: str | None, i: int) -> dict[str, Any]:
        figures = self._figures(mode, category, i)
        accuracy, paired = figures["accuracy"], figures["paired"] or {}
        difference = paired.get("difference", {})
        return {
            "model": self.models[i], "mode": mode, "category": category or "all", "cases": figures["cases"],
            "right": figures["right"], "accuracy": accuracy["estimate"], "low": accuracy["low"],
            "high": accuracy["high"], **{key: paired.get(key) for key in ("both", "base_only", "this_only", "neither")},
            "difference": difference.get("estimate"), "difference_low": difference.get("low"),
            "difference_high": difference.get("high"), "p": paired.get("p"), "verdict": figures["verdict"],
        }  # fmt: skip

    def _mode_table(self, mode: Mode, of: Sequence[_Row], names: Sequence[str]) -> Table:
        columns = ("category", "model", "right>", "accuracy>", "95 % interval>")
        rows = []
        for category, i in of:
            right = [outcome.failure is None for outcome in self._of(i, mode, category)]
            share = proportion(sum(right), len(right))
            counts = f"{sum(right)} of {len(right)}"
            rows.append((category or "all", names[i], counts, f"{share.estimate:.1%}", _percent(share)))
        return Table.of(_TITLES[mode], columns, rows)

    def _paired_table(self, mode: Mode, of: Sequence[_Row], names: Sequence[str], i: int) -> Table:
        """A model against the base; no rows where no case has answers of both."""
        columns = ("category", "flips>", "- base>", "95 % interval>", "p>", "verdict")
        rows = []
        for category in (category for category, model in of if model == i):
            if (paired := self.paired(i, mode, category)) is not None:
                flips, difference = f"+{paired.this_only} -{paired.base_only}", paired.difference
                interval, verdict = _percent(difference, "+"), self.verdict(i, mode, category)
                rows.append(
                    (category or "all", flips, f"{difference.estimate:+.1%}", interval, f"{paired.p:.3f}", verdict)
                )
        return Table.of(f"{names[i]} against {names[self.base]}, {mode}", columns, rows)

    def _failures_table(self, mode: Mode, names: Sequence[str]) -> Table:
        counts = [self.failures(i, mode) for i in range(len(names))]
        kinds = [kind for kind in get_args(FailureKind) if any(kind in of for of in counts)]
        rows = [(_words(kind), *(str(of.get(kind, 0)) for of in counts)) for kind in kinds]
        return Table.of_figures(f"What is wrong with the others, {mode}", ("", *names), rows)

    def _repr_html_(self) -> str:
        return html(*self.tables())


_TITLES = {
    "free": "Free: the model decides whether to call, and writes as it likes",
    "constrained": "Constrained: an answer must be calls, held to the functions' schemas",
}


def _percent(of: Interval, sign: str = "") -> str:
    return f"{100 * of.low:{sign}.1f} .. {100 * of.high:{sign}.1f} %"


def _words(kind: FailureKind | None) -> str:
    return "" if kind is None else kind.replace("_", " ")


def _called(answer: CaseAnswer) -> str:
    """The calls of an answer as Python would write them; its text where there are none."""
    calls = (f"{call.name}({', '.join(_assigned(*each) for each in call.arguments.items())})" for call in answer.calls)
    return one_line("; ".join(calls) or answer.text)


def _assigned(name: str, value: object) -> str:
    return f"{name}={json.dumps(value, ensure_ascii=False)}"
