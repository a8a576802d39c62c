"""Models with recurrent layers: what the order of heads, the past and other tensors of such a layer change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_logits import TOKENS, logits
from recurrent_oracle import MAMBAS
from tiny_models import SHAPES, forward, write_model

import subbyte as sb
from subbyte.errors import NumericError
from subbyte.kernels import Cache, Engine
from subbyte.runtime.bench.cost import generation_cost, weight_bytes

RUNNABLE = ("qwen35", "lfm2", "nemotron_h", "falcon-h1")  # one of each kind


def test_value_heads_take_the_key_heads_of_their_architecture(tmp_path: Path) -> None:
    """Tiled in qwen35, grouped in qwen3next: ours are the logits of the right order, and the other gives others."""
    for arch, other in (("qwen35moe", "qwen3next"), ("qwen3next", "qwen35moe")):
        weights = write_model(tmp_path / "m.gguf", arch)
        ours = logits(tmp_path / "m.gguf", TOKENS)
        assert np.abs(ours - forward(arch, weights, TOKENS)).max() < 1e-4
        renamed = dict(weights)  # for the other architecture
        heads, groups = SHAPES[arch]["ssm_heads"], SHAPES[arch]["ssm_groups"]
        for i in range(SHAPES[arch]["n_layer"]):
            b = f"blk.{i}."
            if arch == "qwen3next" and f"{b}ssm_ba" in weights:
                both = weights[f"{b}ssm_ba"].reshape(groups, 2, heads // groups, -1)
                renamed[f"{b}ssm_beta"], renamed[f"{b}ssm_alpha"] = (
                    both[:, part].reshape(heads, -1) for part in range(2)
                )
            elif f"{b}ssm_beta" in weights:
                both = np.stack(
                    [weights[f"{b}ssm_{g}"].reshape(groups, heads // groups, -1) for g in ("beta", "alpha")]
                )
                renamed[f"{b}ssm_ba"] = both.transpose(1, 0, 2, 3).reshape(2 * heads, -1)
        assert np.abs(ours - forward(other, renamed, TOKENS)).max() > 1e-2


@pytest.mark.parametrize("arch", RUNNABLE)
def test_any_number_of_threads_gives_the_same_bits(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    one = logits(tmp_path / "m.gguf", TOKENS, threads=1)
    for threads in (2, 3, 8):  # more than some layers have heads
        np.testing.assert_array_equal(logits(tmp_path / "m.gguf", TOKENS, [30, 20], threads=threads), one)


@pytest.mark.parametrize("arch", RUNNABLE)
def test_a_sequence_begins_anew_at_position_0(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        first = session.eval(TOKENS, "all")
        session.rewind(0)
        np.testing.assert_array_equal(session.eval(TOKENS, "all"), first)


@pytest.mark.parametrize("arch", RUNNABLE)
def test_a_state_stands_where_the_last_step_ended(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        engine = Engine(model.plan, n_batch=16, n_threads=2, n_ctx=32)
        cache, other = Cache(model.plan, 32, "f32"), Cache(model.plan, 32, "f32")
        engine.step(TOKENS[:8], ((cache, 8, 0),))
        kept = cache.copy_state()
        expected = engine.step(TOKENS[8:10], ((cache, 2, 8),), logits_of=[1])
        for pos in (7, 8, 9, 11):
            with pytest.raises(ValueError, match="for a recurrent state of 10 tokens"):
                engine.step([1], ((cache, 1, pos),))
        cache.set_state(kept, 8)
        np.testing.assert_array_equal(engine.step(TOKENS[8:10], ((cache, 2, 8),), logits_of=[1]), expected)
        engine.step(TOKENS[:8], ((other, 8, 0),))
        np.testing.assert_array_equal(other.copy_state(), kept)


def test_segments_of_different_lengths_share_a_step(tmp_path: Path) -> None:
    """Also where one goes on and another begins."""
    write_model(tmp_path / "m.gguf", "qwen35")
    alone = logits(tmp_path / "m.gguf", TOKENS[:20])
    with sb.load(tmp_path / "m.gguf") as model:
        engine = Engine(model.plan, n_batch=64, n_threads=3, n_ctx=32)
        a, b, c = (Cache(model.plan, 32, "f32") for _ in range(3))
        engine.step(TOKENS[:5], ((a, 5, 0),))
        step = engine.step(
            [*TOKENS[5:20], *TOKENS[:1], *TOKENS[:20]], ((a, 15, 5), (b, 1, 0), (c, 20, 0)), logits_of=range(36)
        )
    np.testing.assert_array_equal(step, np.concatenate([alone[5:], alone[:1], alone]))


def test_layers_are_recurrent_by_an_interval_where_no_array_says_which(tmp_path: Path) -> None:
    shape = {**SHAPES["qwen35"], "recurrent": [1, 1, 0, 1]}
    write_model(tmp_path / "array.gguf", "qwen35", shape, full_attention_interval=2)  # the array wins
    other = {"attention.recurrent_layers": None, "full_attention_interval": 3}
    write_model(tmp_path / "interval.gguf", "qwen35", shape, **other)
    np.testing.assert_array_equal(logits(tmp_path / "array.gguf", TOKENS), logits(tmp_path / "interval.gguf", TOKENS))


@pytest.mark.parametrize("arch", MAMBAS)
def test_mamba_without_a_norm_or_a_bias_of_its_convolution(arch: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch)
    dropped = [name for name in weights if name.endswith(("ssm_conv1d.bias", "ssm_norm"))]
    left_out = {name if name.endswith(".bias") else f"{name}.weight": None for name in dropped}
    kept = {name: values for name, values in weights.items() if name not in dropped}
    write_model(tmp_path / "m.gguf", arch, tensors=left_out)
    ours = logits(tmp_path / "m.gguf", TOKENS)
    assert np.abs(ours - forward(arch, kept, TOKENS)).max() < 1e-4
    assert np.abs(ours - forward(arch, weights, TOKENS)).max() > 1e-3


def test_the_other_epsilon_counts_where_the_first_is_missing(tmp_path: Path) -> None:
    eps = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
    write_model(tmp_path / "m.gguf", "nemotron_h")
    write_model(tmp_path / "other.gguf", "nemotron_h", **eps)
    np.testing.assert_array_equal(logits(tmp_path / "m.gguf", TOKENS), logits(tmp_path / "other.gguf", TOKENS))


def test_attention_of_lfm2_may_have_a_window(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "lfm2")
    write_model(tmp_path / "window.gguf", "lfm2", **{"attention.sliding_window": 8})
    plain, narrow = logits(tmp_path / "m.gguf", TOKENS), logits(tmp_path / "window.gguf", TOKENS)
    np.testing.assert_array_equal(plain[:8], narrow[:8])
    assert np.abs(plain[8:] - narrow[8:]).max() > 1e-3


DAMAGED: dict[str, list[str]] = {
    "qwen35": ["attn_qkv.weight", "attn_gate.weight", "ssm_beta.weight", "ssm_alpha.weight", "ssm_dt.bias", "ssm_a",
               "ssm_conv1d.weight", "ssm_norm.weight", "ssm_out.weight"],
    "lfm2": ["shortconv.in_proj.weight", "shortconv.conv.weight", "shortconv.out_proj.weight"],
    "nemotron_h": ["ssm_in.weight", "ssm_dt.bias", "ssm_a", "ssm_d", "ssm_conv1d.weight", "ssm_conv1d.bias",
                   "ssm_norm.weight"],
}  # fmt: skip


@pytest.mark.parametrize(("arch", "name"), [(arch, name) for arch, names in DAMAGED.items() for name in names])
def test_numbers_that_are_not_finite_are_an_error_and_leave_no_trace(arch: str, name: str, tmp_path: Path) -> None:
    full = f"blk.0.{name}"
    damaged = write_model(tmp_path / "m.gguf", arch)[full.removesuffix(".weight")].copy()
    damaged[-1] = np.nan
    write_model(tmp_path / "m.gguf", arch, tensors={full: damaged})
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        for tokens in ([3], TOKENS):
            with pytest.raises(NumericError):
                session.eval(tokens, "all")


@pytest.mark.parametrize("arch", ["qwen35", "lfm2", "granitehybrid"])
def test_quantizing_leaves_convolutions_decays_and_norms_as_they_are(arch: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch)
    sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0")
    with sb.load(tmp_path / "q.gguf") as model:
        types = {name.removesuffix(".weight"): tensor.type for name, tensor in model.gguf.tensors.items()}
    small = ("ssm_a", "ssm_d", "ssm_conv1d", "ssm_norm", "shortconv.conv", ".bias")
    kept = {name: "F32" for name in weights if name.endswith(small)}
    assert kept and {name: types[name] for name in kept} == kept
    assert "Q8_0" in types.values()


@pytest.mark.parametrize("arch", RUNNABLE)
def test_a_state_counts_as_bytes_read_and_written(arch: str, tmp_path: Path) -> None:
    """As much at every depth, and in one step as much for many tokens as for one."""
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        states = [of.cost(1, 0).state for of in model.plan.operations]
        assert sum(states) > 0 and states == [of.cost(50, 400).state for of in model.plan.operations]
        assert 4 * sum(states) <= model.plan.state_bytes
        assert weight_bytes(model) + 8 * sum(states) < generation_cost(model, 1, 0, "f16", "int8").n_bytes
        engine = Engine(model.plan, n_batch=1, n_threads=1, n_ctx=8)
        engine.step([1], ((Cache(model.plan, 8, "f16"), 1, 0),), logits_of=[0])
        assert weight_bytes(model) == engine.weight_bytes
