"""`subbyte doctor`: what it reads from a machine made up of files, and what the command prints of this one."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from subbyte.cli.commands.doctor import show_check
from subbyte.runtime.doctor import cache_checks as caches
from subbyte.runtime.doctor import machine_checks as machine
from subbyte.runtime.doctor.check import Check
from subbyte.runtime.doctor.software_checks import software_checks

MEMINFO = "MemTotal: 16000000 kB\nMemAvailable: {free} kB\nSwapTotal: {swap} kB\nSwapFree: 1000 kB\n"


def made_up(root: Path, **files: str) -> Path:
    """A machine of files; names with __ for / and the texts in them."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.RooflineProbe, "bandwidth", lambda self, n_threads: 20e9)


def checks(root: Path) -> dict[str, Check]:
    return {check.name: check for check in machine.machine_checks(root)}


def test_a_machine_in_good_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "best_isa", lambda: machine.isas()[-1])
    monkeypatch.setattr(machine, "_SLOWER", {})
    made_up(tmp_path, proc__cpuinfo="model name : Fast CPU\n", proc__loadavg="0.10 0 0 1/2 3\n",
            proc__meminfo=MEMINFO.format(free=8_000_000, swap=0))  # fmt: skip
    found = checks(tmp_path)
    assert [check.advice for check in found.values()] == [None] * 6
    assert found["processor"].text.startswith("Fast CPU; instruction set ")
    assert found["memory"].text == "8.2 GB free of 16.4 GB" and found["memory"].facts["limit"] is None
    assert re.fullmatch(r"20\.0 GB/s read by \d+ threads?, measured now", found["bandwidth"].text)


def test_what_makes_a_machine_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "isas", lambda: ("scalar", "avx2", "avx512"))
    monkeypatch.setattr(machine, "best_isa", lambda: "avx2")
    made_up(tmp_path, proc__loadavg="9.10 0 0 1/2 3\n", proc__self__cgroup="0::/\n",
            proc__meminfo=MEMINFO.format(free=1_000_000, swap=2_000_000), sys__fs__cgroup__cpu__max="",
            **{"sys__fs__cgroup__cpu.max": "50000 100000", "sys__fs__cgroup__memory.max": "4000000000",
               "sys__fs__cgroup__memory.current": "1000"})  # fmt: skip
    found = checks(tmp_path)
    says = {"processor": "unset it", "threads": "container", "load": "other programs", "memory": "smaller files",
            "swap": "memory was short"}  # fmt: skip
    for name, words in says.items():
        assert words in str(found[name].advice), name
    assert found["threads"].facts["threads"] == 1
    assert "limited to 4.0 GB" in found["memory"].text


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = checks(tmp_path)
    assert found["load"].text.startswith("0.0 ") and found["swap"].text == "none"


def test_software_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {check.name: check for check in software_checks()}
    assert there["packages"].advice is None and "numpy" in there["packages"].facts
    assert {"extra json", "extra plot", "extra quantize", "extra serve"} <= set(there)
    module = "subbyte.runtime.doctor.software_checks._version"
    monkeypatch.setattr(module, lambda name: None if name in ("numpy", "llguidance") else "1.0")
    there = {check.name: check for check in software_checks()}
    assert there["packages"].advice == "missing: numpy; install subbyte again"
    assert there["extra json"].text == "not installed (pip install 'subbyte[json]')"


def test_a_network_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBBYTE_CACHE", str(tmp_path / "a b"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    place = str(tmp_path.resolve()).replace(" ", r"\040")
    table = tmp_path / "mountinfo"
    for kind, slow in (("nfs4", True), ("fuse.sshfs", True), ("ext4", False), ("fuse.overlayfs", False)):
        table.write_text(f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {place} rw shared:1 - {kind} x rw\nodd line\n")
        found = list(caches.cache_checks(table))
        assert [check.name for check in found][:2] == ["models subbyte", "models Hugging Face"]
        assert all((check.advice is not None) is slow and f"free on {kind}" in check.text for check in found[:2]), kind
    table.unlink()
    assert "unknown file system" in next(caches.cache_checks(table)).text


def test_the_command_prints_a_line_each(command_line: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command_line("doctor")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    for name in ("subbyte", "python", "processor", "threads", "memory", "bandwidth", "models subbyte", "terminal"):
        assert any(line.startswith(f"{name} ") for line in lines), name
    facts = json.loads(command_line("doctor", "-o", "json")[1])["checks"]
    assert {"name", "text", "advice", "facts"} == set(facts[0])
    assert next(check for check in facts if check["name"] == "bandwidth")["facts"]["bytes_per_second"] == 20e9


def test_a_line_with_advice_at_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Narrow()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("subbyte.cli.terminal.columns.terminal_width", lambda _: 40)
    monkeypatch.setenv("TERM", "xterm")
    show_check(Check("load", "two words " * 5, "do something about the programs there"))
    plain = out.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert "\x1b[2m" in out.getvalue() and "x1b" not in plain and max(map(len, plain.splitlines())) < 40


class Narrow(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True
