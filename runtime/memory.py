"""How much memory may still be used, so that a cache too large is refused before it is allocated."""

from __future__ import annotations

from pathlib import Path


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping; 2^62 if unknown.

    The smaller of what the machine and the control group (v2 or v1) have left.
    """
    return min(machine_memory(root), group_memory(root))


def machine_memory(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 2**62


def group_memory(root: Path) -> int:
    cgroup = root / "sys/fs/cgroup"
    v2 = ("memory.max", "memory.current")
    v1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
    for limit, usage in (v2, v1):
        try:
            return int((cgroup / limit).read_text()) - int((cgroup / usage).read_text())
        except (OSError, ValueError):  # absent, or the word "max"
            continue
    return 2**62
