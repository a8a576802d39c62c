"""`report --plot`, `report --from` and `compare --blame tensor --plot`: what is drawn, and what is refused at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import MIXED, write_model

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.thorough

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 800).tolist())
MEASURED = ("-f", "text", "-c", "32", "--chunks", "4")
FAST = ("-p", "1", "-n", "1", "-r", "1", "-t", "1")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in a folder with two models and a text."""
    for name, types in {"a": ["F32"], "b": ["Q8_0", "Q4_0"]}.items():
        write_model(tmp_path / f"{name}.gguf", shape={**MIXED, "n_layer": 2}, types=types)
    (tmp_path / "text").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)
    return command_line


@pytest.mark.slow
def test_a_report_is_drawn_and_drawn_again_from_what_it_wrote(call: Call, tmp_path: Path) -> None:
    files = ("--plot", "p.svg", "--plot", "p.png")
    code, out, err = call("report", "b.gguf", "--base", "a.gguf", *MEASURED, *FAST, *files, "-o", "json")
    assert (code, err) == (0, "") and json.loads(out)["base"] == "a.gguf"
    (tmp_path / "r.json").write_text(out)
    drawn = [(tmp_path / name).read_bytes() for name in files[1::2]]
    assert b">b</text>" in drawn[0] and b'id="kld-0-interval"' in drawn[0] and drawn[1].startswith(b"\x89PNG")
    assert call("report", "--from", "r.json", *files) == (
        4, "", "subbyte: p.svg: a plot exists; --overwrite replaces it, or give another place\n"
    )  # fmt: skip
    (tmp_path / "p.png").unlink()
    assert call("report", "--from", "r.json", *files, "--overwrite") == (0, "", "")
    assert [(tmp_path / name).read_bytes() for name in files[1::2]] == drawn


def test_an_attribution_is_drawn(call: Call, tmp_path: Path) -> None:
    code, out, err = call("compare", "a.gguf", "b.gguf", *MEASURED, "--blame", "tensor", "--plot", "p.svg")
    assert (code, err) == (0, "") and "Blame: KLD" in out
    text = (tmp_path / "p.svg").read_text()
    assert "KL divergence by tensor: b.gguf" in text and "<title>blk.1.attn_q: F32 → Q" in text


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (("report",), 2, "give a MODEL and a text with -f or --chat, or an earlier report with --from"),
        (("report", "b.gguf"), 2, "give a MODEL and a text with -f"),
        (("report", "--from", "r.json"), 2, "give it with --plot FILE, and with no MODEL or options"),
        (("report", "b.gguf", "--from", "r.json", "--plot", "p.svg"), 2, "with no MODEL or options"),
        (("report", "--from", "r.json", "-c", "8", "--plot", "p.svg"), 2, "with no MODEL or options"),
        (("report", "--from", "text", "--plot", "p.svg"), 3, "text: no report: "),
        (("report", "--from", "none", "--plot", "p.svg"), 4, "none: can't be read: "),
        (("report", "none.gguf", "-f", "none", "--plot", "p.pdf"), 2, "path is p.pdf, but must end with .svg or .png"),
        (("report", "none.gguf", "-f", "none", "--plot", "no/p.svg"), 4, "there is no folder "),
        (("compare", "a.gguf", "b.gguf", "--plot", "p.svg"), 2, "give --blame tensor and one Q"),
        (("compare", "a.gguf", "b.gguf", "--plot", "p.svg", "--blame", "kind"), 2, "give --blame tensor and one Q"),
        (("compare", "a", "b", "b", "--plot", "p.svg", "--blame", "tensor"), 2, "give --blame tensor and one Q"),
        (("compare", "none", "b", "--plot", "p", "--blame", "tensor"), 2, "must end with .svg or .png"),
    ],
)
def test_what_can_not_be_drawn_is_refused_before_the_work(
    line: tuple[str, ...], code: int, message: str, call: Call, tmp_path: Path
) -> None:
    found, out, err = call(*line)
    assert (found, out) == (code, "") and message in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "b.gguf", "text"]


def test_without_matplotlib_the_work_does_not_begin(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call("report", "none.gguf", "-f", "none", "--plot", "p.svg") == (
        4, "", "subbyte: a plot needs matplotlib; install it with: pip install 'subbyte[plot]'\n"
    )  # fmt: skip
