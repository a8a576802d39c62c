"""Which processor benchmarks ran on, told apart from others of the same name."""

from pathlib import Path

from subbyte.runtime.machine import cpu_name


def processor(root: Path = Path("/")) -> str:
    """Its name, and on x86 family and model: "AMD EPYC" alone is any of five generations. `root` holds /proc."""
    facts: dict[str, str] = {}
    for line in (root / "proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = cpu_name(root)
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name
