"""The process has one pool of threads, whatever computes in it."""

from pathlib import Path

import numpy as np
from tiny_models import LLAMA, write_model

import subbyte as sb
from subbyte.kernels import _testing, compare_logits, int8_peak, read_rate


def workers() -> list[str]:
    """Names of the threads that kernels started in this process."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return sorted(name for name in names if name.startswith("subbyte-"))


def test_everything_computes_in_one_pool(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", shape=LLAMA, types=["Q4_0"])
    sb.load(tmp_path / "m.gguf", threads=3).session().eval([1, 2, 3])
    logits = np.zeros((4, 8), np.float32)
    compare_logits(logits, logits, [0] * 4, n_threads=3)
    read_rate(np.ones(1 << 16, np.uint8), n_threads=3, seconds=0.001)
    int8_peak("scalar", n_threads=3, seconds=0.001)
    _testing.time_product("scalar", "Q8_0", np.zeros(34 * 8, np.uint8), 8, np.ones((2, 32), np.float32))
    assert {"subbyte-1", "subbyte-2"} <= set(workers())
    assert len(workers()) == len(set(workers()))
