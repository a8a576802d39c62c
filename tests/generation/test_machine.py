"""The default number of threads, on made-up machines."""

import os
from pathlib import Path

import pytest

from subbyte.runtime.machine import available_memory, default_threads


def machine(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    *,
    cpus: int = 16,
    smt: int = 2,
    affinity: set[int] | None = None,
    files: dict[str, str] | None = None,
) -> Path:
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: affinity or set(range(cpus)))
    topology = {
        f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i // smt * smt}-{i // smt * smt + smt - 1}\n"
        for i in range(cpus)
    }
    for name, text in {**topology, **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1 = "12:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/docker/abc\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (8, "8 cores")),
        ({"smt": 1}, (16, "16 cores")),
        ({"cpus": 1, "smt": 1}, (1, "1 core")),
        ({"affinity": {0, 1, 2, 3}}, (2, "CPU affinity 2 of 8 cores")),
        ({"affinity": {0, 2, 4}}, (3, "CPU affinity 3 of 8 cores")),
        # version 2: own group, one further out, both, none
        ({"files": {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}},
         (2, "cgroup quota 2.5 of 8 cores")),
        ({"files": {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}},
         (1, "cgroup quota 0.5 of 8 cores")),
        ({"files": {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                    "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}}, (3, "cgroup quota 3.0 of 8 cores")),
        ({"files": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}}, (8, "8 cores")),
        ({"files": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"}}, (8, "8 cores")),
        # version 1: the path of the host does not exist inside the container
        ({"files": {"proc/self/cgroup": V1, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}}, (2, "cgroup quota 2.0 of 8 cores")),
        ({"files": {"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "150000\n",
                    "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "50000\n"}}, (3, "cgroup quota 3.0 of 8 cores")),
        ({"files": {"proc/self/cgroup": V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}}, (8, "8 cores")),
        # nonsense is no limit
        ({"files": {"proc/self/cgroup": "what\n0::/\n", "sys/fs/cgroup/cpu.max": "many few"}}, (8, "8 cores")),
        ({"files": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000"}}, (8, "8 cores")),
        ({"files": {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0"}}, (8, "8 cores")),
    ],
)  # fmt: skip
def test_default_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, object], expected: tuple[int, str]
) -> None:
    assert default_threads(machine(monkeypatch, tmp_path, **settings)) == expected  # type: ignore[arg-type]


def test_this_machine_and_none() -> None:
    n, reason = default_threads()
    assert 1 <= n <= len(os.sched_getaffinity(0))
    assert reason
    assert default_threads(Path("/nonexistent"))[0] == len(os.sched_getaffinity(0))


LEFT = 1000 * 1024  # of the machine below
V1_STAT = "cache 700\ninactive_file 1\ntotal_inactive_file 300\ntotal_active_file 100\n"
V2_STAT = "anon 100\nfile 700\ninactive_file 300\nactive_file 100\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, LEFT),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, LEFT),
        # pages of files count as free
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n",
          "sys/fs/cgroup/a/b/memory.current": "900\n", "sys/fs/cgroup/a/b/memory.stat": V2_STAT}, 500),
        # a group further out has less; the whole machine has least; more is used than may be
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n",
          "sys/fs/cgroup/a/b/memory.current": "100\n", "sys/fs/cgroup/a/memory.max": "500\n",
          "sys/fs/cgroup/a/memory.current": "200\n"}, 300),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "5000000\n",
          "sys/fs/cgroup/memory.current": "0\n"}, LEFT),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "100\n",
          "sys/fs/cgroup/memory.current": "200\n"}, 0),
        # version 1: the path of the host does not exist inside the container
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
          "sys/fs/cgroup/memory/memory.usage_in_bytes": "900\n",
          "sys/fs/cgroup/memory/memory.stat": V1_STAT}, 500),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "1000\n",
          "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "900\n"}, 100),
        # nonsense is no limit
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "many\n",
          "sys/fs/cgroup/memory.current": "\n"}, LEFT),
    ],
)  # fmt: skip
def test_available_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    told = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1000 kB\n"}
    assert available_memory(machine(monkeypatch, tmp_path, files={**told, **files})) == expected


def test_memory_of_this_machine_and_of_none() -> None:
    assert 0 < available_memory() < 2**62
    assert available_memory(Path("/nonexistent")) == 2**62
