"""`sb.report` and `subbyte report`: what a file is compared with, and that a report's figures are the measured ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import MIXED, write_model
from tiny_synthetic import TINY_MOE

import subbyte as sb
from subbyte.cli.main import run
from subbyte.runtime.report.size_class import SizeClass, baseline_for, size_class
from subbyte.runtime.synthetic.write import Synthetic, write

pytestmark = pytest.mark.thorough

TEXT = "the tin and the can are on the lane, and in the other an inn then rings the one horn. " * 30
FAST = {"n_ctx": 64, "prompt": 8, "generate": 2, "repeats": 1, "threads": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model and what is made of it: by two recipes of one name, by another one, and by none that is known."""
    folder = tmp_path_factory.mktemp("report")
    paths = {name: folder / f"{name}.gguf" for name in ("base", "standard", "gate", "fine", "other")}
    write_model(paths["base"], shape=MIXED)
    with sb.load(paths["base"]) as model:
        imatrix = sb.imatrix(model, TEXT, n_ctx=64, chunks=4)
    sb.quantize(paths["base"], paths["standard"], "IQ2_XXS", imatrix=imatrix)
    sb.quantize(paths["base"], paths["gate"], "DynamicGate-IQ2_XXS", imatrix=imatrix)
    sb.quantize(paths["base"], paths["fine"], "Q8_0")
    sb.quantize(paths["base"], paths["other"], "Q8_0", tensor_types=["ffn_down=F16"])
    return paths


@pytest.fixture(scope="module")
def measured(files: dict[str, Path]) -> sb.Report:
    return sb.report([files["standard"], files["gate"], files["fine"]], TEXT, base=files["base"], **FAST)


# ---- what a file is compared with


@pytest.mark.parametrize(
    "name, expected",
    [("standard", SizeClass("IQ2_XXS", "standard")), ("gate", SizeClass("IQ2_XXS", "DynamicGate")),
     ("fine", SizeClass("Q8_0", "standard")), ("other", SizeClass("Q8_0", "other")),
     ("base", SizeClass("F32", "standard"))],
)  # fmt: skip
def test_a_size_class_is_read_from_the_types(name: str, expected: SizeClass, files: dict[str, Path]) -> None:
    with sb.GGUF.open(files[name]) as gguf:
        assert size_class(gguf) == expected


def test_a_file_type_that_nobody_knows_is_no_error(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["Q8_0"], strings={"general.file_type": "best"})
    with sb.GGUF.open(tmp_path / "m.gguf") as gguf:
        assert size_class(gguf).file_type == "Q8_0"


STANDARD, FINE = (SizeClass("IQ2_XXS", "standard"), 100), (SizeClass("Q4_0", "standard"), 150)
GATE, OTHER = (SizeClass("IQ2_XXS", "DynamicGate"), 140), (SizeClass("IQ2_XXS", "other"), 130)


@pytest.mark.parametrize(
    "classes, expected",
    [
        ([STANDARD, FINE, GATE], [None, None, 0]),  # the same name before the nearest size
        ([FINE, OTHER, GATE], [None, 0, 0]),  # the standard before others
        ([(STANDARD[0], 300), (FINE[0], 30), (SizeClass("Q2_K", "DynamicGate"), 100)], [None, None, 0]),  # by ratio
        ([OTHER, GATE], [None, 0]),  # the nearest that is not DynamicGate
        ([GATE, GATE], [None, None]),
    ],
)
def test_which_file_another_is_compared_with(classes: list[tuple[SizeClass, int]], expected: list[int | None]) -> None:
    assert [baseline_for(classes, i) for i in range(len(classes))] == expected


# ---- figures


def test_figures_are_those_of_perplexity_and_compare(measured: sb.Report, files: dict[str, Path]) -> None:
    paths = [files[name] for name in ("standard", "gate", "fine", "base")]
    assert [row.model for row in measured.rows] == [str(path) for path in paths]
    models = [sb.load(path, threads=1) for path in paths]
    run = sb.perplexity(models, TEXT, n_ctx=64)
    divergences = sb.compare(models[3], models[:3], TEXT, n_ctx=64).results
    for i, row in enumerate(measured.rows):
        assert row.perplexity.ppl == pytest.approx(run.results[i].ppl, rel=1e-5)
        assert row.perplexity.bits_per_byte == pytest.approx(run.results[i].bits_per_byte, rel=1e-5)
        assert row.divergence == (divergences[i] if i < 3 else None)
        assert (row.n_bytes, row.bits_per_weight) == (paths[i].stat().st_size, models[i].info.bits_per_weight)
        assert row.prompt.test == "pp8" and row.generation.test == "tg2"
        assert row.prompt.rate > 0 and row.generation.rate > 0
    assert [row.delta is None for row in measured.rows] == [True, False, True, True]
    delta = measured.rows[1].delta
    assert delta is not None and delta.b == str(files["standard"])
    assert delta.log_ratio.estimate == pytest.approx(run.delta(1, 0).log_ratio.estimate, abs=1e-5)


def test_without_a_base_losses_are_the_same(measured: sb.Report, files: dict[str, Path]) -> None:
    alone = sb.report([files["standard"], files["gate"]], TEXT, **FAST)
    assert alone.base is None and [row.divergence for row in alone.rows] == [None, None]
    for row, with_base in zip(alone.rows, measured.rows, strict=False):
        assert row.perplexity.ppl == pytest.approx(with_base.perplexity.ppl, rel=1e-5)


def test_digests_are_of_the_whole_files(measured: sb.Report, files: dict[str, Path]) -> None:
    for row in measured.rows:
        path = Path(row.model)
        assert row.sha256 == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}


def test_against_is_one_of_the_files(files: dict[str, Path]) -> None:
    found = sb.report([files["standard"], files["fine"]], TEXT, against=files["fine"], **FAST)
    assert [row.delta.b if row.delta else None for row in found.rows] == [str(files["fine"]), None]
    with pytest.raises(ValueError, match=r"gate\.gguf is none of the files; give one of them"):
        sb.report([files["standard"]], TEXT, against=files["gate"], **FAST)
    with pytest.raises(ValueError, match="no model to report on"):
        sb.report([], TEXT)


def test_progress_goes_through_every_stage(files: dict[str, Path]) -> None:
    calls: list[tuple[str, int, int]] = []
    sb.report([files["fine"]], TEXT, on_progress=lambda *call: calls.append(call), **FAST)
    assert calls[0] == ("sha256 of fine.gguf", files["fine"].stat().st_size, files["fine"].stat().st_size)
    chunks = [call for call in calls if call[0] == "perplexity"]
    assert [done for _, done, _ in chunks] == [*range(1, chunks[0][2] + 1)]
    assert calls[-1][1] == calls[-1][2]


# ---- what is shown


def test_markdown_has_what_it_takes_to_repeat(measured: sb.Report) -> None:
    page = measured.markdown("subbyte report a.gguf")
    lines = page.splitlines()
    assert lines[0].startswith("| file | types | MB |") and len(lines[0].split("|")) == len(lines[2].split("|"))
    assert lines[3].startswith("| gate.gguf | DynamicGate IQ2_XXS |")
    assert "    subbyte report a.gguf" in lines
    assert measured.rows[0].perplexity.text_sha256 in page
    assert all(digest in page for row in measured.rows for digest in row.sha256.values())
    assert "compared are gate.gguf with standard.gguf" in page


def test_a_mixture_of_experts_says_what_a_token_takes(tmp_path: Path) -> None:
    write(Synthetic(TINY_MOE, "Q4_K_M"), tmp_path / "m.gguf")
    found = sb.report(tmp_path / "m.gguf", TEXT, chunks=2, **FAST)
    (row,) = found.rows
    assert row.size_class == SizeClass("Q4_K", "standard") and row.mixture is not None and row.mixture.n_expert == 4
    assert found.notes()[-2].startswith("A mixture of experts: a token takes 2 of 4, with all else 0.0")
    assert found.records()[0]["mixture_n_active"] == row.mixture.n_active


def test_columns_of_a_base_only_where_there_is_one(measured: sb.Report) -> None:
    assert "KLD from base" in measured.table().columns
    assert "KLD from base" not in replace(measured, base=None).table().columns


def test_a_notebook_shows_the_table(measured: sb.Report) -> None:
    shown = measured._repr_html_()
    assert shown.count("<tr>") == 5 and "DynamicGate IQ2_XXS" in shown


def test_json_holds_all_but_single_losses(measured: sb.Report) -> None:
    facts = json.loads(json.dumps(measured.to_dict()))
    assert facts["level"] == 0.95 and facts["threads"] == 1 and facts["cpu"] == measured.cpu
    assert facts["rows"][1]["delta"]["verdict"] in ("better", "worse", "undecided")
    assert facts["rows"][0]["size_class"] == {"file_type": "IQ2_XXS", "maker": "standard"}


# ---- the command


@pytest.mark.parametrize("output", ["md", "json"])
def test_the_command(output: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    args = ["report", str(files["standard"]), str(files["gate"]), "-f", str(text), "-c", "64", "--chunks", "5",
            "-p", "8", "-n", "2", "-r", "1", "-t", "1", "-o", output]  # fmt: skip
    assert run(args) == 0
    shown = capsys.readouterr().out
    if output == "md":
        assert shown.startswith("| file |") and f"subbyte {' '.join(args)}" in shown
    else:
        facts = json.loads(shown)
        assert facts["command"] == f"subbyte {' '.join(args)}" and facts["files"] == [str(text)]
        assert [row["perplexity"]["chunks"] for row in facts["rows"]] == [5, 5]


@pytest.mark.parametrize(
    "more, message",
    [
        (["--against", "base"], "is none of the files"),
        (["-c", "512"], "1024 are needed for n_ctx = 512"),
        (["-r", "0"], "Invalid value for '-r'"),
    ],
)
def test_a_wrong_command_is_one_line(
    more: list[str], message: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT[:300])
    more = [str(files[word]) if word in files else word for word in more]
    assert run(["report", str(files["standard"]), "-f", str(text), *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_metadata_in_place_of_the_files(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, other = tmp_path / "text.txt", "llama.rope.freq_base=float:50"
    text.write_text(TEXT)
    args = ["report", str(files["standard"]), "-f", str(text), "-c", "64", "--chunks", "2",
            "-p", "8", "-n", "2", "-r", "1", "-t", "1", "--resume", str(tmp_path / "run"), "-o", "json"]  # fmt: skip
    found = []
    for more in ([], ["--override-kv", other]):
        assert run([*args, *more]) == (5 if more else 0)
        shown = capsys.readouterr()
        assert ("override_kv llama.rope.freq_base of model 1 is missing there, 50.0 here" in shown.err) == bool(more)
        (tmp_path / "run").unlink() if more else None
        found.append(shown.out)
    assert run([*args, "--override-kv", other]) == 0
    ppl = [json.loads(out)["rows"][0]["perplexity"]["ppl"] for out in (found[0], capsys.readouterr().out)]
    assert ppl[0] != ppl[1]
