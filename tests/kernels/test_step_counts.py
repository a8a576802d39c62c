"""A step's work, counted: barriers, chunks and bytes of weights do not grow with the number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from confined import confined
from tiny_models import GEMMA4, LLAMA, MOE, SHAPES, Shape, tensor_shapes, write_model

import subbyte as sb
from subbyte.kernels import Cache, Engine

THREADS = [1, 2, 3, 8, 16]


def counts(path: Path, tokens: Sequence[int], threads: int) -> tuple[int, int, int]:
    """(barriers, chunks, bytes of weights) of a step that appends tokens and wants the last one's logits."""
    n = len(tokens)
    with sb.load(path) as model:
        engine = Engine(model.plan, n_batch=64, n_threads=threads, n_ctx=128)
        engine.step(tokens, ((Cache(model.plan, 128, "f16"), n, 0),), logits_of=[n - 1])
        return engine.n_barriers, engine.n_chunks, engine.weight_bytes


@pytest.mark.parametrize("arch", ["llama", "gemma3", "qwen2moe", "deepseek2"])
@pytest.mark.parametrize("n_tokens", [1, 3, 50])
def test_nothing_grows_with_the_number_of_threads(arch: str, n_tokens: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, types=["Q4_0", "Q8_0"])
    found = [counts(tmp_path / "m.gguf", range(n_tokens), threads) for threads in THREADS]
    assert len(set(found)) == 1


@pytest.mark.parametrize("threads", [1, 8])
def test_a_token_reads_every_weight_once(threads: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["F32"])
    matrices = [s for name, s in tensor_shapes("llama", LLAMA).items() if len(s) == 2 and name != "token_embd"]
    assert counts(tmp_path / "m.gguf", [0], threads)[2] == 4 * sum(rows * cols for rows, cols in matrices)


@pytest.mark.parametrize("n_tokens", [1, 50])
def test_a_layer_meets_at_few_barriers(n_tokens: int, tmp_path: Path) -> None:
    """After q k v, attention, its output, gate and up, down; of a prompt after the cache and four inputs too."""
    found = []
    for n_layer in (2, 3):
        write_model(tmp_path / "m.gguf", shape={**LLAMA, "n_layer": n_layer}, types=["Q4_0"])
        found.append(counts(tmp_path / "m.gguf", range(n_tokens), 4)[0])
    assert 0 < found[1] - found[0] <= (5 if n_tokens == 1 else 10)


def test_a_layer_of_gemma4_meets_at_five_barriers_more(tmp_path: Path) -> None:
    """For the norms behind its parts, and for its embeddings: gate, projection and norm."""
    found = []
    for n_layer in (3, 6):
        shape = {**GEMMA4, "n_layer": n_layer, "n_head_kv": 2, "n_ff": 96, "n_shared": 0}
        write_model(tmp_path / "m.gguf", "gemma4", shape, types=["Q4_0"])
        found.append(counts(tmp_path / "m.gguf", [3], 4)[0])
    assert found[1] - found[0] == 3 * (5 + 5)


# ---- routed experts ----


def barriers_of_a_layer(path: Path, arch: str, shape: Shape, tokens: Sequence[int]) -> int:
    found = []
    for n_layer in (1, 2):
        write_model(path, arch, {**shape, "n_layer": n_layer}, types=["Q4_0"])
        found.append(counts(path, tokens, 4)[0])
    return found[1] - found[0]


@pytest.mark.parametrize("arch", ["llama", "qwen2moe", "gpt-oss"])
def test_experts_of_a_token_meet_at_one_barrier_more_than_a_dense_layer(arch: str, tmp_path: Path) -> None:
    """The router's: whether or not there is a shared expert, and a gate of its own."""
    shape = {**SHAPES[arch], **MOE}
    dense = barriers_of_a_layer(tmp_path / "m.gguf", "llama", LLAMA, [3])
    assert barriers_of_a_layer(tmp_path / "m.gguf", arch, shape, [3]) == dense + 1


@pytest.mark.parametrize("n_used", [1, 3, 7])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("arch", ["qwen3moe", "qwen2moe"])
def test_a_token_reads_the_weights_of_its_experts_alone(arch: str, threads: int, n_used: int, tmp_path: Path) -> None:
    shape = {**SHAPES[arch], "n_used": n_used}
    write_model(tmp_path / "m.gguf", arch, shape, types=["F32"])
    sizes = {name: np.prod(dims) for name, dims in tensor_shapes(arch, shape).items() if len(dims) > 1}
    del sizes["token_embd"]
    read = 4 * sum(size * n_used // shape["n_expert"] if "_exps" in name else size for name, size in sizes.items())
    assert counts(tmp_path / "m.gguf", [3], threads)[2] == read


@pytest.mark.parametrize("n_tokens", [2, 3, 5, 9, 40])
@pytest.mark.parametrize("type", ["F32", "Q4_0"])
def test_tokens_that_share_an_expert_read_it_once(type: str, n_tokens: int, tmp_path: Path) -> None:
    """The same token again and again goes to the same experts in every layer, wherever it stands."""
    write_model(tmp_path / "m.gguf", "qwen2moe", types=[type])
    assert counts(tmp_path / "m.gguf", [3] * n_tokens, 2)[2] == counts(tmp_path / "m.gguf", [3], 2)[2]


def memory(path: Path) -> int:
    """Bytes beside the file that loading a model and steps of one, few and many tokens took."""

    def anonymous() -> int:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

    before = anonymous()
    with sb.load(path, threads=2) as model:
        engine = Engine(model.plan, n_batch=64, n_threads=2, n_ctx=128)
        for n in (1, 3, 64):
            engine.step(range(n), ((Cache(model.plan, 128, "f16"), n, 0),), logits_of=[n - 1])
        return anonymous() - before


def test_memory_beside_the_file_does_not_grow_with_the_number_of_experts(tmp_path: Path) -> None:
    few, many = 8, 4096
    found = []
    for n_expert in (few, many):
        shape = {**SHAPES["qwen3moe"], "n_layer": 1, "n_expert": n_expert, "n_used": 2, "n_ff_exp": 8}
        write_model(tmp_path / "m.gguf", "qwen3moe", shape)
        found.append(confined(partial(memory, tmp_path / "m.gguf")).value)
    weights = (many - few) * 3 * 8 * 64 * 4
    assert found[1] - found[0] < weights / 10
