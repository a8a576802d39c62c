"""Multiple choice by log-probabilities: accuracy by hand, pairs of models, and what is no question."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.choices.result import ChoicesRun, paired, result_of
from subbyte.runtime.template.chat_template import CHATML

QUESTIONS = [
    {"question": f"the ring {i}", "choices": ["in the lane", "on", f"inn {i}"][: 2 + i % 2], "answer": i % 2}
    for i in range(9)
]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    for i, name in enumerate("ab"):
        write_model(folder / f"{name}.gguf", seed=i, strings={"tokenizer.chat_template": CHATML})
    return [folder / "a.gguf", folder / "b.gguf"]


@pytest.fixture(scope="module")
def models(paths: list[Path]) -> Iterator[list[sb.Model]]:
    opened = [sb.load(path, threads=1) for path in paths]
    yield opened
    for model in opened:
        model.close()


@pytest.mark.parametrize("chat_template", [False, True])
def test_accuracy_by_hand(models: list[sb.Model], chat_template: bool) -> None:
    run = sb.choices(models, QUESTIONS, chat_template=chat_template)
    for model, result, chosen, chosen_norm in zip(models, run.results, run.chosen, run.chosen_norm, strict=True):
        expected: list[list[int]] = [[], []]
        for row in QUESTIONS:
            question, choices = str(row["question"]), list(row["choices"])  # type: ignore[call-overload]
            prompt: Any = f"Question: {question}\nAnswer:"
            if chat_template:
                prompt = model.template.encode([{"role": "user", "content": question}])
            totals = [
                model.score(prompt, [choice if chat_template else f" {choice}"])[0].total for choice in choices
            ]  # fmt: skip
            expected[0].append(int(np.argmax(totals)))
            expected[1].append(int(np.argmax([t / len(c) for t, c in zip(totals, choices, strict=True)])))
        assert [chosen.tolist(), chosen_norm.tolist()] == expected
        assert result.accuracy.estimate == np.mean(chosen == run.answers)
        assert result.accuracy_norm.estimate == np.mean(chosen_norm == run.answers)


def test_pairs() -> None:
    answers = np.zeros(200, np.int64)
    a, b = answers.copy(), answers.copy()
    b[:40], a[30:35] = 1, 2  # 40 wrong and 5 wrong, both at 5
    found = paired(a, b, answers)
    assert (found.both, found.this_only, found.base_only, found.neither) == (160, 35, 0, 5)
    assert found.difference.estimate == pytest.approx(0.175) and found.verdict == "better"
    assert paired(b, a, answers).verdict == "worse" and paired(a, a, answers).verdict == "undecided"
    results = tuple(result_of(name, of, answers, answers) for name, of in (("a", a), ("b", b), ("a", a)))
    run = ChoicesRun(results, (a, b, a), (answers,) * 3, answers, (0, 1, 0), 200, 200, "", False, 1.0)
    delta = run.delta(0, 1)
    assert (delta.changed, delta.changed_norm, delta.verdict, delta.verdict_norm) == (40, 0, "better", "undecided")
    assert run.delta(2, 0).verdict == "identical"
    assert [row[-1] for row in run.tables()[0].rows] == ["", "worse", "identical"]


def test_a_run_goes_on(models: list[sb.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sb.choices(models, QUESTIONS)
    file = tmp_path / "kept"
    measurement = sb.ChoicesMeasurement(models, QUESTIONS, resume=file)
    for progress in measurement:
        if progress.done == 4:
            break
    part = measurement.result()
    assert (part.questions, part.total_questions) == (4, 9)
    assert sb.choices(models, "\n".join(map(json.dumps, QUESTIONS)), resume=file).results == whole.results
    monkeypatch.delattr("subbyte.runtime.model.Model.score")  # all is kept
    assert sb.choices(models, QUESTIONS, resume=file).results == whole.results
    with pytest.raises(sb.SubbyteError, match="of another run"):
        sb.choices(models, QUESTIONS[:5], resume=file)


@pytest.mark.parametrize(
    "lines, found",
    [
        ("", "there are none"),
        ("3", "line 1 is 3"),
        ("\n{", "line 2: not JSON"),
        ('{"question": "a", "choices": ["b", "c"]}', "line 1: has no answer"),
        ('{"question": "a", "choices": ["b"], "answer": 0}', "has 1 choices"),
        ('{"question": "a", "choices": ["b", "c"], "answer": 2}', "choices and answer 2"),
        ('{"question": "a", "choices": ["b", ""], "answer": 0}', "choices"),
        ('{"question": "a", "choices": ["b", "c"], "answer": "b"}', "answer is 'b'"),
        ('{"question": "' + "the " * 9000 + '", "choices": ["b", "c"], "answer": 0}', "question 1: the prefix has"),
    ],
)
def test_what_is_no_question(lines: str, found: str, models: list[sb.Model]) -> None:
    with pytest.raises((ValueError, sb.ContextOverflow), match=found):
        sb.choices(models[0], lines)


def test_the_command(paths: list[Path], tmp_path: Path, command_line: Callable[..., tuple[int, str, str]]) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text("\n".join(map(json.dumps, QUESTIONS)))
    code, out, err = command_line("choices", *map(str, paths), "-f", str(file), "-o", "json")
    assert code == 0, err
    found = json.loads(out)
    assert found["questions"] == 9 and len(found["results"]) == 2 and "p" in found["deltas"][0]["accuracy"]
    code, out, err = command_line("choices", str(paths[0]), "-f", str(file))
    assert code == 0 and "9 questions as a text to continue" in out
