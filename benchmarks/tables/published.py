"""How fast ik_llama.cpp is against llama.cpp, where ik_llama.cpp itself is not at hand: earlier figures of both.

published.csv holds ik_llama.cpp's tokens/s over llama.cpp's, measured for this project on two threads, by the
instruction set both were built for, with processor, date and versions: of each block type with 8 layers of
Llama-3.2-1B's shape, output Q6_K, at 256 prompt and 48 generated tokens; of SmolLM2-135M (Q4_1) and Gemma-3-270m
(Q4_K_M), with AVX-512 alone, at 512 and 64. Those of AVX2 are quotients of subbyte's ratios to either, rounded as those
were. ik_llama.cpp had no TQ1_0 or TQ2_0, and F32 and MXFP4 were not measured, nor Q5_1 with AVX2.
"""

import csv
from functools import cache
from pathlib import Path

MEASURED = {
    "avx2": "avx2", "avxvnni": "avx2",  # AVX-VNNI was not measured; AVX2 is the nearest to it
    "avx512": "avx512", "avx512vbmi": "avx512", "avx512bf16": "avx512",
}  # fmt: skip


@cache
def _leads() -> dict[tuple[str, str, str], float]:
    with Path(__file__).with_name("published.csv").open(newline="") as file:
        return {
            (row["instruction set"], row["model"], what): float(row[what])
            for row in csv.DictReader(file)
            for what in ("prompt", "generation")
        }


def ik_lead(isa: str, name: str, what: str) -> float | None:
    """ik_llama.cpp's speed over llama.cpp's for a block type or a model; what: "prompt" or "generation"."""
    return _leads().get((MEASURED.get(isa, ""), name, what))
