"""Files of DeepSeek's attention: of any age, with one map for queries or two, of any sharpness; what they say of it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_logits import TOKENS, logits
from tiny_models import DEEPSEEK2, N_VOCAB, Shape, forward, frequencies, write_model, write_old_deepseek2

import subbyte as sb
from subbyte.kernels import Cache, Engine, best_isa
from subbyte.models import deepseek2

LITE: Shape = {**DEEPSEEK2, "q_rank": 0}

each_isa = pytest.mark.parametrize("isa", ["scalar", best_isa()])


@each_isa
def test_an_old_file_is_computed_as_a_new_one(isa: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = write_old_deepseek2(tmp_path / "old.gguf")
    with caplog.at_level(logging.INFO, "subbyte"):
        whole = logits(tmp_path / "old.gguf", TOKENS, isa=isa)
    assert "attn_kv_b: its maps to keys are transposed, in 0 MB of memory" in caplog.text
    assert np.abs(whole - forward("deepseek2", weights, TOKENS)).max() < 1e-4
    np.testing.assert_array_equal(logits(tmp_path / "old.gguf", TOKENS, [7, 1, 1, 41], isa=isa), whole)
    write_model(tmp_path / "new.gguf", "deepseek2")
    assert np.abs(logits(tmp_path / "new.gguf", TOKENS, isa=isa) - whole).max() < 1e-5


def test_old_and_new_files_keep_as_much_of_a_position(tmp_path: Path) -> None:
    write_old_deepseek2(tmp_path / "old.gguf")
    write_model(tmp_path / "new.gguf", "deepseek2")
    for name in ("old", "new"):
        with sb.load(tmp_path / f"{name}.gguf") as model:
            assert model.plan.cache_bytes(1, "f16") == 3 * 2 * (128 + 8)


@each_isa
def test_one_map_makes_the_queries_of_lite_models(isa: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "deepseek2", LITE)
    assert "blk.0.attn_q" in weights
    whole = logits(tmp_path / "m.gguf", TOKENS, isa=isa)
    assert np.abs(whole - forward("deepseek2", weights, TOKENS, LITE)).max() < 1e-4


def test_old_lite_files(tmp_path: Path) -> None:
    weights = write_old_deepseek2(tmp_path / "m.gguf", LITE)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS) - forward("deepseek2", weights, TOKENS, LITE)).max() < 1e-4


@pytest.mark.parametrize(
    ("keys", "magnitude", "scale"),
    [
        ({"yarn_log_multiplier": 0.1}, 1.0, 1.0),
        ({"yarn_log_multiplier": 0.0707}, 1.0, 0.707),
        ({"yarn_log_multiplier": 0.0}, None, 0.0),
        ({}, None, 0.0),
        ({"yarn_log_multiplier": 0.1, "type": "none"}, 1.0, 0.0),
    ],
    ids=str,
)
def test_yarn_sharpens_all_scores_as_a_file_says(
    keys: dict[str, Any], magnitude: float | None, scale: float, tmp_path: Path
) -> None:
    """Over an original context of a million positions it stretches nothing."""
    stretch = 0.1 * math.log(30)
    scaling = {"type": "yarn", "factor": 30.0, "original_context_length": 10**6, **keys}
    metadata = {f"rope.scaling.{key}": value for key, value in scaling.items()}
    weights = write_model(tmp_path / "m.gguf", "deepseek2", **metadata)
    rotary = frequencies(8), 1 + stretch if magnitude is None else magnitude
    expected = forward("deepseek2", weights, TOKENS, rotary=rotary, scale=(1 + scale * stretch) ** 2)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS) - expected).max() < 1e-4
    if scale:
        assert np.abs(expected - forward("deepseek2", weights, TOKENS)).max() > 1e-2


def gating(path: Path, **metadata: Any) -> str:
    """What a file's router takes probabilities for."""
    write_model(path, "deepseek2", **metadata)
    with sb.load(path) as model:
        return next(str(o.parameters["gating"]) for o in model.plan.operations if o.kind == "experts_up")


def test_what_a_router_does_that_a_file_says_nothing_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A softmax, but for the vocabulary of GLM-4.7-Flash."""
    path = tmp_path / "m.gguf"
    assert gating(path) == "sigmoid"
    assert gating(path, expert_gating_func=1) == gating(path, expert_gating_func=None) == "softmax"
    monkeypatch.setattr(deepseek2, "GLM_VOCABULARY", N_VOCAB)
    assert gating(path, expert_gating_func=None) == gating(path, expert_gating_func=0) == "sigmoid"


def test_a_dense_model(tmp_path: Path) -> None:
    without = ("n_expert", "n_used", "n_ff_exp", "n_ff_shexp", "n_dense")
    shape = {name: n for name, n in DEEPSEEK2.items() if name not in without}
    keys = dict.fromkeys(("expert_gating_func", "expert_group_count", "expert_group_used_count"))
    weights = write_model(tmp_path / "m.gguf", "deepseek2", shape, **keys)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS) - forward("deepseek2", weights, TOKENS, shape)).max() < 1e-4


def test_blocks_that_predict_further_tokens_are_passed_over(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", "deepseek2", block_count=4, nextn_predict_layers=1)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS) - forward("deepseek2", weights, TOKENS)).max() < 1e-4


def test_rewinding_equals_recomputing(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "deepseek2")
    branch = TOKENS[:20] + TOKENS[::-1]
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        session.eval(TOKENS)
        assert session.reuse(branch[:44]) == 20
        reused = session.eval(branch[20:44])
        session.rewind(0)
        np.testing.assert_array_equal(session.eval(branch[:44]), reused)


@each_isa
def test_sequences_in_one_step_do_not_know_of_each_other(isa: str, tmp_path: Path) -> None:
    """One token of each, whose keys its own task appends, and some of one among them."""
    write_model(tmp_path / "m.gguf", "deepseek2")
    whole = logits(tmp_path / "m.gguf", TOKENS, isa=isa, threads=1)
    with sb.load(tmp_path / "m.gguf", isa=isa) as model:
        engine = Engine(model.plan, n_batch=64, n_threads=3, n_ctx=64, isa=isa)
        caches, at = [Cache(model.plan, 64, "f32") for _ in range(3)], [0, 0, 0]
        for counts in ([20, 7, 1], [1, 1, 1], [1, 9, 1], [1, 1, 1]):
            pieces = [TOKENS[pos : pos + n] for pos, n in zip(at, counts, strict=True)]
            segments = [(cache, n, pos) for cache, n, pos in zip(caches, counts, at, strict=True)]
            at = [pos + n for pos, n in zip(at, counts, strict=True)]
            rows = np.cumsum(counts) - 1
            found = engine.step([token for piece in pieces for token in piece], segments, logits_of=rows)
            np.testing.assert_array_equal(found, whole[np.array(at) - 1])
