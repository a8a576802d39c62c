"""`perplexity --plot`: the picture while a measurement runs and at its end, and what is said without plotext."""

import math
import os
import re
import sys
from pathlib import Path

import pexpect
import pyte
import pytest
from tiny_models import write_model

from subbyte.cli.main import run
from subbyte.cli.terminal.plot import MAX_WIDTH, POINTS, Plot, _Curve, _limits
from subbyte.runtime.evaluation.perplexity import ChunkResult

pytest.importorskip("plotext", minversion="6")


def chunks(n: int, *curves: float, total: int | None = None) -> list[ChunkResult]:
    """Running values that fall towards each of the `curves`."""
    return [
        ChunkResult(i, total or n, tuple(c + 5 / i for c in curves), tuple(2 / i for _ in curves), 0.1 * i)
        for i in range(1, n + 1)
    ]


def picture(plot: Plot, results: list[ChunkResult], capsys: pytest.CaptureFixture[str]) -> list[str]:
    for chunk in results:
        plot.add(chunk)
    plot.print_last()
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    return err.splitlines()


def canvas(lines: list[str]) -> list[str]:
    """What is drawn between the two vertical axes."""
    return [re.split("[│┤]", line)[1] for line in lines if line.endswith("│")]


def test_lines_and_bands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = picture(Plot(["/x/one.gguf", "two\x1b[2J.gguf"]), chunks(100, 20, 30), capsys)
    assert lines[0] == "a one.gguf: 20.0500 ± 0.0200 after 100 chunks"
    assert lines[1] == r"b two\x1b[2J.gguf: 30.0500 ± 0.0200 after 100 chunks"
    assert all(len(line) == 80 for line in lines[2:-1]) and lines[-1].split() == ["1", "20", "40", "60", "80", "100"]
    rows = canvas(lines)
    upper, lower = (next(i for i, row in enumerate(rows) if row.rstrip().endswith(letter)) for letter in "ba")
    assert upper < lower  # 30 is above 20
    assert any("░" in row for row in rows) and not any("b" in row for row in rows[lower + 1 :])


def test_the_band_is_as_wide_as_the_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    results = [ChunkResult(i, 50, (10.0,), (4.0 if i > 25 else 1.0,), 1.0) for i in range(1, 51)]
    rows = canvas(picture(Plot(["m"]), results, capsys))
    assert max(map(len, rows)) <= MAX_WIDTH
    heights = [sum(row[x] != " " for row in rows) for x in range(len(rows[0]))]
    assert set(heights[60:]) == {len(rows)} and set(heights[:50]) <= {len(rows) // 4 + i for i in range(3)}


def test_values_that_are_not_finite_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    results = chunks(10, 20.0, math.nan)
    results[3] = ChunkResult(4, 10, (math.inf, math.nan), (math.inf, math.nan), 1.0)
    assert any("a" in row for row in canvas(picture(Plot(["m", "n"]), results, capsys)))
    nothing = [ChunkResult(1, 2, (math.nan,), (math.nan,), 1.0)]
    assert picture(Plot(["m"]), nothing, capsys) == ["nothing finite to plot"]
    assert picture(Plot(["m"]), [], capsys) == []


@pytest.mark.parametrize("value", [1e-300, 1.0, 1e300])
def test_a_single_chunk(capsys: pytest.CaptureFixture[str], value: float) -> None:
    rows = canvas(picture(Plot(["m"]), [ChunkResult(1, 1, (value,), (0.0,), 1.0)], capsys))
    assert sum(row.count("a") for row in rows) == 1


def test_long_runs_are_thinned_and_keep_the_last() -> None:
    for n in (1, POINTS - 1, POINTS, POINTS + 1, 10 * POINTS + 7):
        curve = _Curve.of(chunks(n, 10.0), 0)
        assert curve.x[-1] == n and len(curve.x) <= POINTS and curve.x == sorted(set(curve.x))
        assert len(curve.x) > min(n, POINTS) // 2
        x, upper, lower = curve.band()
        assert x[-1] == n and upper[-1] > lower[-1]


def test_odd_values_leave_the_picture_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for values in ([1e300, 20, 21, 20] * 5, [20, 20 + 1e-12, 20], [1e308] * 3, [0.0, 0.0]):
        results = [ChunkResult(i, len(values), (value,), (0.0,), 1.0) for i, value in enumerate(values, 1)]
        lines = picture(Plot(["m"]), results, capsys)
        assert sum(line.count("┌") for line in lines) == 1 and any("a" in row for row in canvas(lines))


def test_the_first_values_may_lie_outside() -> None:
    curve = _Curve([1, 2, 3, 4], [1000.0, 20.0, 21.0, 20.0], [500.0, 1.0, 1.0, 1.0])
    low, high = _limits([curve])
    assert low == pytest.approx(19, abs=0.1) and high < 1200


def test_without_plotext(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("text")
    for missing in (None, type(sys)("plotext")):  # none, and one of version 5
        monkeypatch.setitem(sys.modules, "plotext", missing)
        assert run(["perplexity", "nowhere", "-f", str(tmp_path / "text"), "--plot"]) == 4
        assert capsys.readouterr().err == (
            "subbyte: --plot needs plotext 6 or newer; install it with: pip install 'subbyte[plot]'\n"
        )


@pytest.fixture
def measurement(tmp_path: Path) -> list[str]:
    write_model(tmp_path / "m.gguf")
    (tmp_path / "text").write_text("the cat and the hat in a tin, " * 60)
    main = "from subbyte.cli.entry import main; main()"
    command = ["perplexity", str(tmp_path / "m.gguf"), str(tmp_path / "m.gguf"), "-f", str(tmp_path / "text")]
    return [sys.executable, "-c", main, *command, "-c", "16", "--plot"]


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.thorough
def test_in_a_terminal(measurement: list[str], term: str) -> None:
    env = {**os.environ, "TERM": term, "PYTHONUTF8": "1"}
    child = pexpect.spawn(measurement[0], measurement[1:], env=env, dimensions=(80, 80), timeout=300)
    written = child.read()
    child.close()
    assert child.exitstatus == 0
    screen = pyte.Screen(80, 80)
    pyte.ByteStream(screen).feed(written)
    shown = "\n".join(line.rstrip() for line in screen.display)
    assert shown.count("┌") == shown.count("└") == 1 and "verdict" in shown  # the one that stays
    assert ("\x1b[38;5;" in written.decode()) == (term != "dumb") and "chunk " not in shown


@pytest.mark.thorough
def test_a_pipe_gets_the_picture_on_stderr(measurement: list[str], tmp_path: Path) -> None:
    shell = f'exec "$@" >{tmp_path}/out 2>{tmp_path}/err'
    child = pexpect.spawn("sh", ["-c", shell, "sh", *measurement], env={**os.environ, "PYTHONUTF8": "1"}, timeout=300)
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0
    out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert "┌" not in out and "verdict" in out and err.count("┌") == 1 and "\x1b" not in err
