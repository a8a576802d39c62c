"""Multiple choice by log-probabilities: which answer to a question a model finds the most probable, and how often the
right one.

All answers to a question are scored behind one reading of it. Models take turns at each question, so that their
differences, which are far surer than either's accuracy, can be told early. Collections of tasks are
lm-evaluation-harness's business, which runs on this runtime in process (docs/bridges.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np

from subbyte.errors import ContextOverflow, NumericError, TemplateError
from subbyte.runtime import arguments
from subbyte.runtime.choices.questions import Question, QuestionSource, read_questions
from subbyte.runtime.choices.result import ChoicesRun, result_of
from subbyte.runtime.evaluation.answers import NOW
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures, model_conditions
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.gguf.identical import first_of_same
from subbyte.runtime.loading import Models, as_models
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.model import Model
from subbyte.runtime.scoring.continuations import continuations
from subbyte.runtime.text import printable


class ChoicesMeasurement(Measurement[Step, ChoicesRun]):
    """Questions put to models, one at a time; arguments and errors are those of `choices`."""

    unit = "questions"

    def __init__(
        self,
        models: Models | Sequence[Models],
        questions: QuestionSource,
        *,
        chat_template: bool = False,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self._chat_template = arguments.flag("chat_template", chat_template)
        resume = arguments.optional_path("resume", resume)
        self._questions = read_questions(questions)
        with ExitStack() as stack:
            self._models = as_models("models", models, stack)
            if not self._models:
                raise ValueError("models: no model to ask; give at least one")
            self._check_lengths()
            self._same = first_of_same([model.gguf for model in self._models])
            self._checkpoint = None if resume is None else self._open_checkpoint(resume)
            self._opened = stack.pop_all()
        self._logprobs: list[Figures] = []  # of each question, of each model
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Step]:
        start = time.perf_counter()
        resumed = self._checkpoint.records if self._checkpoint is not None else []
        for i, question in enumerate(self._questions):
            if i < len(resumed):
                figures: Figures = resumed[i]
            else:
                figures = [self._score(model, i, question) for model in self._models]
                if self._checkpoint is not None:
                    self._checkpoint.add(figures)
            self._logprobs.append(figures)
            self._seconds = time.perf_counter() - start
            yield Step(f"question {self.n_done} of {self.n_total}", self.n_done, self.n_total)

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return len(self._logprobs)

    @property
    def n_total(self) -> int:
        return len(self._questions)

    def result(self) -> ChoicesRun:
        asked = self._questions[: self.n_done]
        n_bytes = [np.array([len(choice.encode("utf-8", "replace")) for choice in of.choices]) for of in asked]
        answers = np.array([question.answer for question in asked])
        per_model = list(zip(*self._logprobs, strict=True))
        chosen = tuple(np.array([np.argmax(each) for each in of]) for of in per_model)
        chosen_norm = tuple(
            np.array([np.argmax(each / n) for each, n in zip(of, n_bytes, strict=True)]) for of in per_model
        )  # fmt: skip
        paths = [str(model.path) for model in self._models]
        return ChoicesRun(
            results=tuple(
                result_of(*of_model, answers) for of_model in zip(paths, chosen, chosen_norm, strict=True)
            ),
            chosen=chosen,
            chosen_norm=chosen_norm,
            answers=answers,
            same=tuple(self._same),
            questions=self.n_done,
            total_questions=self.n_total,
            questions_sha256=self._digest,
            chat_template=self._chat_template,
            seconds=self._seconds,
        )  # fmt: skip

    def _check_lengths(self) -> None:
        """Raises for a question that can't be asked: before any is, since others would have been asked in vain."""
        for model in self._models:
            for i, question in enumerate(self._questions, 1):
                try:
                    continuations(*self._asked(model, question), model.tokenizer).check(model.config.n_ctx_train)
                except (ValueError, ContextOverflow, TemplateError) as error:
                    raise type(error)(f"question {i}: {error}") from None

    def _asked(self, model: Model, question: Question) -> tuple[str | list[int], list[str]]:
        """The prompt, and the choices as they follow it."""
        if not self._chat_template:
            return question.prompt, [f" {choice}" for choice in question.choices]
        messages = [{"role": "user", "content": question.question}]
        variables: dict[str, Any] = dict(model.reasoning_format.variables(False))
        prompt = model.template.encode(messages, now=NOW, **variables)
        return prompt, [model.template.answer_lead + choice for choice in question.choices]

    def _score(self, model: Model, index: int, question: Question) -> Floats:
        """Log-probability of each choice in total, nats."""
        found = np.array([score.total for score in model.score(*self._asked(model, question))])
        if not np.isfinite(found).all():
            raise NumericError(
                f"{printable(str(model.path))}: log-probabilities at question {index + 1} are not finite; fetch the "
                "model again"
            )
        return found

    def _open_checkpoint(self, path: str) -> Checkpoint:
        roles = {f"model {i}": model for i, model in enumerate(self._models, 1)}
        conditions: Mapping[str, object] = {
            "chat_template": self._chat_template, "the questions' sha256": self._digest, **model_conditions(roles),
        }  # fmt: skip

        def shapes(question: int) -> list[tuple[int, ...]]:
            return [(len(self._questions[question].choices),)] * len(self._models)

        def are_logprobs(figures: Figures) -> bool:
            return all((of <= 1e-3).all() for of in figures)  # a probability may seem to be above 1

        return Checkpoint(path, "choices", conditions, shapes, self.n_total, are_logprobs)

    @property
    def _digest(self) -> str:
        """Of what the questions say, however their lines are written."""
        return hashlib.sha256(json.dumps([asdict(question) for question in self._questions]).encode()).hexdigest()


def choices(
    models: Models | Sequence[Models],
    questions: QuestionSource,
    *,
    chat_template: bool = False,
    resume: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Step], None] | None = None,
) -> ChoicesRun:
    """How many questions models answer rightly, by the log-probabilities of the answers to choose from.

    models: one or several, each a `Model` or what `load` takes. questions: lines of JSON, or mappings, each with
    `question`, `choices` and `answer`, the index of the right choice from 0. A choice is scored behind "Question: …",
    a new line and "Answer:", and a space; chat_template: as the answer to the question in the model's own chat
    template, without reasoning where that can be switched off. The right choice must have the highest log-probability
    (accuracy), or the highest per byte of it (accuracy_norm). resume: a file that takes the figures of each question;
    if it is there, the run goes on from it. on_progress is called after each question; `ChoicesMeasurement` keeps what
    is done when it is ended early. Raises ValueError for what is no question, ContextOverflow for one that is too long,
    SubbyteError as `perplexity` does.
    """
    arguments.callback("on_progress", on_progress)
    with ChoicesMeasurement(models, questions, chat_template=chat_template, resume=resume) as measurement:
        return measurement.run(on_progress)
