"""Checks of processor, threads and memory, with one short measurement."""

import os
from collections.abc import Iterator
from pathlib import Path

from subbyte.kernels import best_isa, isas
from subbyte.runtime.bench.roofline import RooflineProbe
from subbyte.runtime.doctor.check import Check, size
from subbyte.runtime.machine import available_memory, cpu_name, default_threads, memory_limit

_SLOWER = {
    "scalar": "no vector instructions are used: a processor with AVX2 or NEON is many times as fast",
    "avx2": "without AVX-512 VBMI, IQ1 to IQ3 files are bound by computing: Q4_K may generate as fast",
    "avxvnni": "without AVX-512 VBMI, IQ1 to IQ3 files are bound by computing: Q4_K may generate as fast",
    "avx512": "without AVX-512 VBMI, IQ1 to IQ3 files are bound by computing: Q4_K may generate as fast",
}
_LITTLE = 2 << 30  # bytes of free memory below which small models alone fit
_SWAPPED = 256 << 20  # bytes in swap that are more than what systems put there in peace


def machine_checks(root: Path = Path("/")) -> Iterator[Check]:
    """The checks in turn; `root` holds /proc and /sys."""
    yield _processor(root)
    yield _threads(root)
    yield _load(root)
    yield _memory(root)
    yield _swap(root)
    yield _bandwidth(root)


def _processor(root: Path) -> Check:
    name, found, isa = cpu_name(root), isas(), best_isa()
    advice = _SLOWER.get(isa)
    if isa != found[-1]:
        advice = f"SUBBYTE_ISA holds it to {isa}: unset it for {found[-1]}"
    governor = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor == "powersave" and "intel_pstate" not in _read(
        root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"
    ):
        advice = "the frequency governor is powersave: `cpupower frequency-set -g performance` lets it run faster"
    return Check(
        "processor", f"{name}; instruction set {isa}, of {', '.join(found)}", advice, {"name": name, "isa": isa}
    )


def _threads(root: Path) -> Check:
    n, reason = default_threads(root)
    n_logical = os.cpu_count() or 1
    text = f"{n} ({reason}, {n_logical} logical)" if n_logical > n else f"{n} ({reason})"
    advice = None
    if "quota" in reason:
        advice = "the container grants less than the machine has: more is a matter of its --cpus, and no option here"
    elif "affinity" in reason:
        advice = "this process may not run on all cores: taskset or the batch system decides that"
    return Check("threads", text, advice, {"threads": n, "logical": n_logical, "reason": reason})


def _load(root: Path) -> Check:
    first = _read(root / "proc/loadavg").split()[:1]
    load = float(first[0]) if first else 0.0
    n = default_threads(root)[0]
    advice = None
    if load > max(1.0, n / 2):
        advice = "other programs take processor time: what is measured now is less than what the machine can do"
    return Check("load", f"{load:.1f} processes ran or waited, on average of a minute", advice, {"load": load})


def _memory(root: Path) -> Check:
    total, free, limit = _meminfo(root, "MemTotal"), available_memory(root), memory_limit(root)
    text = f"{size(free)} free" + (f" of {size(total)}" if total else "")
    if limit is not None and limit < total:
        text += f", limited to {size(limit)} by a control group"
    advice = None
    if free < _LITTLE:
        advice = "models larger than that are read from disk again for each token: take smaller files or block types"
    return Check("memory", text, advice, {"total": total, "available": free, "limit": limit})


def _swap(root: Path) -> Check:
    total = _meminfo(root, "SwapTotal")
    used = total - _meminfo(root, "SwapFree")
    advice = None
    if used > _SWAPPED:
        advice = "memory was short: end other programs, or take a smaller model or context (-c)"
    text = f"{size(used)} of {size(total)} in use" if total else "none"
    return Check("swap", text, advice, {"total": total, "used": used})


def _bandwidth(root: Path) -> Check:
    n = default_threads(root)[0]
    probe = RooflineProbe(best_isa())
    rate = max(probe.bandwidth(n) for _ in range(3))
    text = f"{size(rate)}/s read by {n} thread{'s' if n > 1 else ''}, measured now"
    return Check("bandwidth", text, None, {"bytes_per_second": rate, "threads": n})


def _meminfo(root: Path, key: str) -> int:
    """Bytes that /proc/meminfo has by that name; 0 where it has none."""
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == key and value.split()[:1] and value.split()[0].isdigit():
            return int(value.split()[0]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
