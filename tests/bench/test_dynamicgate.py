"""benchmarks/dynamicgate.py: the comparison at equal size, and the whole way from a model to the page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dynamicgate
import numpy as np
import pytest
from tables.dynamicgate_document import at_equal_size, document
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.bench.result import Case
from subbyte.runtime.measurement import Step
from subbyte.runtime.report.size_class import SizeClass

pytestmark = pytest.mark.thorough

TEXT = "the tin and the can are on the lane, and in the other an inn then rings the one horn. " * 60


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> sb.Report:
    """A real report, of one file; tests put other sizes and losses into it."""
    path = tmp_path_factory.mktemp("dynamicgate") / "m.gguf"
    write_model(path, types=["Q8_0"])
    return sb.report([path], TEXT, n_ctx=64, prompt=8, generate=1, repeats=1, threads=1)


def with_files(report: sb.Report, *files: tuple[str, str, int, float]) -> sb.Report:
    """Name, maker, bytes and mean loss of each; losses vary over 12 chunks in the same way, and a little by chance."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.3, 12 * 31)
    right = len(files) * (np.zeros(12 * 31, np.bool_),)
    each = np.arange(12 * 31, dtype=np.int32)
    tokens = sb.ScoredTokens(each // 31, 0 * each, each % 31 + 32, ("text 1",))
    losses = tuple(loss + common + rng.normal(0, 0.01, common.shape) for *_, loss in files)
    rows = tuple(
        replace(report.rows[0], model=f"{name}.gguf", size_class=SizeClass(name, maker), n_bytes=n_bytes)
        for name, maker, n_bytes, _ in files
    )
    results = tuple(replace(report.run.results[0], model=row.model) for row in rows)
    run = replace(report.run, results=results, losses=losses, right=right, tokens=tokens, same=())
    return replace(report, rows=rows, run=run)


def test_equal_size_is_the_line_between_the_neighbours(report: sb.Report) -> None:
    found = at_equal_size(with_files(
        report, ("a", "standard", 100, 5.0), ("gate", "DynamicGate", 125, 4.5), ("b", "standard", 200, 4.0),
        ("c", "standard", 300, 3.0), ("gate", "DynamicGate", 275, 3.5), ("outside", "DynamicGate", 301, 3.0),
        ("same", "DynamicGate", 200, 4.0),
    ))  # fmt: skip
    assert [(of.file, of.smaller, of.larger, of.weight) for of in found] == [
        (1, 0, 2, 0.25),
        (4, 2, 3, 0.75),
        (6, 2, 3, 0),
    ]
    assert [of.delta.verdict for of in found[:2]] == ["better", "worse"]
    for of, truth in zip(found, (4.5 - 4.75, 3.5 - 3.25, 0), strict=True):
        assert of.delta.low - 0.01 < truth < of.delta.high + 0.01
        assert of.delta.estimate == pytest.approx(truth, abs=0.005)


def test_a_file_on_the_line_is_undecided(report: sb.Report) -> None:
    files = ("a", "standard", 100, 5.0), ("b", "standard", 200, 5.0), ("gate", "DynamicGate", 150, 5.0)
    assert [of.delta.verdict for of in at_equal_size(with_files(report, *files))] == ["undecided"]


def test_the_page_says_which_smaller_file_is_better(report: sb.Report) -> None:
    files = ("small", "standard", 100, 4.0), ("large", "standard", 200, 5.0), ("gate", "DynamicGate", 150, 4.2)
    page = document(with_files(report, *files), {"command": "python x"})
    assert "At equal size it is better in 1 of 1." in page
    by_size = page[page.index("## By size") :].splitlines()
    beaten = {cells[1].strip(): cells[5].strip() for line in by_size if len(cells := line.split("|")) == 7}
    assert (beaten["small"], beaten["gate"], beaten["large"]) == ("", "small", "small, gate")


class FakeBench:
    """A measurement that knows the speeds without any run."""

    n_done = 2

    def __init__(self, *_: object, **__: object) -> None:
        self.measured = [
            SimpleNamespace(case=Case(kind, n, 0, 1), rate=1.0, spread=0.0, share=0.5, bound_by="memory")
            for kind, n in (("prompt", 512), ("generation", 64))
        ]

    def __iter__(self) -> Iterator[Step]:
        yield Step("run", 2, 2)

    def result(self) -> FakeBench:
        return self

    def __enter__(self) -> FakeBench:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_from_a_model_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a tiny model; only the speeds are not measured."""
    write_model(tmp_path / "m.gguf", context_length=600)
    (tmp_path / "test.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text("on an inn there are the hen and the ant in the sand then. " * 60)
    monkeypatch.setattr(dynamicgate, "WIDTH", 256)
    monkeypatch.setattr(dynamicgate, "RECIPES", ("IQ2_XXS", "DynamicGate-IQ2_XXS", "IQ4_XS"))
    monkeypatch.setattr("subbyte.runtime.report.measure.BenchMeasurement", FakeBench)
    folder, out = tmp_path / "files", tmp_path / "page.md"
    command = ["dynamicgate.py", "-f", str(tmp_path / "test.txt"), "--model", str(tmp_path / "m.gguf"), "--chunks", "2",
               "--calibration", str(tmp_path / "other.txt"), "--calibration-chunks", "2", "--folder", str(folder),
               "--out", str(out)]  # fmt: skip
    monkeypatch.setattr("sys.argv", command)
    dynamicgate.main()
    page = out.read_text()
    assert "| DynamicGate-IQ2_XXS.gguf | DynamicGate IQ2_XXS |" in page
    assert "compared are DynamicGate-IQ2_XXS.gguf with IQ2_XXS.gguf" in page
    assert "python benchmarks/dynamicgate.py -f test.txt --model m.gguf --chunks 2" in page
    assert str(tmp_path) not in page
    facts = json.loads((folder / "report.json").read_text())
    assert [row["size_class"]["maker"] for row in facts["rows"]] == ["standard", "DynamicGate", "standard", "standard"]
    assert all(math.isfinite(row["perplexity"]["ppl"]) for row in facts["rows"])
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*.gguf")}
    dynamicgate.main()
    assert made == {path: path.stat().st_mtime_ns for path in folder.glob("*.gguf")}, "files were made again"
