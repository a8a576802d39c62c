"""benchmarks/speculation.py: answers with drafts and without in turns, which must be the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import speculation
from click.testing import CliRunner
from tiny_models import write_model

import subbyte


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf", context_length=2048)
    return tmp_path / "m.gguf"


def test_a_row_for_each_task(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []
    as_it_is = speculation.answer

    def answer(model: subbyte.Model, task: speculation.Task, *rest: object) -> subbyte.Reply:
        asked.append((task.question, rest[-1]))
        return as_it_is(model, task, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(speculation, "answer", answer)
    document = path.with_name("d.md")
    name = f"speculation: {speculation.processor()}, {speculation.best_isa()}"
    document.write_text(f"<!-- {name} -->\n<!-- end of {name} -->\n")
    result = CliRunner().invoke(speculation.main, [str(path), "--rounds=2", "--tokens=4", f"--write={document}"])
    assert result.exit_code == 0, result.output
    questions = [task.question for task in speculation.TASKS.values()]
    assert asked == [(q, draft) for q in questions for draft in (None, "lookup", "lookup", None)]
    text = document.read_text()
    assert "    python benchmarks/speculation.py m.gguf --draft lookup --temperature 0 --rounds 2 --tokens 4" in text
    assert all(f"\n| {task} | " in text for task in speculation.TASKS)


def test_answers_that_differ_are_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = speculation.answer

    def answer(
        model: subbyte.Model, task: speculation.Task, sampling: subbyte.Sampling, n: int, draft: object
    ) -> subbyte.Reply:
        return as_it_is(model, task, sampling, n + (draft is None), None)

    monkeypatch.setattr(speculation, "answer", answer)
    result = CliRunner().invoke(speculation.main, [str(path), "--rounds=1", "--tokens=4"])
    assert result.exit_code == 1 and result.stderr.startswith("Error: the answer with drafts is another: ")
