"""Questions with several answers, one of them right, as lines of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from subbyte.runtime import arguments
from subbyte.runtime.json_lines import json_lines

QuestionSource: TypeAlias = str | bytes | Iterable[Mapping[str, Any]]
"""Lines of JSON, or mappings, with `question`, `choices` and `answer`, the index of the right one."""


@dataclass(frozen=True)
class Question:
    """What is asked, what may be answered, and which of that is right."""

    question: str
    choices: tuple[str, ...]
    answer: int

    @property
    def prompt(self) -> str:
        """What a base model is to continue, with a space and an answer: the form of lm-evaluation-harness's ARC."""
        return f"Question: {self.question}\nAnswer:"


def read_questions(source: QuestionSource) -> list[Question]:
    """Raises ValueError that names the line, or the index, of what is no question; and where there are none."""
    found = []
    if isinstance(source, str | bytes):
        data = source.encode("utf-8", "replace") if isinstance(source, str) else source
        for number, _, row in json_lines(data, "questions, "):
            found.append(_question(f"questions, line {number}", row))
    else:
        taken = "lines of JSON, or a list of mappings"
        for i, row in enumerate(arguments.items("questions", source, taken)):
            found.append(_question(f"questions[{i}]", row))
    if not found:
        raise ValueError("questions: there are none; give at least one")
    return found


def _question(where: str, row: object) -> Question:
    fields = arguments.mapping(where, row)
    if lacking := [name for name in ("question", "choices", "answer") if name not in fields]:
        raise ValueError(f"{where}: has no {lacking[0]}; a question has question, choices and answer")
    question = arguments.text(f"{where}: question", fields["question"])
    choices: Sequence[str] = arguments.strings(f"{where}: choices", fields["choices"])
    answer = arguments.whole(f"{where}: answer", fields["answer"], 0, hint="the index of the right choice, from 0")
    if len(choices) < 2 or answer >= len(choices):
        raise ValueError(
            f"{where}: has {len(choices)} choices and answer {answer}; it must have two or more, and the index of one"
        )
    return Question(question, tuple(choices), answer)
