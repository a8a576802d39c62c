"""Long measurements that end early: by Ctrl-C, which comes from the caller's progress, after some units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import LLAMA, write_model

import subbyte as sb
from subbyte.runtime.measurement import Measurement

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 3000).tolist())
N_CTX = 48


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[sb.Model]]:
    """The same weights as F32 and as Q8_0."""
    folder = tmp_path_factory.mktemp("models")
    for name, types in {"a": ["F32"], "b": ["Q8_0"]}.items():
        write_model(folder / f"{name}.gguf", shape=LLAMA, types=types)
    opened = [sb.load(folder / f"{name}.gguf", threads=1) for name in "ab"]
    yield opened
    for model in opened:
        model.close()


def interrupted(measurement: Measurement[Any, Any], at: int) -> Measurement[Any, Any]:
    """After its at-th report of progress."""
    steps = []

    def on_progress(step: object) -> None:
        steps.append(step)
        if len(steps) == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measurement.run(on_progress)
    return measurement


def interrupted_within(measurement: Measurement[Any, Any], at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a model is run, the at-th time."""
    for owner, name in (("evaluation.forward.Forward", "_step"), ("session.session.Session", "_run")):
        patch_call(monkeypatch, f"subbyte.runtime.{owner}", name, at)
    with pytest.raises(KeyboardInterrupt):
        measurement.run()


def patch_call(monkeypatch: pytest.MonkeyPatch, owner: str, name: str, at: int) -> None:
    from importlib import import_module

    module, _, cls = owner.rpartition(".")
    call: Callable[..., Any] = getattr(getattr(import_module(module), cls), name)
    calls = []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == at:
            raise KeyboardInterrupt
        return call(*arguments, **options)

    monkeypatch.setattr(f"{owner}.{name}", counted)


def test_perplexity(models: list[sb.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = sb.EvalOptions(n_ctx=N_CTX)
    file = tmp_path / "run.jsonl"
    measurement = interrupted(sb.PerplexityMeasurement(models, TEXT, options, resume=file), 3)
    expected = sb.perplexity(models, TEXT, n_ctx=N_CTX, chunks=3)
    assert (measurement.n_done, measurement.coverage) == (3, f"3 of {measurement.n_total} chunks")
    assert measurement.n_total > 3
    for ours, theirs in zip(measurement.result().results, expected.results, strict=True):
        assert (ours.ppl, ours.error, ours.running, ours.chunks) == (theirs.ppl, theirs.error, theirs.running, 3)
    assert measurement.result().delta(1, 0) == expected.delta(1, 0)
    assert file.read_text().count("\n") == 4
    again = sb.PerplexityMeasurement(models, TEXT, options)
    interrupted_within(again, 8, monkeypatch)  # the second model's turn at the fourth chunk
    assert again.n_done == 3 and again.result().results[1].ppl == expected.results[1].ppl


def test_compare(models: list[sb.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    base, model = models
    options = sb.EvalOptions(n_ctx=N_CTX)
    expected = sb.compare(base, model, TEXT, n_ctx=N_CTX, chunks=2)
    measurement = interrupted(sb.CompareMeasurement(base, [model], TEXT, options), 2)
    assert (measurement.n_done, measurement.result().results) == (2, expected.results)
    again = sb.CompareMeasurement(base, [model], TEXT, options)
    interrupted_within(again, 6, monkeypatch)
    assert (again.n_done, again.result().results) == (2, expected.results)


def test_attribution(models: list[sb.Model]) -> None:
    base, model = models
    measurement = interrupted(sb.AttributionMeasurement(base, model, TEXT, sb.EvalOptions(n_ctx=N_CTX), "kind"), 3)
    expected = sb.blame(base, model, TEXT, n_ctx=N_CTX, chunks=1)
    found = measurement.result()
    assert (measurement.n_done, found.chunks, len(found.groups)) == (2, 1, 1)
    assert found.whole == expected.whole and {*found.groups} < {*expected.groups}


def test_imatrix(models: list[sb.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = sb.EvalOptions(n_ctx=N_CTX)
    expected = sb.imatrix(models[0], TEXT, n_ctx=N_CTX, chunks=2, datasets=["t"])
    measurement = interrupted(sb.ImatrixMeasurement(models[0], TEXT, options, datasets=["t"]), 2)
    measurement.result().save(tmp_path / "i.gguf")
    back = sb.Imatrix.open(tmp_path / "i.gguf")
    assert back.chunk_count == 2 and measurement.result().digest() == expected.digest()
    assert all(np.array_equal(back.weights(name), expected.weights(name)) for name in expected.squares)
    again = sb.ImatrixMeasurement(models[0], TEXT, options, datasets=["t"])
    steps = len(models[0].plan.operations) - 1  # of a chunk
    interrupted_within(again, 2 * steps + steps // 2, monkeypatch)
    assert again.n_done == 2 and again.result().digest() == expected.digest()


FAST = {"prompt": 8, "generate": 2, "repeats": 2, "threads": 1}


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.thorough
def test_report(with_base: bool, models: list[sb.Model]) -> None:
    base, model = (model.path for model in models)
    options = sb.EvalOptions(n_ctx=N_CTX, chunks=5)
    n_files = 1 + with_base
    with sb.ReportMeasurement([model], TEXT, options, base=base if with_base else None, **FAST) as measurement:
        report = interrupted(measurement, n_files + 3).result()  # a digest of each file, then chunks
        assert measurement.coverage == f"3 of 5 chunks and the speed of 0 of {n_files} files"
    whole = sb.report([model], TEXT, base=base if with_base else None, n_ctx=N_CTX, chunks=3, **FAST)
    for ours, theirs in zip(report.rows, whole.rows, strict=True):
        assert ours.perplexity.running == theirs.perplexity.running and ours.perplexity.chunks == 3
        assert (ours.sha256, ours.divergence) == (theirs.sha256, theirs.divergence)
        assert ours.prompt is None and theirs.prompt is not None
    assert not any("tokens/s" in column for column in report.table().columns)
    assert "sha256" in report.markdown("x") and "Tokens/s" not in report.markdown("x")


@pytest.mark.thorough
def test_a_report_without_the_speed_of_its_last_file(models: list[sb.Model]) -> None:
    paths = [model.path for model in models]
    steps: list[str] = []

    def on_progress(step: Any) -> None:
        steps.append(step.what)
        if step.what == f"{paths[1].name}: tg2, 1 thread, run 1 of 2":
            raise KeyboardInterrupt

    options = sb.EvalOptions(n_ctx=N_CTX, chunks=2)
    with sb.ReportMeasurement(paths, TEXT, options, **FAST) as measurement:
        with pytest.raises(KeyboardInterrupt):
            measurement.run(on_progress)
        first, second = measurement.result().rows
        assert first.prompt and first.generation and second.prompt and second.generation is None
        assert measurement.result().table().rows[1][-1] == ""
        assert measurement.coverage == "2 of 2 chunks and the speed of 1 of 2 files"


@pytest.mark.thorough
def test_bench(models: list[sb.Model]) -> None:
    sizes: dict[str, Any] = {"prompt": [8], "generate": [2], "depth": [0, 300], "threads": [1], "repeats": 2}
    with sb.BenchMeasurement(models[0].path, **sizes) as measurement:
        steps = 2 + 4 + 2  # of the depth, of warming up, and of the first two runs
        result = interrupted(measurement, steps + 1).result()
        assert (measurement.n_done, measurement.n_total) == (2, 8)
        assert measurement.coverage == "2 of 8 runs"
    assert [of.case.name for of in result.measured] == ["pp8", "tg2"]
    assert [len(of.runs) for of in result.measured] == [1, 1] and result.repeats == 1


def test_what_was_not_begun_has_nothing(models: list[sb.Model]) -> None:
    measurement = sb.PerplexityMeasurement(models, TEXT, sb.EvalOptions(n_ctx=N_CTX, chunks=2))
    assert measurement.n_done == 0
    assert [progress.index for progress in measurement] == [1, 2]
