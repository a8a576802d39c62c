"""What the process that renders chat templates has used so far, as Linux tells it."""

import os
from pathlib import Path

from subbyte.runtime.template import helper as template_helper


def helper_pid() -> int:
    """Its number; it is started if it is gone."""
    template_helper.start()
    assert template_helper._helper is not None
    return template_helper._helper._process.pid


def end_helper() -> None:
    if template_helper._helper is not None:
        template_helper._helper.close()


def memory_peak() -> int:
    """The most bytes of memory that it had at a time."""
    return _memory(helper_pid(), "VmHWM")


def own_memory() -> int:
    """Bytes of memory that the program itself has now."""
    return _memory(os.getpid(), "VmRSS")


def processor_seconds() -> float:
    """The processor time it took, in steps of usually 10 ms."""
    fields = Path(f"/proc/{helper_pid()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
