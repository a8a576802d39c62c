"""Units of measurements computed elsewhere: any ranges, joined, are the figures of one run."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_two_types

import subbyte as sb
from subbyte.kernels import isas
from subbyte.runtime.distributed.loaded import granted_threads
from subbyte.runtime.evaluation.checkpoint import Figures
from subbyte.runtime.evaluation.work import Work, split
from subbyte.runtime.machine import default_threads
from subbyte.runtime.store.resolve import name_of

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 3000).tolist())
SIZES: dict[str, Any] = {"n_ctx": 48, "chunks": 5}


class Elsewhere:
    """Workers that take ranges of two units, the last first, from what was pickled; sent: the work, each time."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.units: list[range] = []

    def figures(self, work: Work, texts: Any, units: range) -> Iterator[Figures]:
        self.sent.append(pickle.dumps((work, texts)))
        self.units.append(units)
        parts = [units[i : i + 2] for i in range(0, len(units), 2)]
        measured = {}
        for part in reversed(parts):
            sent_work, sent_texts = pickle.loads(self.sent[-1])
            with sent_work.begin(sent_texts, 1) as begun:
                measured[part] = list(begun.figures(part))
        for part in parts:
            yield from measured[part]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_two_types(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def base_file(paths: list[Path]) -> Path:
    file = paths[0].with_name("base")
    sb.compare(paths[0], paths[1], TEXT, save_base=file, **SIZES)
    return file


def measure_perplexity(paths: list[Path], **more: Any) -> Any:
    found = sb.perplexity(paths, TEXT, stride=20, **SIZES, **more)
    return [(of.ppl, of.error, of.running, of.interval) for of in found.results], found.delta(1, 0)


def measure_compare(paths: list[Path], **more: Any) -> Any:
    return sb.compare(paths[0], paths[1:], TEXT, **SIZES, **more).results


def measure_layers(paths: list[Path], **more: Any) -> Any:
    found = sb.compare(paths[0], paths[1:], TEXT, layers=True, **SIZES, **more)
    return found.results, found.layers


def measure_base_file(paths: list[Path], **more: Any) -> Any:
    return sb.compare(paths[0].with_name("base"), paths[1:], None, **more).results


def measure_blame(paths: list[Path], **more: Any) -> Any:
    found = sb.blame(paths[0], paths[1], TEXT, n_ctx=48, chunks=2, **more)
    return found.groups, found.whole, found.chunks


def measure_report(paths: list[Path], **more: Any) -> Any:
    """Up to the speeds, which take a while."""
    options = sb.EvalOptions(**SIZES)
    with sb.ReportMeasurement(paths[1], TEXT, options, base=paths[0], **more) as measurement:
        next(step for step in measurement if step.what.startswith("perplexity") and step.done == step.total)
        return [(row.perplexity.ppl, row.perplexity.interval, row.divergence) for row in measurement.result().rows]


Measure = Callable[..., Any]
MEASUREMENTS: dict[str, Measure] = {
    "perplexity": measure_perplexity, "compare": measure_compare, "layers": measure_layers,
    "base file": measure_base_file, "blame": measure_blame, "report": measure_report,
}  # fmt: skip


@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_ranges_measured_apart_are_one_run(
    measure: Measure, paths: list[Path], base_file: Path, tmp_path: Path
) -> None:
    expected, workers = measure(paths, resume=tmp_path / "alone"), Elsewhere()
    assert measure(paths, resume=tmp_path / "apart", workers=workers) == expected
    alone, apart = ((tmp_path / name).read_bytes() for name in ("alone", "apart"))
    assert apart == alone
    lines = alone.splitlines(keepends=True)
    (tmp_path / "apart").write_bytes(b"".join(lines[:4]))  # three units
    assert measure(paths, resume=tmp_path / "apart", workers=workers) == expected
    assert [units.start for units in workers.units] == [0, 3] and (tmp_path / "apart").read_bytes() == alone


def work_of(paths: list[Path]) -> Work:
    workers = Elsewhere()
    sb.perplexity(paths[0], TEXT, workers=workers, **SIZES)
    work, _ = pickle.loads(workers.sent[0])
    assert isinstance(work, Work)
    return work


def test_a_worker_refuses_other_files(paths: list[Path], tmp_path: Path) -> None:
    work = work_of(paths)
    file = work.arguments["models"][0]
    with pytest.raises(sb.SubbyteError, match=r"other files .* model 1 is 'b\.gguf' \(.* here, 'a\.gguf' \(.* put the"):
        replace(work, arguments={**work.arguments, "models": [replace(file, path=paths[1])]}).begin(TEXT)
    with pytest.raises(sb.SubbyteError, match=r"other files .* the text's sha256"):
        work.begin(TEXT + b" ")
    with pytest.raises(sb.ModelNotFound, match=r"gone\.gguf"):
        replace(work, arguments={**work.arguments, "models": [replace(file, path=tmp_path / "gone.gguf")]}).begin(TEXT)


def test_a_worker_refuses_another_program(paths: list[Path]) -> None:
    work = work_of(paths)
    with pytest.raises(sb.SubbyteError, match=r"subbyte .* is here, 0\.0 began this measurement; install the same one"):
        replace(work, version="0.0").begin(TEXT)
    models = [replace(work.arguments["models"][0], isa="avx999")]
    with pytest.raises(sb.SubbyteError, match=rf"avx999 is not on this machine.*SUBBYTE_ISA={isas()[-1]}"):
        replace(work, arguments={**work.arguments, "models": models}).begin(TEXT)


def test_a_worker_finds_a_file_by_its_name(paths: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached = sb.runtime.store.resolve.Installed("hf:some/repo:Q8_0", paths[0], 1, "Hugging Face")
    monkeypatch.setattr("subbyte.runtime.store.resolve.installed", lambda: [cached])
    link = tmp_path / "link.gguf"
    link.symlink_to(paths[0])
    assert name_of(paths[0]) == name_of(link) == "hf:some/repo:Q8_0" and name_of(paths[1]) is None
    work = work_of([link])
    monkeypatch.setattr("subbyte.runtime.store.resolve.resolve", lambda name: paths[0] if name == cached.name else name)
    link.unlink()
    with work.begin(TEXT, 1) as begun:
        assert list(begun.figures(range(1)))


def test_logits_are_not_sent(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give save_base or workers"):
        sb.compare(*paths, TEXT, save_base=tmp_path / "base", workers=Elsewhere())


@pytest.mark.parametrize(("n", "workers"), [(1, 1), (5, 2), (100, 2), (1000, 3)])
def test_ranges_are_all_units_in_order(n: int, workers: int) -> None:
    parts = split(range(7, 7 + n), workers)
    assert [unit for part in parts for unit in part] == list(range(7, 7 + n))
    assert len(parts) >= min(n, 4 * workers) and max(map(len, parts)) <= 8


def test_threads_are_those_that_ray_grants() -> None:
    most = default_threads()[0]
    assert [granted_threads(n) for n in (0.5, 1, 1000)] == [1, 1, most]
    assert granted_threads() == most


def test_without_ray_a_line_says_how_to_get_it(
    paths: list[Path],
    command_line: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "text").write_bytes(TEXT)
    code, out, err = command_line("perplexity", str(paths[0]), "-f", str(tmp_path / "text"), "-c", "48", "--ray")
    assert (code, out) == (4, "") and err.count("\n") == 1 and "pip install 'subbyte[ray]'" in err
