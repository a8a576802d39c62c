"""What Gemma 4's layers share and leave out: keys and values, embeddings for layers, experts beside a dense network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_logits import TOKENS, logits
from tiny_models import F32, GEMMA4, GEMMA4_EXPERTS, N_VOCAB, Shape, forward, write_model

import subbyte as sb

PROPORTIONAL = np.float32([1] * 4 + [1e30] * 12)  # of 16 pairs the first quarter turns


def difference(path: Path, weights: dict[str, F32], shape: Shape = GEMMA4) -> float:
    """Of the logits from numpy's, at once and in pieces."""
    expected = forward("gemma4", weights, TOKENS, shape)
    pieces = (None, [1] * len(TOKENS), [7, 1, 30, 1, len(TOKENS) - 39])
    return float(max(np.abs(logits(path, TOKENS, steps) - expected).max() for steps in pieces))


def written(path: Path, tensors: dict[str, Any], **changes: Any) -> np.ndarray:
    """Logits of the tiny model with these tensors and keys."""
    write_model(path, "gemma4", tensors=tensors, **changes)
    return logits(path, TOKENS)


def test_pairs_whose_frequency_is_divided_by_1e30_do_not_turn(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "gemma4", tensors={"rope_freqs.weight": PROPORTIONAL})
    turned = forward("gemma4", weights, TOKENS)
    weights["rope_freqs"] = PROPORTIONAL
    assert difference(tmp_path / "m.gguf", weights) < 1e-4
    assert np.abs(turned - forward("gemma4", weights, TOKENS)).max() > 1e-2


def test_layers_without_keys_of_their_own_keep_nothing_in_the_cache(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "gemma4")
    with sb.load(tmp_path / "m.gguf") as model:
        own = 2 * (2 * 16) + 1 * 32  # two local layers, and a global one
        assert [model.plan.cache_bytes(5, t) for t in ("f32", "f16")] == [5 * 2 * own * 4, 5 * 2 * own * 2]


def test_tensors_for_keys_that_a_layer_does_not_use_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shapes = {
        "blk.4.attn_k.weight": (32, 64), "blk.4.attn_v.weight": (32, 64), "blk.4.attn_k_norm.weight": (16,),
        "blk.5.attn_k.weight": (32, 64),
    }  # fmt: skip
    unused = {name: rng.standard_normal(dims).astype(np.float32) for name, dims in shapes.items()}
    np.testing.assert_array_equal(written(tmp_path / "a.gguf", unused), written(tmp_path / "b.gguf", {}))


def test_a_fused_projection_is_that_of_its_parts(tmp_path: Path) -> None:
    w = write_model(tmp_path / "m.gguf", "gemma4")
    fused: dict[str, Any] = {}
    for layer in (0, 4):  # of the other one only the queries matter
        own = [w.get(f"blk.{layer}.attn_{part}", np.ones((32, 64), np.float32)) for part in "qkv"]
        fused |= {f"blk.{layer}.attn_{part}.weight": None for part in "qkv"}
        fused[f"blk.{layer}.attn_qkv.weight"] = np.concatenate(own)
    np.testing.assert_array_equal(written(tmp_path / "fused.gguf", fused), logits(tmp_path / "m.gguf", TOKENS))


def test_embeddings_for_layers_are_read_by_the_row(tmp_path: Path) -> None:
    """What other tokens have is not looked at."""
    w = write_model(tmp_path / "m.gguf", "gemma4")
    others = [token for token in range(N_VOCAB) if token not in TOKENS]
    damaged = w["per_layer_token_embd"].copy()
    damaged[others] = np.nan
    tensors = {"per_layer_token_embd.weight": damaged}
    np.testing.assert_array_equal(written(tmp_path / "damaged.gguf", tensors), logits(tmp_path / "m.gguf", TOKENS))
    with sb.load(tmp_path / "damaged.gguf") as model, model.session(8) as session, pytest.raises(sb.NumericError):
        session.eval([others[0]])


def test_a_layer_whose_output_is_not_scaled(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "gemma4", tensors={"blk.2.layer_output_scale.weight": None})
    weights["blk.2.layer_output_scale"] = np.float32([1])
    assert difference(tmp_path / "m.gguf", weights) < 1e-4


def test_logits_are_capped_at_30_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    key = "final_logit_softcapping"
    absent, at_30, none = (written(tmp_path / "m.gguf", {}, **{key: cap}) for cap in (None, 30.0, 0.0))
    np.testing.assert_array_equal(absent, at_30)
    assert absent == pytest.approx(30 * np.tanh(none / 30), abs=1e-5) and np.abs(absent - none).max() > 1e-3


# ---- experts beside a dense network ----


def test_experts_beside_a_dense_network(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "gemma4", GEMMA4_EXPERTS)
    assert difference(tmp_path / "m.gguf", weights, GEMMA4_EXPERTS) < 1e-4
    expected = forward("gemma4", weights, TOKENS, GEMMA4_EXPERTS)
    for name in ("ffn_gate_inp.scale", "ffn_down_exps.scale", "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
        n = weights[f"blk.1.{name}"].size
        changed = weights | {f"blk.1.{name}": np.linspace(0.5, 2, n, dtype=np.float32)}
        assert np.abs(forward("gemma4", changed, TOKENS, GEMMA4_EXPERTS) - expected).max() > 1e-3, name


def test_gate_and_up_of_experts_in_one_tensor(tmp_path: Path) -> None:
    w = write_model(tmp_path / "m.gguf", "gemma4", GEMMA4_EXPERTS)
    tensors: dict[str, Any] = {}
    for i in range(3):
        parts = [w[f"blk.{i}.ffn_{part}_exps"] for part in ("gate", "up")]
        tensors[f"blk.{i}.ffn_gate_up_exps.weight"] = np.concatenate(parts, axis=1)
        tensors |= {f"blk.{i}.ffn_{part}_exps.weight": None for part in ("gate", "up")}
    fused = written(tmp_path / "fused.gguf", tensors, shape=GEMMA4_EXPERTS)
    np.testing.assert_array_equal(fused, logits(tmp_path / "m.gguf", TOKENS))
