"""benchmarks/paging.py: a control group with a limit, turns, a run in a process of its own, and the table."""

from __future__ import annotations

from pathlib import Path

import paging
import pytest
from click.testing import CliRunner
from tiny_synthetic import TINY_MOE

from subbyte.runtime.synthetic.write import SHAPES, Synthetic, write


@pytest.mark.parametrize("version, file", [(1, "memory/{}/memory.limit_in_bytes"), (2, "{}/memory.max")])
def test_a_control_group_has_a_limit_and_goes(version: int, file: str, tmp_path: Path) -> None:
    if version == 1:
        (tmp_path / "memory").mkdir()
    with paging.memory_group(1600, tmp_path) as group:
        limit = tmp_path / file.format(group.name)
        assert limit.read_text() == "1600"
        limit.unlink()  # a kernel's goes with its folder
    assert not group.exists()


def test_a_group_that_is_still_in_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "task").touch()
    with pytest.raises(OSError, match="not empty"):
        paging.remove(tmp_path, seconds=0)


def test_with_and_without_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[bool] = []

    def run_once(path: Path, group: Path, threads: int, n: int, warm_up: int, ahead: bool) -> paging.Run:
        log.append(ahead)
        return paging.Run(float(len(log)), 1.0, 2e6)

    monkeypatch.setattr(paging, "run_once", run_once)
    runs = paging.take_turns(Path("m"), Path("g"), 2, 4, 1, 2)
    assert log == [False, True, True, False]
    assert paging.render(runs).splitlines()[2:] == [
        "| no | 2.50 [1.00 .. 4.00] | 1.0 | 2.0 |",
        "| yes | 2.50 [2.00 .. 3.00] | 1.0 | 2.0 |",
    ]


@pytest.mark.thorough
def test_a_run_is_a_process_in_the_group(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(Synthetic(TINY_MOE, "Q4_0"), path)
    run = paging.run_once(path, tmp_path, 1, 8, 2, True)
    assert run.rate > 0 and run.faults >= 0 and run.n_bytes >= 0
    assert int((tmp_path / "cgroup.procs").read_text()) > 1


def test_what_can_not_be_measured_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SHAPES, "tiny-moe", TINY_MOE)

    def refused(limit: int) -> Path:
        raise PermissionError(13, "Permission denied", "/sys/fs/cgroup/memory")

    monkeypatch.setattr(paging, "memory_group", refused)
    result = CliRunner().invoke(paging.main, ["--synthetic=tiny-moe:Q4_0", "--limit=1"])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "Permission denied" in result.stderr
    assert "give either MODEL or --synthetic" in CliRunner().invoke(paging.main, ["--limit=1"]).stderr
