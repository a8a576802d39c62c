"""The default number of threads, on made-up machines."""

import os
from pathlib import Path

import pytest

from subbyte.runtime.machine import default_threads


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
