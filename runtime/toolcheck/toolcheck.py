"""Function calling of models, paired case by case: how small can a file be and still call functions.

Every case is put to each model in its own template, and answered greedily: free, and held to calls by a grammar. Many
answers are made at once, and cases with the same functions behind each other, so that these are read once.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, get_args

from subbyte.errors import ConstraintError, ContextOverflow, SubbyteError, TemplateError, UnsupportedError
from subbyte.runtime import arguments
from subbyte.runtime.batch.parallel import in_parallel
from subbyte.runtime.batch.results import ResultsFile, line_digest, model_facts
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.gguf.identical import first_of_same
from subbyte.runtime.grammar.library import llguidance
from subbyte.runtime.loading import Models, as_models
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.model import Model
from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.text import printable
from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.cases import ToolCase, digest, example_cases, read_cases
from subbyte.runtime.toolcheck.result import CaseOutcome, Mode, ToolcheckRun
from subbyte.runtime.toolcheck.scoring import score
from subbyte.runtime.types import Activations, CacheType, SessionOptions, Texts

MODES: tuple[Mode, ...] = get_args(Mode)
MAX_PARALLEL = 256
Answers = Mapping[Mode, CaseAnswer]


class ToolcheckMeasurement(Measurement[Step, ToolcheckRun]):
    """Function calling of several models, an answer at a time; arguments and errors are those of `toolcheck`."""

    unit = "answers"

    def __init__(
        self,
        models: Models | Sequence[Models],
        cases: Texts | None = None,
        answers: Texts = (),
        *,
        modes: Sequence[Mode] = MODES,
        base: int = 0,
        thinking: bool | None = None,
        max_tokens: int = 1024,
        n_parallel: int = 8,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8x2",
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self._modes = _checked_modes(modes)
        self._thinking = None if thinking is None else arguments.flag("thinking", thinking)
        self._max_tokens = arguments.whole("max_tokens", max_tokens, 1, hint="tokens of an answer, at least 1")
        self._n_parallel = arguments.whole("n_parallel", n_parallel, 1, hint="answers at once, at least 1")
        if self._n_parallel > MAX_PARALLEL:
            raise ValueError(f"n_parallel is {arguments.shown(n_parallel)}, but at most {MAX_PARALLEL} answer at once")
        self._options = SessionOptions(n_ctx, cache_type, activations)
        resume = arguments.optional_path("resume", resume)
        given = [example_cases()] if cases is None else arguments.raw_texts("cases", cases)
        self._cases = [
            case for case in read_cases(given, arguments.raw_texts("answers", answers)) if _modes_of(case, self._modes)
        ]
        if not self._cases:
            raise ValueError("cases: only such as want no call, which are answered in the mode free alone")
        if "constrained" in self._modes:
            llguidance()
        self._results: ResultsFile | None = None
        self._done: dict[int, Answers] = {}  # of each unit of work, model by model
        self._right: Counter[tuple[int, Mode]] = Counter()
        self._answered: Counter[tuple[int, Mode]] = Counter()
        self._n_resumed = 0
        self._seconds = 0.0
        with ExitStack() as stack:
            self._models = as_models("models", models, stack)
            if not self._models:
                raise ValueError("models: there are none")
            self._base = arguments.whole("base", base, 0, hint="the index of a model")
            if self._base >= len(self._models):
                raise ValueError(f"base is {self._base}, but there are {len(self._models)} models, counted from 0")
            for model in self._models:
                self._check(model)
            self._same = _first_of_same(self._models)
            if resume is not None:
                self._results = stack.enter_context(ResultsFile(resume, self._digests()))
                for unit, found in self._resumed(self._results, resume):
                    if unit not in self._done:  # not twice
                        self._add(unit, found)
                self._n_resumed = self.n_done
            self._opened = stack.pop_all()

    def __iter__(self) -> Iterator[Step]:
        start = time.perf_counter()
        for i, model in enumerate(self._models):
            offset = i * len(self._cases)
            left = [n for n in self._order() if offset + n not in self._done]
            for n, answers in self._answer_all(model, left) if left else ():
                if self._results is not None:
                    self._results.add(self._row(offset + n, answers))
                self._add(offset + n, answers)
                self._seconds = time.perf_counter() - start
                yield self._progress(i)

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return self._answered.total()

    @property
    def n_total(self) -> int:
        return len(self._models) * sum(len(_modes_of(case, self._modes)) for case in self._cases)

    def result(self) -> ToolcheckRun:
        return ToolcheckRun(
            tuple(str(model.path) for model in self._models), self._base, self._modes, tuple(self._outcomes()),
            self._same, len(self._cases), self.n_done, self.n_total, digest(self._cases), self._thinking,
            self._max_tokens, self._options.n_ctx, self._options.cache_type, self._options.activations,
            None if self._n_resumed else self._seconds,
        )  # fmt: skip

    def _check(self, model: Model) -> None:
        """Whether a model can be asked at all; finds its format of calls ahead of the threads."""
        name = printable(model.path.name)
        if model.tool_format is None:
            found = f"{name}: its chat template does not show tools, or calls in no known way"
            raise UnsupportedError(f"{found}; take a model that was trained for tools, or give another template")
        if "constrained" in self._modes and model.tool_format.in_channels:
            raise ValueError(
                f"{name} calls by headers, which no grammar holds it to; measure it in the mode free alone"
            )
        if self._thinking is not None:
            model.reasoning_format.check(self._thinking)

    def _order(self) -> list[int]:
        """The cases by their indices, those with the same functions behind each other."""
        groups: dict[str, list[int]] = {}
        for n, case in enumerate(self._cases):
            functions = json.dumps([tool.to_template() for tool in case.tools.values()])
            groups.setdefault(functions, []).append(n)
        return [n for group in groups.values() for n in group]

    def _answer_all(self, model: Model, left: Sequence[int]) -> Iterator[tuple[int, Answers]]:
        options = self._options
        with model.scheduler(
            n_parallel=self._n_parallel, n_ctx=options.n_ctx, cache_type=options.cache_type,
            activations=options.activations,
        ) as scheduler:  # fmt: skip

            def answers(n: int) -> tuple[int, Answers]:
                case = self._cases[n]
                return n, {mode: self._answer(model, scheduler, case, mode) for mode in _modes_of(case, self._modes)}

            yield from in_parallel(answers, left, scheduler, self._n_parallel)

    def _answer(self, model: Model, scheduler: Scheduler, case: ToolCase, mode: Mode) -> CaseAnswer:
        held = mode == "constrained"
        try:
            with model.chat(
                messages=case.messages, tools=case.tools.values(), tool_choice="required" if held else "auto",
                strict_tools=held, sampling=Sampling(temperature=0), max_tokens=self._max_tokens,
                thinking=self._thinking, scheduler=scheduler,
            ) as chat:  # fmt: skip
                return CaseAnswer.of(chat.reply(), model.tool_format)
        except (ContextOverflow, TemplateError, ConstraintError, ValueError) as error:  # the last: of a schema
            return CaseAnswer(refused=str(error))

    def _add(self, unit: int, answers: Answers) -> None:
        self._done[unit] = answers
        i, n = divmod(unit, len(self._cases))
        for mode, answer in answers.items():
            self._answered[i, mode] += 1
            self._right[i, mode] += score(self._cases[n], answer) is None

    def _progress(self, i: int) -> Step:
        so_far = (f"{mode} {self._right[i, mode]} of {self._answered[i, mode]}" for mode in self._modes)
        return Step(f"{self._models[i].path.name}: {', '.join(so_far)} right", self.n_done, self.n_total)

    def _outcomes(self) -> Iterator[CaseOutcome]:
        for unit, answers in sorted(self._done.items()):
            i, n = divmod(unit, len(self._cases))
            case = self._cases[n]
            for mode, answer in answers.items():
                kind, detail = score(case, answer) or (None, "")
                yield CaseOutcome(i, mode, case.id, case.category, kind, detail, answer)

    def _digests(self) -> dict[int, str]:
        """What tells the answers of each unit from those of another run."""
        shared = {
            "modes": self._modes, "thinking": self._thinking, "max_tokens": self._max_tokens,
            "n_ctx": self._options.n_ctx, "cache_type": self._options.cache_type,
            "activations": self._options.activations,
        }  # fmt: skip
        conditions = [json.dumps({**shared, **model_facts(model)}).encode() for model in self._models]
        return dict(enumerate(line_digest(of_model, case.source) for of_model in conditions for case in self._cases))

    def _row(self, index: int, answers: Answers) -> dict[str, Any]:
        assert self._results is not None
        return {**self._results.head(index), "answers": {mode: answer.to_dict() for mode, answer in answers.items()}}

    def _resumed(self, results: ResultsFile, path: str) -> Iterator[tuple[int, Answers]]:
        for number, row in enumerate(results.rows(), 1):
            try:
                modes = _modes_of(self._cases[row["index"] % len(self._cases)], self._modes)
                yield row["index"], {mode: CaseAnswer.from_dict(row["answers"][mode]) for mode in modes}
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                raise SubbyteError(f"{printable(path)}: line {number} holds no answers; give another place") from None


def _first_of_same(models: Sequence[Model]) -> tuple[int, ...]:
    """For each model the index of the first that is the same, its chat template included."""
    files, templates = first_of_same([model.gguf for model in models]), [model.template.source for model in models]
    keys = list(zip(files, templates, strict=True))
    return tuple(map(keys.index, keys))


def _checked_modes(modes: object) -> tuple[Mode, ...]:
    given = arguments.items("modes", [modes] if isinstance(modes, str) else modes, "a list of 'free' and 'constrained'")
    found = {arguments.choice("modes", mode, MODES) for mode in given}
    if not found:
        raise ValueError("modes: there are none; free and constrained are allowed")
    return tuple(mode for mode in MODES if mode in found)


def _modes_of(case: ToolCase, modes: Sequence[Mode]) -> Sequence[Mode]:
    """The modes that make sense for a case: what must call can't show that it would not have, or that it would."""
    return modes if case.wanted == "calls" else [mode for mode in modes if mode == "free"]


def toolcheck(
    models: Models | Sequence[Models],
    cases: Texts | None = None,
    answers: Texts = (),
    *,
    modes: Sequence[Mode] = MODES,
    base: int = 0,
    thinking: bool | None = None,
    max_tokens: int = 1024,
    n_parallel: int = 8,
    n_ctx: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    resume: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Step], None] | None = None,
) -> ToolcheckRun:
    """How well models call functions, case by case, by the rules of BFCL's AST categories (Berkeley, 2024).

    models: one or several, as a `Model` or as what `load` takes; base: the index of the one that the others are
    compared with. cases: text of one file or several, lines of JSON as BFCL has them; None for the 60 that ship with
    subbyte. answers: the text of BFCL's files of possible answers, where they are not in the cases' lines. modes:
    "free", the model decides whether to call and writes as it likes; "constrained", its answer must be calls, each held
    to its function's schema, which takes llguidance. Cases that want no call (irrelevance), or whatever call
    (relevance), are answered free alone. Decoding is greedy. thinking: as in `Chat`. max_tokens: of an answer.
    n_parallel: answers that are made at once. n_ctx: of each; None: what memory allows. activations: "int8x2" measures
    the file, "int8" what chat computes. resume: a file that takes the answers as they come; if it is there, the run
    goes on from it. on_progress is called after each case; `ToolcheckMeasurement` keeps the answers of a run that is
    ended early.

    Raises UnsupportedError for a model whose template knows no tools, ValueError for cases that are none, SubbyteError
    when the file to resume from is of another run, ResourceError without llguidance or memory.
    """
    arguments.callback("on_progress", on_progress)
    with ToolcheckMeasurement(
        models, cases, answers, modes=modes, base=base, thinking=thinking, max_tokens=max_tokens,
        n_parallel=n_parallel, n_ctx=n_ctx, cache_type=cache_type, activations=activations, resume=resume,
    ) as measurement:  # fmt: skip
        return measurement.run(on_progress)
