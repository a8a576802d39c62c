"""A step's work, counted: barriers, chunks and bytes of weights do not grow with the number of threads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import LLAMA, tensor_shapes, write_model

import subbyte as sb
from subbyte.kernels import Cache, Engine

THREADS = [1, 2, 3, 8, 16]


def counts(path: Path, n_tokens: int, threads: int) -> tuple[int, int, int]:
    """(barriers, chunks, bytes of weights) of a step that appends n_tokens and wants the last one's logits."""
    with sb.load(path) as model:
        engine = Engine(model.plan, n_batch=64, n_threads=threads, n_ctx=128)
        engine.step(range(n_tokens), ((Cache(model.plan, 128, "f16"), n_tokens, 0),), logits_of=[n_tokens - 1])
        return engine.n_barriers, engine.n_chunks, engine.weight_bytes


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
@pytest.mark.parametrize("n_tokens", [1, 3, 50])
def test_nothing_grows_with_the_number_of_threads(arch: str, n_tokens: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, types=["Q4_0", "Q8_0"])
    found = [counts(tmp_path / "m.gguf", n_tokens, threads) for threads in THREADS]
    assert len(set(found)) == 1


@pytest.mark.parametrize("threads", [1, 8])
def test_a_token_reads_every_weight_once(threads: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["F32"])
    matrices = [s for name, s in tensor_shapes("llama", LLAMA).items() if len(s) == 2 and name != "token_embd"]
    assert counts(tmp_path / "m.gguf", 1, threads)[2] == 4 * sum(rows * cols for rows, cols in matrices)


@pytest.mark.parametrize("n_tokens", [1, 50])
def test_a_layer_meets_at_few_barriers(n_tokens: int, tmp_path: Path) -> None:
    """After q k v, attention, its output, gate and up, down; of a prompt after the cache and four inputs too."""
    found = []
    for n_layer in (2, 3):
        write_model(tmp_path / "m.gguf", shape={**LLAMA, "n_layer": n_layer}, types=["Q4_0"])
        found.append(counts(tmp_path / "m.gguf", n_tokens, 4)[0])
    assert 0 < found[1] - found[0] <= (5 if n_tokens == 1 else 10)
