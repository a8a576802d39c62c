"""How fast ik_llama.cpp is against llama.cpp, where ik_llama.cpp itself is not at hand: earlier figures of both.

published.csv holds tokens/s of ik_llama.cpp 8337e4cd3 and llama.cpp of late 2026 on two threads of a Zen 4 virtual
machine: of each block type with 8 layers of Llama-3.2-1B's shape, output Q6_K, at 256 prompt and 48 generated tokens;
of SmolLM2-135M (Q4_1) and Gemma-3-270m (Q4_K_M) at 512 and 64. Only their ratios are used. ik_llama.cpp has no TQ1_0
or TQ2_0 there, and F32 and MXFP4 were not measured.
"""

import csv
from functools import cache
from pathlib import Path

IK = "ik_llama.cpp"


@cache
def _ratios() -> dict[tuple[str, str], float]:
    with Path(__file__).with_name("published.csv").open(newline="") as file:
        return {
            (row["model"], what): float(row[f"{what} {IK}"]) / float(row[f"{what} llama.cpp"])
            for row in csv.DictReader(file)
            for what in ("prompt", "generation")
        }


def ik_ratio(name: str, what: str) -> float | None:
    """ik_llama.cpp's speed over llama.cpp's for a block type or a model; what: "prompt" or "generation"."""
    return _ratios().get((name, what))
