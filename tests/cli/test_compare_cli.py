"""`subbyte compare`: what each output holds, what is refused, and what Ctrl-C leaves."""

import csv
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_models import MIXED, write_model

from subbyte.cli.terminal.progress_bar import ProgressBar

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 1500).tolist())
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    for name, types in {"base": ["F32"], "q8": ["Q8_0"], "q4": ["Q4_0"]}.items():
        write_model(folder / f"{name}.gguf", shape={**MIXED, "n_layer": 2}, types=types)
    (folder / "text").write_bytes(TEXT)
    return folder


@pytest.fixture
def compare(folder: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `subbyte compare` in the folder of the models; exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    return partial(command_line, "compare")


SHORT = ("-f", "text", "-c", "64", "--chunks", "5")


@pytest.mark.thorough
def test_tables_in_llama_cpps_order(compare: Call) -> None:
    code, out, err = compare("base.gguf", "q8.gguf", "q4.gguf", *SHORT, "--layers", "--blame", "kind")
    assert (code, err) == (0, "")
    labels = [
        "Mean PPL(Q)", "Mean PPL(base)", "Cor(ln(PPL(Q)), ln(PPL(base)))", "Mean ln(PPL(Q)/PPL(base))",
        "Mean PPL(Q)/PPL(base)", "Mean PPL(Q)-PPL(base)", "Mean KLD", "Maximum KLD", "99.9% KLD", "99.0% KLD",
        "95.0% KLD", "90.0% KLD", "Median KLD", "10.0% KLD", "5.0% KLD", "1.0% KLD", "0.1% KLD", "Minimum KLD",
        "Mean Δp", "Maximum Δp", "99.9% Δp", "99.0% Δp", "95.0% Δp", "90.0% Δp", "75.0% Δp", "Median Δp", "25.0% Δp",
        "10.0% Δp", "5.0% Δp", "1.0% Δp", "0.1% Δp", "Minimum Δp", "RMS Δp", "Same top p", "Mean KLD, 95%",
        "ln(PPL(Q)/PPL(base)), 95%", "Q predicts the text", "KLD - KLD(q8.gguf), 95%", "token_embd", "blk.0", "blk.1",
    ]  # fmt: skip
    at = -1
    for label in labels:
        at = out.index(f"\n{label} ", at + 1)
    assert out.count("Blame: KLD of the base with one part of q") == 2 and "F32 → Q4_0" in out
    assert "n_ctx 64, 5 chunks, 155 tokens scored, " in out and "text sha256 " in out


def test_json(compare: Call) -> None:
    code, out, err = compare("base.gguf", "q8.gguf", "q4.gguf", *SHORT, "--layers", "--blame", "layer", "-o", "json")
    facts = json.loads(out)
    assert (code, err) == (0, "") and facts["command"].startswith("subbyte compare base.gguf q8.gguf")
    first, second = facts["results"]
    assert 0 < first["kld"]["value"] < second["kld"]["value"]
    assert len(facts["layers"]) == len(facts["blame"]) == 2 and len(facts["deltas"]) == 1
    assert {group["group"] for group in facts["blame"][0]["groups"]} == {"blk.0", "blk.1", "token_embd", "output"}


def test_csv_has_a_line_a_model(compare: Call) -> None:
    _, out, _ = compare("base.gguf", "q8.gguf", "q4.gguf", *SHORT, "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["model"] for row in rows] == ["q8.gguf", "q4.gguf"]
    assert 0 < float(rows[0]["kld_value"]) < float(rows[1]["kld_percentiles_99.9"])


def test_markdown(compare: Call) -> None:
    _, out, _ = compare("base.gguf", "q8.gguf", *SHORT, "-o", "md")
    assert "**KL divergence, nats**\n\n|  | q8.gguf |\n|---|--:|\n| Mean KLD | 0.0" in out
    assert "    subbyte compare base.gguf q8.gguf -f text" in out


def test_a_terminal_without_these_signs(compare: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", plain)
    assert compare("base.gguf", "q4.gguf", *SHORT, "--blame", "kind")[0] == 0
    plain.seek(0)
    text = plain.read()
    assert "Mean dp" in text and " +/- " in text and "F32 -> Q4_0" in text and "?" not in text


def test_a_base_file_in_place_of_the_base(compare: Call, tmp_path: Path) -> None:
    _, direct, _ = compare("base.gguf", "q4.gguf", *SHORT, "--save-base", str(tmp_path / "x.kld"), "-o", "json")
    code, out, err = compare(str(tmp_path / "x.kld"), "q4.gguf", "-o", "json")
    assert (code, err) == (0, "")
    kld, expected = (json.loads(text)["results"][0]["kld"]["value"] for text in (out, direct))
    assert kld == pytest.approx(expected, rel=1e-3)
    assert "tokens of the base file" in compare(str(tmp_path / "x.kld"), "q4.gguf")[1]
    code, out, err = compare(str(tmp_path / "x.kld"), "q4.gguf", "--blame", "kind")
    assert (code, out) == (2, "") and "holds predictions only" in err and err.count("\n") == 1
    whole = (tmp_path / "x.kld").read_bytes()
    (tmp_path / "x.kld").write_bytes(whole[:-1])
    code, out, err = compare(str(tmp_path / "x.kld"), "q4.gguf")
    assert (code, out) == (3, "") and f"has {len(whole) - 1} bytes, its header asks for {len(whole)}" in err


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C while the progress is shown for the at-th time."""
    seen = []

    def update(self: ProgressBar, what: str, done: int, total: int) -> None:
        seen.append(what)
        if len(seen) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "update", update)


def test_ctrl_c_shows_what_was_measured(compare: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupt(monkeypatch, 2)
    code, out, err = compare("base.gguf", "q4.gguf", *SHORT, "--save-base", str(tmp_path / "x"), "--blame", "kind")
    assert code == 130 and "n_ctx 64, 2 of 5 chunks, 62 tokens scored" in out and "Blame" not in out
    assert err == (
        "subbyte: interrupted: results of 2 of 5 chunks\n"
        f"subbyte: {tmp_path / 'x'} was not written: it needs all chunks\n"
    )
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_blaming(compare: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, 5 + 3)  # five chunks; then the whole, and the first group, are measured
    code, out, _ = compare("base.gguf", "q4.gguf", *SHORT, "--blame", "kind", "-o", "json")
    (blame,) = json.loads(out)["blame"]
    assert code == 130 and (blame["chunks"], len(blame["groups"])) == (1, 1)


def test_progress_has_the_running_divergence(compare: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, int]] = []
    monkeypatch.setattr(ProgressBar, "update", lambda self, *step: shown.append(step))
    _, out, _ = compare("base.gguf", "q8.gguf", "q4.gguf", *SHORT, "-o", "json")
    assert [step[1:] for step in shown] == [(i, 5) for i in range(1, 6)]
    last = [result["kld"]["value"] for result in json.loads(out)["results"]]
    assert shown[-1][0] == "KLD " + ", ".join(f"{kld:.6f}" for kld in last)
