"""Blame against brute force: files written with some tensors of the one and the rest of the other, compared whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import quantize
from tiny_models import LLAMA, SHAPES, name_in_file, write_model

import subbyte as sb
from subbyte.runtime.compare import base_hidden
from subbyte.runtime.compare.groups import part_of
from subbyte.runtime.evaluation import forward as forward_module
from subbyte.runtime.evaluation.forward import self_contained
from subbyte.runtime.session import runner

pytestmark = pytest.mark.thorough

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 2000).tolist())
SHAPE = {**LLAMA, "n_layer": 3}
N_CTX, CHUNKS = 48, 3
QUANTIZED = ("attn_v", "ffn_down", "token_embd", "output")
Tensors = dict[str, Any]


def kind_of(name: str) -> str:
    return name.split(".")[-2]


def quantized(weights: dict[str, np.ndarray]) -> Tensors:
    """Some kinds as Q4_0 or Q8_0, and the head's norm a little off."""
    found: Tensors = {name_in_file(name): value for name, value in weights.items()}
    for name, value in found.items():
        if kind_of(name) in QUANTIZED:
            type = "Q8_0" if name.startswith("blk.1.") else "Q4_0"
            found[name] = (quantize(value, gguf.GGMLQuantizationType[type]), type)
    found["output_norm.weight"] = found["output_norm.weight"] * np.float32(1.01)
    return found


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma3", "gemma4", "deci", "qwen35"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A base and a model, what they are made of, and a way to write files that mix them."""
    folder, arch = tmp_path_factory.mktemp("blame"), request.param
    shape = SHAPE if arch in ("llama", "qwen2") else None
    weights = write_model(folder / "base.gguf", arch, shape, seed=1)
    ours = {name: value for name, value in weights.items() if not name.endswith(".bias")}
    theirs = quantized(ours)
    write_model(folder / "q.gguf", arch, shape, seed=1, tensors=theirs)

    def mixed(names: list[str]) -> Path:
        write_model(folder / "mixed.gguf", arch, shape, seed=1, tensors={name: theirs[name] for name in names})
        return folder / "mixed.gguf"

    with sb.load(folder / "base.gguf") as base, sb.load(folder / "q.gguf") as model:
        yield {"base": base, "model": model, "mixed": mixed, "changed": [
            name for name in theirs if kind_of(name) in (*QUANTIZED, "output_norm")
        ]}  # fmt: skip


def group_of(name: str, by: str) -> str:
    if by == "tensor":
        return name
    parts = name.split(".")
    return ".".join(parts[:2]) if by == "layer" and parts[0] == "blk" else parts[-2]


@pytest.mark.parametrize("by", ["kind", "layer", "tensor"])
def test_blame_is_what_files_with_these_tensors_cost(case: dict[str, Any], by: str) -> None:
    run = sb.blame(case["base"], case["model"], TEXT, by=by, n_ctx=N_CTX, chunks=CHUNKS)
    groups: dict[str, list[str]] = {}
    for name in case["changed"]:
        groups.setdefault(group_of(name, by), []).append(name)
    assert {blame.group for blame in run.groups} == groups.keys()
    for blame in run.groups:
        names = groups[blame.group]
        with sb.load(case["mixed"](names)) as mixed:
            kld = sb.compare(case["base"], mixed, TEXT, n_ctx=N_CTX, chunks=CHUNKS).results[0].kld
        assert blame.kld.value == pytest.approx(kld.value, rel=1e-6, abs=1e-9)
        assert blame.kld.error == pytest.approx(kld.error, rel=1e-6, abs=1e-9)
        base_bytes, n_bytes = (
            sum(model.gguf.tensors[name].n_bytes for name in names) for model in (case["base"], case["model"])
        )
        assert (blame.base_bytes, blame.n_bytes) == (base_bytes, n_bytes)
        if base_bytes > n_bytes:
            assert blame.kld_per_mb == pytest.approx(blame.kld.value / (base_bytes - n_bytes) * 1e6)
    dear = [blame.kld_per_mb for blame in run.groups]
    assert dear == sorted(dear, reverse=True) and run.groups[0].group == "output_norm" + ".weight" * (by == "tensor")
    whole = sb.compare(case["base"], case["model"], TEXT, n_ctx=N_CTX, chunks=CHUNKS).results[0].kld
    assert run.whole.value == pytest.approx(whole.value, rel=1e-6)
    assert (run.chunks, run.n_scored) == (CHUNKS, CHUNKS * 23)


def test_parts_of_a_mixture_of_experts(tmp_path: Path) -> None:
    """All experts together, shared ones together; a part's figure is that of a file with its tensors alone."""
    shape = {**SHAPES["qwen3moe"], "n_ff_shexp": 40}
    keys = {"expert_shared_feed_forward_length": 40}
    weights = write_model(tmp_path / "base.gguf", "qwen3moe", shape, **keys)
    parts = {"attention": "attn_v", "experts": "ffn_down_exps", "shared experts": "ffn_up_shexp"}
    parts["router"] = "ffn_gate_inp"
    changed = {
        part: {f"blk.{i}.{kind}.weight": weights[f"blk.{i}.{kind}"] * np.float32(0.97) for i in range(2)}
        for part, kind in parts.items()
    }
    every = {name: value for tensors in changed.values() for name, value in tensors.items()}
    write_model(tmp_path / "q.gguf", "qwen3moe", shape, tensors=every, **keys)
    write_model(tmp_path / "one.gguf", "qwen3moe", shape, tensors=changed["experts"], **keys)
    with sb.load(tmp_path / "base.gguf") as base, sb.load(tmp_path / "one.gguf") as one:
        found = sb.blame(base, tmp_path / "q.gguf", TEXT, by="part", n_ctx=N_CTX, chunks=1)
        alone = sb.compare(base, one, TEXT, n_ctx=N_CTX, chunks=1).results[0].kld
    figures = {of.group: of.kld.value for of in found.groups}
    assert figures.keys() == parts.keys() and alone.value > 0
    assert figures["experts"] == pytest.approx(alone.value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name, part", [
    ("token_embd.weight", "embeddings"), ("output.weight", "output"), ("output_norm.weight", "norms"),
    ("blk.0.attn_sinks.weight", "attention"), ("blk.0.attn_q_norm.weight", "norms"),
    ("blk.0.ffn_gate_inp_shexp.weight", "router"), ("blk.0.exp_probs_b.bias", "router"),
    ("blk.0.ffn_gate_up_exps.weight", "experts"), ("blk.0.ffn_up_exps.bias", "experts"),
    ("per_layer_token_embd.weight", "per-layer embeddings"), ("per_layer_model_proj.weight", "per-layer embeddings"),
    ("blk.0.inp_gate.weight", "per-layer embeddings"), ("blk.0.proj.weight", "per-layer embeddings"),
    ("blk.0.ffn_up.weight", "feed-forward"), ("rope_freqs.weight", "rope_freqs"),
])  # fmt: skip
def test_the_part_of_a_tensor(name: str, part: str) -> None:
    assert part_of(name) == part


def test_batches_and_logits_that_are_not_kept_change_nothing(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def blamed() -> dict[str, float]:
        run = sb.blame(case["base"], case["model"], TEXT, by="layer", n_ctx=N_CTX, chunks=1)
        return {blame.group: blame.kld.value for blame in run.groups}

    whole = blamed()
    monkeypatch.setattr(base_hidden, "KEPT_BYTES", 0)
    monkeypatch.setattr(base_hidden, "HELD_BYTES", 0)
    assert blamed() == whole
    monkeypatch.setattr(runner, "batch_size", lambda plan, n_ctx: 17)  # 24 is the first row that is scored
    assert blamed() == whole


def test_layers_before_a_group_are_run_once_a_chunk(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What all groups cost, in layers' operations: tails, and the base twice (its logits, then its hidden states)."""
    steps: list[int] = []
    run_step = forward_module.Forward._step

    def counted(self: Any, tokens: Any, pos: int, first: int, last: int) -> None:
        steps.append(last - max(first, starts[0]))
        run_step(self, tokens, pos, first, last)

    monkeypatch.setattr(forward_module.Forward, "_step", counted)
    operations = case["base"].plan.operations
    starts = forward_module.layer_starts(operations)
    run = sb.blame(case["base"], case["model"], TEXT, by="layer", n_ctx=N_CTX, chunks=2)
    tails = [
        starts[-1] - starts[self_contained(operations, int(b.group[4:])) if b.group.startswith("blk.") else -1]
        for b in run.groups if b.group != "token_embd"
    ]  # fmt: skip
    base = 2 * starts[-1]
    assert sum(steps) <= 2 * (base + 2 * starts[-1] + sum(tails))  # the two: all groups at once, and the embeddings


def test_tensors_that_are_not_used_are_innocent(case: dict[str, Any], tmp_path: Path) -> None:
    arch, name = case["base"].config.architecture, "blk.99.extra.weight"
    for i in (1, 2):
        write_model(tmp_path / f"{i}.gguf", arch, tensors={name: np.full(4, i, np.float32)})
    with sb.load(tmp_path / "1.gguf") as base, sb.load(tmp_path / "2.gguf") as model:
        (found,) = sb.blame(base, model, TEXT, by="tensor", n_ctx=N_CTX, chunks=1).groups
    assert (found.group, found.kld.value, found.base_bytes, found.n_bytes) == (name, 0, 16, 16)
    assert found.kld_per_mb == 0


def test_equal_files_have_nobody_to_blame(case: dict[str, Any]) -> None:
    with sb.load(case["base"].path) as twin:
        run = sb.blame(case["base"], twin, TEXT, n_ctx=N_CTX)
    assert run.groups == () and run.whole.value == 0
    assert "nothing differs" in run._repr_html_()


def test_ended_early_it_has_what_was_measured(case: dict[str, Any]) -> None:
    options = sb.EvalOptions(n_ctx=N_CTX, chunks=CHUNKS)
    measurement = sb.AttributionMeasurement(case["base"], case["model"], TEXT, options, "layer")
    assert (measurement.result().chunks, measurement.result().groups) == (0, ())
    steps = iter(measurement)
    for _ in range(4):  # all at once, then two groups; the fourth is only announced
        progress = next(steps)
    first = measurement.result()
    assert (measurement.n_done, first.chunks, len(first.groups)) == (3, 1, 2)
    assert 0 < progress.done < progress.total
    whole = sb.blame(case["base"], case["model"], TEXT, by="layer", n_ctx=N_CTX, chunks=1)
    assert {*first.groups} < {*whole.groups} and first.whole == whole.whole
    for _ in range(len(whole.groups)):
        next(steps)
    assert measurement.result().chunks == 1 and {*measurement.result().groups} == {*whole.groups}


def test_files_of_other_tensors(tmp_path: Path) -> None:
    write_model(tmp_path / "base.gguf", shape=SHAPE)
    write_model(tmp_path / "more.gguf", shape=SHAPE, tensors={"extra.weight": np.ones(4, np.float32)})
    write_model(tmp_path / "wide.gguf", shape={**SHAPE, "n_ff": 128})
    write_model(tmp_path / "deep.gguf", shape={**SHAPE, "n_layer": 4})
    for name, message in (
        ("more", "only .*more.gguf has a tensor extra.weight"),
        ("wide", "tensor blk.0.ffn_gate.weight has shape"),
        ("deep", "has 4 layers of 64 values"),
    ):
        with sb.load(tmp_path / "base.gguf") as base, sb.load(tmp_path / f"{name}.gguf") as other:
            with pytest.raises(ValueError, match=message):
                sb.blame(base, other, TEXT, n_ctx=N_CTX)


def test_html(case: dict[str, Any]) -> None:
    run = sb.blame(case["base"], case["model"], TEXT, n_ctx=N_CTX, chunks=1)
    html = run._repr_html_()
    assert html.count("<tr>") == 1 + len(run.groups) and "F32 → Q4_0 Q8_0" in html
