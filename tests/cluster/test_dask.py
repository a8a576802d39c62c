"""Dask: the functions over rows that Ray Data takes, by `map_partitions`."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from tiny_models import write_model

import subbyte as sb

pytest.importorskip("dask")
pytest.importorskip("pandas")
pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]  # Dask's own


def test_dask_rows(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    (tmp_path / "text").write_text("in the inn\nthen\n")
    command = [sys.executable, str(ROOT / "examples/dask_rows.py"), "m.gguf", "text"]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [line.partition(": ")[2] for line in out.splitlines()] == ["in the inn", "then"]


def test_map_partitions(tmp_path: Path) -> None:
    import dask.dataframe
    import pandas

    write_model(tmp_path / "m.gguf")
    prompts = ["the thing", "in another", "on", "the"]
    rows = pandas.DataFrame({"prompt": prompts})
    complete = sb.GenerateRows(tmp_path / "m.gguf", max_tokens=4, sampling=sb.Sampling(temperature=0), threads=1)
    score = sb.ScoreRows(tmp_path / "m.gguf", text="prompt", threads=1)
    frame = dask.dataframe.from_pandas(rows, npartitions=3)
    answered = frame.map_partitions(complete, meta=complete(rows[:0]))
    found = answered.map_partitions(score, meta=score(complete(rows[:0]))).compute(scheduler="threads")
    expected = complete({"prompt": prompts})
    assert found["answer"].tolist() == expected["answer"].tolist()
    assert found["answer_tokens"].tolist() == expected["answer_tokens"].tolist()
    with sb.load(tmp_path / "m.gguf") as model:
        assert found["logprob"].tolist() == [model.score(prompt).total for prompt in prompts]
