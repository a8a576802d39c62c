"""Models whose layers differ: deci's sizes and missing parts, the windows of EXAONE 4 and Gemma 3."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_logits import TOKENS, logits
from tiny_models import DECI, EXAONE4, F32, LLAMA, Shape, forward, layer_shape, write_model

import subbyte as sb
from subbyte.kernels import Operation
from subbyte.runtime.bench.cost import Cost, generation_cost

# n_head, n_head_kv, n_ff of a layer
KINDS = {
    "attention": (4, 2, 96), "no attention": (0, 0, 96), "linear attention": (4, 0, 96), "attention only": (4, 4, 0),
    "linear attention only": (8, 0, 0), "nothing": (0, 0, 0),
}  # fmt: skip


def layers(*kinds: str) -> Shape:
    sizes = zip(*(KINDS[kind] for kind in kinds), strict=True)
    lists = dict(zip(("n_head", "n_head_kv", "n_ff"), map(list, sizes), strict=True))
    return {"n_layer": len(kinds), "n_embd": 64, "head_dim": 16, **lists}


def difference(path: Path, arch: str, weights: dict[str, F32], shape: Shape) -> float:
    """Of the logits from numpy's, at once and one by one."""
    expected = forward(arch, weights, TOKENS, shape)
    return float(max(np.abs(logits(path, TOKENS, steps) - expected).max() for steps in (None, [1] * len(TOKENS))))


def attentions(model: sb.Model) -> list[Operation]:
    return [operation for operation in model.plan.operations if operation.kind == "attention"]


def windows(path: Path) -> list[int]:
    with sb.load(path) as model:
        return [of.parameters["window"] for of in attentions(model)]


# ---- deci ----


def test_the_tiny_deci_has_every_kind_of_layer() -> None:
    of = [layer_shape(DECI, i) for i in range(DECI["n_layer"])]
    kinds = {(s["n_head"] > 0, s["n_head_kv"] > 0, s["n_ff"] > 0) for s in of}
    assert kinds == {(h > 0, kv > 0, ff > 0) for h, kv, ff in KINDS.values()}
    assert len({s["n_ff"] for s in of}) > 4 and len({s["n_head"] // max(s["n_head_kv"], 1) for s in of}) > 4


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("last", KINDS)
@pytest.mark.thorough
def test_any_kind_of_layer_may_come_first_and_last(first: str, last: str, tmp_path: Path) -> None:
    shape = layers(first, "attention", last)
    weights = write_model(tmp_path / "m.gguf", "deci", shape)
    assert difference(tmp_path / "m.gguf", "deci", weights, shape) < 1e-4


def test_deci_whose_layers_are_alike_is_a_llama(tmp_path: Path) -> None:
    write_model(tmp_path / "deci.gguf", "deci", LLAMA)
    write_model(tmp_path / "llama.gguf", "llama", LLAMA)
    assert np.array_equal(logits(tmp_path / "deci.gguf", TOKENS), logits(tmp_path / "llama.gguf", TOKENS))


def test_biases_of_deci(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = {f"{p}.bias": 64 for p in ("attn_output", "ffn_down")} | {"ffn_gate.bias": 96, "ffn_up.bias": 96}
    biases = {
        f"blk.{i}.{name}": rng.standard_normal(n).astype(np.float32) for i in range(2) for name, n in names.items()
    }
    shape = layers("attention", "linear attention")
    weights = write_model(tmp_path / "m.gguf", "deci", shape, tensors=biases)
    assert difference(tmp_path / "m.gguf", "deci", weights | biases, shape) < 1e-4
    assert difference(tmp_path / "m.gguf", "deci", weights, shape) > 0.1


def test_fused_projections_of_layers_that_differ(tmp_path: Path) -> None:
    path, weights = tmp_path / "m.gguf", write_model(tmp_path / "m.gguf", "deci")
    split = logits(path, TOKENS)
    fused: dict[str, Any] = {}
    for i in (i for i, n in enumerate(DECI["n_head_kv"]) if n):
        parts = [f"blk.{i}.attn_{p}" for p in "qkv"]
        fused |= {f"{part}.weight": None for part in parts}
        fused[f"blk.{i}.attn_qkv.weight"] = np.concatenate([weights[part] for part in parts])
    write_model(path, "deci", tensors=fused)
    assert np.array_equal(logits(path, TOKENS), split)


def test_quantized_layers_that_differ(tmp_path: Path) -> None:
    path, weights = tmp_path / "m.gguf", write_model(tmp_path / "m.gguf", "deci", types=["Q4_0", "Q8_0", "F16", "BF16"])
    expected = forward("deci", weights, TOKENS)
    for steps, threads in itertools.product((None, [1] * 50, [3, 7, 40]), (1, 3)):
        ours = logits(path, TOKENS, steps, activations="float32", threads=threads)
        assert np.abs(ours - expected).max() < 1e-4
    assert np.array_equal(logits(path, TOKENS, threads=1), logits(path, TOKENS, threads=3))


def test_only_layers_with_kv_heads_have_a_cache(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "deci")
    rows = 2 * sum(DECI["n_head_kv"])  # keys and values of a position
    with sb.load(tmp_path / "m.gguf") as model:
        shapes = [(of.parameters["n_head_kv"], of.parameters["head_dim"]) for of in attentions(model)]
        assert shapes == [(n, 16) for n in DECI["n_head_kv"] if n]
        assert [model.plan.cache_bytes(5, t) for t in ("f32", "f16")] == [5 * rows * 16 * 4, 5 * rows * 16 * 2]


def test_bench_counts_the_work_of_each_layer(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "deci", layers("nothing", "linear attention only", "attention"), types=["Q8_0"])
    with sb.load(tmp_path / "m.gguf") as model:
        work = generation_cost(model, 1, 9, "f16", "int8")
    weights = 64 * (64 + (2 * 64 + 2 * 32) + 3 * 96 + 268)
    assert work == Cost(weights * 34 // 32 + 10 * 2 * 32 * 2, weights, 10 * 2 * 4 * 16, 0)


def test_heads_are_as_long_as_the_first_layer_has_it_unless_told(tmp_path: Path) -> None:
    absent = {"attention.key_length": None, "attention.value_length": None}
    shape = layers("attention", "attention only", "linear attention only")
    weights = write_model(tmp_path / "m.gguf", "deci", shape, **absent)
    assert difference(tmp_path / "m.gguf", "deci", weights, shape) < 1e-4


# ---- windows ----


@pytest.mark.thorough
def test_exaone4_of_64_layers_has_windows_even_if_the_file_does_not_say(tmp_path: Path) -> None:
    shape = {**EXAONE4, "n_layer": 64, "window": 4096}
    weights = write_model(tmp_path / "m.gguf", "exaone4", shape, **{"attention.sliding_window": None})
    assert windows(tmp_path / "m.gguf") == [4096, 4096, 4096, 0] * 16
    assert difference(tmp_path / "m.gguf", "exaone4", weights, shape) < 1e-4


def test_exaone4_without_a_window_has_rope_in_every_layer(tmp_path: Path) -> None:
    shape = {name: n for name, n in EXAONE4.items() if name != "window"}
    weights = write_model(tmp_path / "m.gguf", "exaone4", shape, tensors={"output.weight": None})
    del weights["output"]
    assert windows(tmp_path / "m.gguf") == [0] * 5
    assert difference(tmp_path / "m.gguf", "exaone4", weights, shape) < 1e-4


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(4, [8, 8, 8, 0, 8]), (2, [8, 0, 8, 0, 8]), (1, [0] * 5), (9, [8] * 5),
     ([True, True, True, False, True], [8, 8, 8, 0, 8]), ([False, True, False, False, True], [0, 8, 0, 0, 8])],
)  # fmt: skip
@pytest.mark.parametrize("arch", ["exaone4", "gemma3"])
def test_a_window_pattern_is_a_period_or_one_bool_a_layer(
    arch: str, pattern: Any, expected: list[int], tmp_path: Path
) -> None:
    write_model(tmp_path / "m.gguf", arch, EXAONE4, **{"attention.sliding_window_pattern": pattern})
    assert windows(tmp_path / "m.gguf") == expected


def test_a_period_and_the_bools_that_it_stands_for_are_the_same_model(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "exaone4")
    bools = {"attention.sliding_window_pattern": [True, True, True, False, True]}
    write_model(tmp_path / "bools.gguf", "exaone4", **bools)
    assert np.array_equal(logits(tmp_path / "m.gguf", TOKENS), logits(tmp_path / "bools.gguf", TOKENS))


# ---- layers without rope ----


def ropes(path: Path) -> list[bool]:
    with sb.load(path) as model:
        return [of.parameters["rope"] >= 0 for of in attentions(model)]


def test_every_fourth_layer_of_smollm3_has_no_rope(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "smollm3")
    assert ropes(tmp_path / "m.gguf") == [True, True, True, False, True]


@pytest.mark.parametrize("finetuned", [True, False])
def test_granite_whose_rope_was_not_trained_has_none(finetuned: bool, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "granite", **{"rope.scaling.finetuned": finetuned})
    assert ropes(tmp_path / "m.gguf") == [finetuned] * 2
