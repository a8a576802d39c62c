"""The whole forward pass: against numpy on tiny models of our own, and against reference logits where at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_logits import TOKENS, divergence, log_softmax, logits
from paths import SHARED
from tiny_models import APART, GEMMA3, LLAMA, SHAPES, forward, write_model

import subbyte as sb
from subbyte.kernels import Cache, Engine, isas

REFS = SHARED / "refs" / "tiny"
REFERENCES = ["llama", "llama3-ropefreqs-tied", "qwen2", "qwen3", "exaone", "exaone4", "deci", "gemma3"]
QUANTIZED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("arch", SHAPES)
def test_logits_equal_numpy(arch: str, isa: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch)
    assert np.abs(logits(tmp_path / "m.gguf", TOKENS, isa=isa) - forward(arch, weights, TOKENS)).max() < 1e-4


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("arch", APART)
def test_prefill_equals_one_by_one(arch: str, isa: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    whole = logits(tmp_path / "m.gguf", TOKENS, isa=isa)
    for steps in ([1] * 50, [7, 1, 20, 1, 1, 20], [33, 17]):
        np.testing.assert_array_equal(logits(tmp_path / "m.gguf", TOKENS, steps, isa=isa), whole)


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_prefill_equals_one_by_one(kind: str, isa: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=[kind])
    whole = logits(tmp_path / "m.gguf", TOKENS, isa=isa)
    for steps in ([1] * 50, [2, 3, 4, 5, 6, 7, 8, 15]):
        np.testing.assert_array_equal(logits(tmp_path / "m.gguf", TOKENS, steps, isa=isa), whole)


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("kind", QUANTIZED)
def test_int8x2_is_near_exact_for_any_number_of_tokens(kind: str, isa: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=[kind])
    exact = logits(tmp_path / "m.gguf", TOKENS, activations="float32", isa=isa)
    for steps in ([50], [1] * 10 + [2, 3, 4, 5, 6, 20]):
        ours = logits(tmp_path / "m.gguf", TOKENS, steps, activations="int8x2", isa=isa)
        assert np.abs(ours - exact).max() < 2e-3


@pytest.mark.parametrize("arch", ["llama", "phi3"])
@pytest.mark.parametrize("kind", QUANTIZED)
def test_float_activations_equal_numpy_on_quantized_weights(kind: str, arch: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch, types=[kind])
    ours = logits(tmp_path / "m.gguf", TOKENS, activations="float32")
    assert np.abs(ours - forward(arch, weights, TOKENS)).max() < 1e-4


@pytest.mark.parametrize("kind", QUANTIZED)
def test_int8_activations_stay_near_float_activations(kind: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=[kind])
    exact = log_softmax(logits(tmp_path / "m.gguf", TOKENS, activations="float32"))
    ours = log_softmax(logits(tmp_path / "m.gguf", TOKENS))
    assert divergence(exact, ours).mean() < 1e-3


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("types", [["BF16"], ["BF16", "Q4_0", "F16"]])
def test_bf16_weights_in_any_mixture(types: list[str], isa: str, tmp_path: Path) -> None:
    """Tokens may be rounded to bf16, however many there are; only int8 activations allow it."""
    write_model(tmp_path / "m.gguf", types=types)
    exact = logits(tmp_path / "m.gguf", TOKENS, activations="float32", isa=isa)
    for steps in ([50], [5, 1, 2, 42], [1] * 50):
        ours = logits(tmp_path / "m.gguf", TOKENS, steps, isa=isa)
        assert divergence(log_softmax(exact), log_softmax(ours)).mean() < (1e-3 if "Q4_0" in types else 5e-5)
    if types == ["BF16"]:
        assert np.array_equal(logits(tmp_path / "m.gguf", TOKENS, activations="int8x2", isa=isa), exact)


def test_rewinding_equals_recomputing(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    other = TOKENS[::-1]
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        session.eval(TOKENS)
        branch = TOKENS[:20] + other
        assert session.reuse(branch[:44]) == 20
        reused = session.eval(branch[20:44])
        session.rewind(0)
        fresh = session.eval(branch[:44])
    np.testing.assert_array_equal(reused, fresh)


def test_logprobs_equal_log_softmax_of_logits(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        rows = log_softmax(session.eval(TOKENS, "all"))
        session.rewind(0)
        got = session.logprobs(TOKENS[:-1], TOKENS[11:], 10)
    assert np.abs(got - rows[np.arange(10, 49), TOKENS[11:]]).max() < 1e-5


@pytest.mark.skipif(not REFS.is_dir(), reason="reference logits are not at hand")
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("name", REFERENCES)
def test_reference_logits(name: str, isa: str) -> None:
    bound = 5e-3 if name == "gemma3" else 1e-4  # the reference's GELU is a table of halves
    ref = np.load(REFS / f"{name}.npz")
    tokens = [int(t) for t in ref["tokens"]]
    for steps in (None, [1] * len(tokens)):
        assert np.abs(logits(REFS / f"{name}.gguf", tokens, steps, isa=isa) - ref["logits"]).max() < bound


@pytest.mark.skipif(not REFS.is_dir(), reason="reference logits are not at hand")
@pytest.mark.parametrize("isa", isas())
def test_mixed_block_types(isa: str) -> None:
    """24 block types in one model: near the reference, which quantizes activations too, and nearer to our floats."""
    ref = np.load(REFS / "mixed.npz")
    tokens = [int(t) for t in ref["tokens"]]
    ours = log_softmax(logits(REFS / "mixed.gguf", tokens, isa=isa))
    exact = log_softmax(logits(REFS / "mixed.gguf", tokens, activations="float32", isa=isa))
    theirs = log_softmax(ref["logits"])
    kl_ref = divergence(theirs, ours)
    kl_exact = divergence(exact, ours)
    assert kl_ref.mean() < 4e-3 and kl_ref.max() < 1.5e-2
    # Our rounding of activations costs less than theirs.
    assert kl_exact.mean() < divergence(exact, theirs).mean() < 3e-3


@pytest.mark.parametrize("arch", APART)
def test_several_sequences_in_one_step_equal_each_alone(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    first, second, more = TOKENS[:20], TOKENS[20:33], [5, 7]
    alone = [logits(tmp_path / "m.gguf", [*first, more[0]]), logits(tmp_path / "m.gguf", [*second, more[1]])]
    with sb.load(tmp_path / "m.gguf") as model:
        engine = Engine(model.plan, n_batch=64, n_threads=2, n_ctx=32)
        a, b = Cache(model.plan, 32, "f32"), Cache(model.plan, 32, "f32")
        prompts = engine.step([*first, *second], ((a, 20, 0), (b, 13, 0)), logits_of=range(33))
        last = engine.step(more, ((a, 1, 20), (b, 1, 13)), logits_of=range(2))
    assert prompts is not None and last is not None
    np.testing.assert_array_equal(prompts, np.concatenate([alone[0][:20], alone[1][:13]]))
    np.testing.assert_array_equal(last, np.stack([alone[0][20], alone[1][13]]))


def biases(prefix: str, rng: np.random.Generator, **sizes: int) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}.bias": 0.1 * rng.standard_normal(n).astype(np.float32) for name, n in sizes.items()}


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("arch", ["llama", "qwen2", "phi3"])
@pytest.mark.thorough
def test_biases_of_all_projections(arch: str, isa: str, tmp_path: Path) -> None:
    """Those of a fused attn_qkv may come as one, too."""
    rng = np.random.default_rng(5)
    ffn = {"ffn_up": 192} if arch == "phi3" else {"ffn_gate": 96, "ffn_up": 96}
    qkv = {"attn_qkv": 128} if arch == "phi3" else {"attn_q": 64, "attn_k": 32, "attn_v": 32}
    tensors = biases("blk.0.", rng, **qkv, attn_output=64, **ffn, ffn_down=64)
    tensors |= biases("blk.1.", rng, attn_q=64, attn_k=32, attn_v=32, ffn_down=64)
    weights = write_model(tmp_path / "m.gguf", arch, tensors=tensors) | tensors
    expected = forward(arch, weights, TOKENS)
    for steps in (None, [1] * 50):
        assert np.abs(logits(tmp_path / "m.gguf", TOKENS, steps, isa=isa) - expected).max() < 1e-4
    for name in tensors:  # none of them is left out
        without = {n: w for n, w in weights.items() if n != name}
        assert np.abs(forward(arch, without, TOKENS) - expected).max() > 1e-3


def test_values_may_be_given_for_each_layer(tmp_path: Path) -> None:
    arrays = {"attention.head_count": [4, 4], "attention.head_count_kv": [2, 2], "feed_forward_length": [96, 96]}
    write_model(tmp_path / "m.gguf", **arrays)
    write_model(tmp_path / "same.gguf")
    assert np.array_equal(logits(tmp_path / "m.gguf", TOKENS), logits(tmp_path / "same.gguf", TOKENS))


def test_shapes_are_those_of_the_test_models() -> None:
    """A guard for this file: heads of odd group sizes and a window shorter than the text are really covered."""
    assert LLAMA["n_head"] // LLAMA["n_head_kv"] == 2 and GEMMA3["n_head"] == 4 and GEMMA3["window"] < len(TOKENS)
