"""Functions over rows: what the model gives for each row alone, in each form of a batch, and errors as a column."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from template_conversations import source
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.distributed.columns import plain, read_column, with_columns

GREEDY = sb.Sampling(temperature=0)
PROMPTS = ["the thing", "in another", "on"]
LONG = "the " * 2000  # more than the context
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=1500, strings={"tokenizer.chat_template": source("qwen3")})
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=1) as model:
        yield model


def test_generate(path: Path, model: sb.Model) -> None:
    complete = pickle.loads(pickle.dumps(sb.GenerateRows(path, max_tokens=5, sampling=GREEDY, n_parallel=2, threads=1)))
    batch = {"prompt": np.array([*PROMPTS, LONG, None], object), "id": np.arange(5)}
    found = complete(batch)
    replies = [model.generate(prompt, max_tokens=5, sampling=GREEDY).run() for prompt in PROMPTS]
    assert list(batch) == ["prompt", "id"] and found["id"] is batch["id"]
    assert found["answer"].tolist() == [*(reply.text for reply in replies), None, None]
    assert found["answer_stop_reason"].tolist() == [*(reply.stop_reason for reply in replies), None, None]
    assert found["answer_tokens"].tolist() == [*(reply.usage.completion for reply in replies), 0, 0]
    assert found["answer_prompt_tokens"].tolist()[:3] == [reply.usage.prompt for reply in replies]
    *none, overflow, no_text = found["error"].tolist()
    assert none == [None] * 3 and "context" in overflow and no_text.startswith("prompt is None")
    assert {key: len(column) for key, column in complete({"prompt": []}).items()} == dict.fromkeys(
        found.keys() - {"id"}, 0
    )


def test_an_error_is_raised_where_no_column_is_for_it(path: Path) -> None:
    complete = sb.GenerateRows(path, error=None, max_tokens=2, threads=1)
    assert "error" not in complete({"prompt": ["the"]})
    with pytest.raises(sb.SubbyteError, match=r"row 1 of a batch: .*context"):
        complete({"prompt": ["the", LONG]})
    with pytest.raises(ValueError, match="no column 'prompt'; there are text"):
        complete({"text": ["the"]})
    with pytest.raises(sb.ModelNotFound):
        sb.GenerateRows("no such model")({"prompt": ["the"]})


def test_chat(path: Path, model: sb.Model) -> None:
    options: dict[str, Any] = {"system": "on", "max_tokens": 4, "sampling": GREEDY, "thinking": False}
    talk = [
        {"role": "user", "content": "in"},
        {"role": "assistant", "content": "an"},
        {"role": "user", "content": "the"},
    ]
    messages = np.empty(3, object)
    messages[:] = ["the thing", np.array(talk, object), [{"role": "nobody", "content": "in"}]]
    found = sb.ChatRows(path, threads=1, **options)({"messages": messages})
    with model.chat(**options) as chat:
        first = chat.send("the thing")
    with model.chat(messages=talk, **options) as chat:
        second = chat.reply()
    assert found["answer"].tolist() == [first.text, second.text, None]
    assert found["answer_thinking"].tolist() == [first.thinking, second.thinking, None]
    assert "nobody" in found["error"][2] and "answer_tool_calls" not in found


def test_chat_with_tools_and_a_constraint(path: Path) -> None:
    pytest.importorskip("llguidance")
    options: dict[str, Any] = {"tools": [TOOL], "thinking": False, "max_tokens": 60, "threads": 1}
    forced = sb.ChatRows(path, constraint=sb.Constraint.regex("ab"), **options)({"messages": ["the"]})
    assert (forced["answer"].tolist(), forced["answer_tool_calls"].tolist()) == (["ab"], ["[]"])
    called = sb.ChatRows(path, tool_choice="required", **options)
    (calls,) = called({"messages": ["the"]})["answer_tool_calls"]
    assert [each["name"] for each in json.loads(calls)] == ["f"]


def test_what_no_row_could_mend_is_raised(path: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "plain.gguf")
    with pytest.raises(ValueError, match="this model can't be given tools"):
        sb.ChatRows(tmp_path / "plain.gguf", tools=[TOOL], threads=1)({"messages": ["the"]})
    for wrong in ({"max_tokens": -1}, {"n_parallel": 0}, {"threads": 0}, {"cache_type": "f8"}, {"error": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            sb.GenerateRows(path, **wrong)
    with pytest.raises(ValueError, match="tools"):
        sb.ChatRows(path, tools=["f"])


def test_score(path: Path, model: sb.Model) -> None:
    texts, candidates = ["in the inn", "then", 5], [["the", "an"], ["on", " in the"], ["a"]]
    found = sb.ScoreRows(path, threads=1)({"text": texts})
    scores = [model.score(text) for text in ("in the inn", "then")]
    assert found["logprob"].tolist()[:2] == [score.total for score in scores] and np.isnan(found["logprob"][2])
    assert found["logprob_tokens"].tolist() == [len(scores[0].tokens), len(scores[1].tokens), 0]
    choose = sb.ScoreRows(path, candidates="choices", normalize="tokens", threads=1)
    found = choose({"text": texts, "choices": candidates})
    choices = [model.choose(t, c, normalize="tokens") for t, c in zip(texts[:2], candidates[:2], strict=True)]  # type: ignore[arg-type]
    assert found["logprob"].tolist()[:2] == [list(choice.logprobs) for choice in choices]
    assert found["logprob_choice"].tolist() == [*(choice.text for choice in choices), None]
    assert found["logprob_index"].tolist() == [*(choice.index for choice in choices), -1]
    assert [error is None for error in found["error"]] == [True, True, False]


def test_embed(path: Path, model: sb.Model) -> None:
    embed = sb.EmbedRows(path, pooling="last", threads=1)
    vectors = model.embed(PROMPTS, pooling="last")
    assert np.array_equal(embed({"text": PROMPTS})["embedding"], vectors)
    found = embed({"text": [*PROMPTS, LONG]})
    assert np.array_equal(found["embedding"][:3], vectors) and np.isnan(found["embedding"][3]).all()
    assert "trained for" in found["error"][3] and embed({"text": []})["embedding"].shape == (0, vectors.shape[1])


def test_functions_of_one_process_share_a_model(path: Path) -> None:
    a, b = sb.ScoreRows(path, threads=1), pickle.loads(pickle.dumps(sb.EmbedRows(path, threads=1)))
    assert a._settings.open_model() is b._settings.open_model()


def test_rows_of_arrow_have_only_their_own_fields() -> None:
    row = np.array([{"role": "user", "content": np.str_("a"), "name": None}], object)
    assert plain(row) == [{"role": "user", "content": "a"}] and plain((np.int64(1), [np.float32(2)])) == [1, [2.0]]


@pytest.mark.parametrize("form", ["pandas.DataFrame", "pyarrow.table"])
def test_forms_of_batches(form: str) -> None:
    module, _, name = form.partition(".")
    make = getattr(pytest.importorskip(module), name)
    batch = make({"prompt": ["a", None], "old": [1, 2]})
    found = with_columns(batch, {"old": [None, "x"], "v": np.ones((2, 3), np.float32), "n": np.arange(2)})
    assert read_column(found, "prompt")[0] == "a" and read_column(found, "old")[1] == "x"
    assert read_column(found, "v") == [[1.0] * 3] * 2 and read_column(found, "n") == [0, 1]
    assert read_column(batch, "old") == [1, 2]
