"""Kinds of rope: each against a formula written out here, in every architecture that reads it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import APART, N_VOCAB, PHI3, PHI3_MAGNITUDE, SHAPES, forward, write_model

import subbyte as sb
from subbyte.kernels import Cache, Engine

F64 = NDArray[np.float64]
TOKENS = [int(t) for t in np.random.default_rng(11).integers(0, N_VOCAB, 50)]
KIND, FACTOR, ORIGINAL = "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length"
ATTN_FACTOR, BASE = "rope.scaling.attn_factor", "rope.freq_base"


def interpolated(n_rot: int, base: float, factor: float) -> F64:
    return np.array([base ** (-2 * p / n_rot) / factor for p in range(n_rot // 2)])


def yarn(
    n_rot: int, base: float, factor: float, original: int, fast: float = 32, slow: float = 1, kept: float = 1
) -> F64:
    """Peng et al. (2023), section 3.2, with whole pairs as the ends of the ramp as all implementations have it."""

    def pair(turns: float) -> float:  # the pair p for which original * base^(-2p / n_rot) = 2 pi * turns
        return math.log(original / (2 * math.pi * turns), base) * n_rot / 2

    low, high = max(math.floor(pair(fast)), 0), min(math.ceil(pair(slow)), n_rot - 1)
    frequencies = []
    for p in range(n_rot // 2):
        slowed = 0.0 if p <= low else 1.0 if p >= high else (p - low) / (high - low)
        slowed = 1 - kept * (1 - slowed)
        frequencies.append(base ** (-2 * p / n_rot) * ((1 - slowed) + slowed / factor))
    return np.array(frequencies)


def logits(path: Path, n_ctx: int = len(TOKENS)) -> np.ndarray:
    with sb.load(path, threads=2) as model, model.session(n_ctx, "f32") as session:
        return session.eval(TOKENS, "all")


def check(path: Path, arch: str, rotary: tuple[F64, float], **metadata: Any) -> None:
    """Logits equal those of the formula, and are not those of a rope that was left as it is."""
    weights = write_model(path, arch, **metadata)
    ours = logits(path)
    assert np.abs(ours - forward(arch, weights, TOKENS, rotary=rotary)).max() < 1e-4
    assert np.abs(ours - forward(arch, weights, TOKENS)).max() > 1e-2


@pytest.mark.parametrize("arch", [a for a in APART if a not in ("phi3", "nemotron_h")])
@pytest.mark.parametrize(("factor", "original"), [(4.0, 512), (8.0, 40), (1.5, 100_000)])
@pytest.mark.thorough
def test_yarn(arch: str, factor: float, original: int, tmp_path: Path) -> None:
    n_rot = SHAPES[arch].get("n_rot", SHAPES[arch]["head_dim"])
    rotary = yarn(n_rot, 500.0, factor, original), 1 + 0.1 * math.log(factor)
    keys = {KIND: "yarn", FACTOR: factor, ORIGINAL: original, BASE: 500.0}
    check(tmp_path / "m.gguf", arch, rotary, **keys)


SHARPER = 1 + 0.1 * math.log(8)


@pytest.mark.parametrize(
    ("keys", "ramp", "magnitude"),
    [
        ({"yarn_beta_fast": 4.0}, {"fast": 4}, SHARPER),
        ({"yarn_beta_slow": 6.5}, {"slow": 6.5}, SHARPER),
        ({"yarn_beta_fast": 20.0, "yarn_beta_slow": 3.0}, {"fast": 20, "slow": 3}, SHARPER),
        ({"yarn_ext_factor": 0.5}, {"kept": 0.5}, SHARPER),
        ({"yarn_ext_factor": 0.0}, {"kept": 0}, 1.0),
        ({"yarn_ext_factor": -1.0}, {}, SHARPER),
        ({"yarn_attn_factor": 0.7}, {}, 0.7),
        ({"yarn_attn_factor": 0.7, "attn_factor": 1.25}, {}, 0.7 * 1.25),
        ({"yarn_attn_factor": 0.7, "yarn_ext_factor": 0.0}, {"kept": 0}, 0.7),
    ],
    ids=str,
)
def test_what_a_file_says_of_yarn(
    keys: dict[str, float], ramp: dict[str, float], magnitude: float, tmp_path: Path
) -> None:
    rotary = yarn(16, 500.0, 8.0, 2000, **ramp), magnitude
    scaling = {f"rope.scaling.{key}": value for key, value in keys.items()}
    check(tmp_path / "m.gguf", "llama", rotary, **{KIND: "yarn", FACTOR: 8.0, ORIGINAL: 2000, BASE: 500.0, **scaling})


@pytest.mark.parametrize(
    ("key", "value"),
    [("yarn_beta_fast", 0.0), ("yarn_beta_slow", -1.0), ("yarn_ext_factor", 2.0), ("yarn_attn_factor", 0.0)],
)
def test_what_makes_no_yarn_is_refused(key: str, value: float, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", **{KIND: "yarn", FACTOR: 8.0, f"rope.scaling.{key}": value})
    with pytest.raises(sb.FormatError, match=key):
        sb.load(tmp_path / "m.gguf")


def test_the_mixture_of_yarn_belongs_to_yarn(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", **{KIND: "linear", FACTOR: 8.0, "rope.scaling.yarn_ext_factor": 1.0})
    with pytest.raises(sb.UnsupportedError, match="yarn_ext_factor = 1 with"):
        sb.load(tmp_path / "m.gguf")


def test_yarn_of_qwen() -> None:
    """What Qwen2.5 and Qwen3 advise beyond 32768 tokens: of 64 pairs, 24 stay, 24 are slowed down fourfold."""
    from subbyte.models._rope import Rope

    rope = Rope(n_rot=128, freq_base=1e6, kind="yarn", factor=4.0, n_ctx_orig=32768)
    slowed = 1e6 ** (-np.arange(0, 128, 2) / 128) / rope.angles().short
    assert np.abs(slowed[:24] - 1).max() < 1e-12 and np.abs(slowed[40:] - 4).max() < 1e-12
    assert (np.diff(slowed[23:41]) > 0).all()
    assert rope.magnitude == pytest.approx(1.138629436111989)


def test_the_original_context_is_by_default_the_one_trained_for(tmp_path: Path) -> None:
    rotary = yarn(16, 500.0, 4.0, 300), 1 + 0.1 * math.log(4)
    check(tmp_path / "m.gguf", "llama", rotary, **{KIND: "yarn", FACTOR: 4.0, "context_length": 300, BASE: 500.0})


def test_yarn_without_stretching_changes_nothing(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", **{KIND: "yarn", FACTOR: 1.0, ORIGINAL: 64})
    assert np.abs(logits(tmp_path / "m.gguf") - forward("llama", weights, TOKENS)).max() < 1e-4


@pytest.mark.parametrize("keys", [{KIND: "linear", FACTOR: 4.0}, {FACTOR: 4.0}, {"rope.scale_linear": 4.0}], ids=str)
def test_linear(keys: dict[str, Any], tmp_path: Path) -> None:
    check(tmp_path / "m.gguf", "llama", (interpolated(16, 10000.0, 4.0), 1.0), **keys)


def test_none_ignores_the_factor(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", **{KIND: "none", FACTOR: 4.0})
    assert np.abs(logits(tmp_path / "m.gguf") - forward("llama", weights, TOKENS)).max() < 1e-4


@pytest.mark.parametrize("kind", ["none", "linear", "yarn"])
def test_attn_factor_multiplies_any_kind(kind: str, tmp_path: Path) -> None:
    plain = interpolated(16, 10000.0, 1.0)
    check(tmp_path / "m.gguf", "qwen2", (plain, 1.25), **{KIND: kind, ATTN_FACTOR: 1.25})


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_rope_freqs_divide_what_the_kind_gives(kind: str, tmp_path: Path) -> None:
    factors = np.linspace(1, 9, 8, dtype=np.float32)
    scaled = interpolated(16, 500.0, 4.0) if kind == "linear" else yarn(16, 500.0, 4.0, 512)
    magnitude = 1.0 if kind == "linear" else 1 + 0.1 * math.log(4)
    keys = {KIND: kind, FACTOR: 4.0, BASE: 500.0, "tensors": {"rope_freqs.weight": factors}}
    check(tmp_path / "m.gguf", "exaone", (scaled / factors, magnitude), **keys)


# ---- longrope ----


@pytest.mark.parametrize(("n_ctx", "name"), [(50, "short"), (64, "short"), (65, "long"), (4096, "long")])
def test_the_factors_are_those_of_the_context(n_ctx: int, name: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "phi3", **{ORIGINAL: 64})
    rotary = interpolated(PHI3["n_rot"], 10000.0, 1.0) / weights[f"rope_factors_{name}"], PHI3_MAGNITUDE
    expected = forward("phi3", weights, TOKENS, rotary=rotary)
    assert np.abs(logits(tmp_path / "m.gguf", n_ctx) - expected).max() < 1e-4


def test_sessions_of_different_contexts_in_one_step(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "phi3", **{ORIGINAL: 64})
    alone = logits(tmp_path / "m.gguf", 64), logits(tmp_path / "m.gguf", 128)
    with sb.load(tmp_path / "m.gguf") as model:
        engine = Engine(model.plan, n_batch=128, n_threads=2, n_ctx=128)
        short, long = Cache(model.plan, 64, "f32"), Cache(model.plan, 128, "f32")
        for first, second in ((short, long), (long, short)):
            whole = engine.step([*TOKENS, *TOKENS], ((first, 50, 0), (second, 50, 0)), logits_of=range(100))
            assert whole is not None
            rows = {first: whole[:50], second: whole[50:]}
            np.testing.assert_array_equal(rows[short], alone[0])
            np.testing.assert_array_equal(rows[long], alone[1])
    assert np.abs(alone[0] - alone[1]).max() > 1e-2


def test_longrope_by_name_in_another_architecture(tmp_path: Path) -> None:
    factors = np.linspace(1, 9, 8, dtype=np.float32)
    tensors = {"rope_factors_short.weight": np.ones(8, np.float32), "rope_factors_long.weight": factors}
    rotary = interpolated(16, 10000.0, 1.0) / factors, 1.0
    check(tmp_path / "m.gguf", "llama", rotary, **{KIND: "longrope", ORIGINAL: 32, "tensors": tensors})


def test_phi3_without_factors_is_plain_rope(tmp_path: Path) -> None:
    tensors = {f"rope_factors_{name}.weight": None for name in ("short", "long")}
    weights = write_model(tmp_path / "m.gguf", "phi3", tensors=tensors)
    rotary = interpolated(PHI3["n_rot"], 10000.0, 1.0), PHI3_MAGNITUDE
    expected = forward("phi3", weights, TOKENS, rotary=rotary)
    assert np.abs(logits(tmp_path / "m.gguf") - expected).max() < 1e-4


def test_angles_stay_exact_at_large_positions(tmp_path: Path) -> None:
    """With a window of 2 in each of 7 layers, row 8 and later ones do not depend on where the text begins."""
    keys = {"attention.sliding_window": 2, "attention.sliding_window_pattern": 100}
    write_model(tmp_path / "m.gguf", "gemma3", **keys)
    n_ctx = 2**20
    with sb.load(tmp_path / "m.gguf") as model:
        engine = Engine(model.plan, n_batch=64, n_threads=2, n_ctx=n_ctx)
        cache = Cache(model.plan, n_ctx, "f32")
        start = engine.step(TOKENS, ((cache, 50, 0),), logits_of=range(8, 50))
        far = engine.step(TOKENS, ((cache, 50, n_ctx - 50),), logits_of=range(8, 50))
    assert start is not None and far is not None and np.abs(far - start).max() < 1e-4
