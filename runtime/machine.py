"""What the machine grants this process: threads (cores, affinity, container quota), processor, free memory."""

import os
import platform
from collections.abc import Iterator
from math import floor, inf
from pathlib import Path

_CPUS = "sys/devices/system/cpu"
_CGROUPS = "sys/fs/cgroup"

PROCESS_BYTES = 150_000_000
"""What a process takes beside a model's file and the KV cache, at most."""


def default_threads(root: Path = Path("/")) -> tuple[int, str]:
    """The number of threads worth starting, at least 1, and what decided it, such as "cgroup quota 2.0 of 16 cores".

    It is the smaller of the physical cores this process may run on (a second thread on a core gains nothing where the
    vector units are busy) and the cgroup's CPU quota rounded down (more would be throttled). `root` holds /proc, /sys.
    """
    machine = _count_cores(root, range(os.cpu_count() or 1))
    allowed = _count_cores(root, os.sched_getaffinity(0))
    quota = min(_quotas(root), default=inf)
    cores = f"{machine} core{'s' if machine > 1 else ''}"
    if quota < allowed:
        return max(1, floor(quota)), f"cgroup quota {quota:.1f} of {cores}"
    if allowed < machine:
        return allowed, f"CPU affinity {allowed} of {cores}"
    return machine, cores


def cpu_name(root: Path = Path("/")) -> str:
    """What the processor calls itself, such as "AMD EPYC"; its architecture where it does not say."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _count_cores(root: Path, cpus: range | set[int]) -> int:
    """Physical cores among these logical CPUs; a CPU of unknown topology counts as a core."""
    cores = {_read(root / _CPUS / f"cpu{cpu}/topology/thread_siblings_list") or f"cpu{cpu}" for cpu in cpus}
    return max(1, len(cores))


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quota, in CPUs, of each cgroup this process is in and of those around it."""
    for version, folder in _groups(root, "cpu"):
        quota = _quota_v2(folder) if version == 2 else _quota_v1(folder)
        if quota is not None:
            yield quota


def _groups(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Version, 1 or 2, and folder of each cgroup with this controller that holds this process, from the inside out."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mounts, version = ["", "unified"], 2
        elif controller in controllers.split(","):
            mounts, version = [controllers, controller], 1
        else:
            continue
        inner = Path(path.lstrip("/"))
        # Inside a container the path may be the host's and not exist here: then only the upper folders hold files.
        for mount in mounts:
            for folder in (inner, *inner.parents):
                yield version, root / _CGROUPS / mount / folder


def _quota_v2(folder: Path) -> float | None:
    return _ratio(*_read(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str = "", period: str = "") -> float | None:
    """None when there is no limit ("max" or -1) or no such file."""
    if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
        return int(quota) / int(period)
    return None


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping; 2^62 if unknown.

    The smaller of what the machine and the control groups (v2 or v1) have left. Pages of files that were read count as
    free, since they go when memory is needed.
    """
    groups = (_left_in_group(version, folder) for version, folder in _groups(root, "memory"))
    return min(machine_memory(root), *(left for left in groups if left is not None), 2**62)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that the control groups allow this process and its like in all; None without a limit."""
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    limits = [_read(folder / names[version]) for version, folder in _groups(root, "memory")]
    least = min((int(limit) for limit in limits if limit.isdigit()), default=2**62)
    return least if least < 2**60 else None  # v1 has a number near 2^63 where there is no limit


def machine_memory(root: Path) -> int:
    """Bytes that the machine has left; 2^62 if unknown."""
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 2**62


def _left_in_group(version: int, folder: Path) -> int | None:
    """Bytes that a control group has left; None without a limit."""
    names = ("limit_in_bytes", "usage_in_bytes") if version == 1 else ("max", "current")
    limit, usage = (_read(folder / f"memory.{name}") for name in names)
    if not (limit.isdigit() and usage.isdigit()):
        return None
    of_files = ("total_active_file", "total_inactive_file") if version == 1 else ("active_file", "inactive_file")
    statistics = dict(line.split(maxsplit=1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
    pages = sum(int(statistics[name]) for name in of_files if statistics.get(name, "").isdigit())
    return max(0, int(limit) - int(usage) + pages)
