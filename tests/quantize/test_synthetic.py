"""Random models of real shapes: they load, compute sane numbers, hold what their name says, and leave no rubbish."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_synthetic import LAYER, TINY, TINY_GEMMA4, TINY_LFM2, TINY_MOE, TINY_QWEN35

import subbyte as sb
from subbyte.errors import FileExists, ResourceError
from subbyte.kernels import FORMATS, dequantize
from subbyte.models import ARCHITECTURES
from subbyte.runtime.recipes.published_mixes import MIXES, TensorContext
from subbyte.runtime.synthetic.blocks import random_blocks
from subbyte.runtime.synthetic.spec import cut
from subbyte.runtime.synthetic.vocabulary import words
from subbyte.runtime.synthetic.write import POOL, SHAPES, Shape, Synthetic, parse, temporary, write


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.thorough
def test_a_model_of_every_mix_computes_sane_logits(mix: str, tmp_path: Path) -> None:
    model = Synthetic(replace(TINY, layers=(LAYER,) * 4), mix)
    path = tmp_path / "m.gguf"
    write(model, path)
    with sb.load(path) as loaded:
        assert loaded.info.name == f"tiny's shape, {mix}, 4 layers"
        types = {tensor.name: tensor.type for tensor in loaded.gguf.tensors.values()}
        assert types == {name: type for name, (_, type) in model.tensors().items()}
        with loaded.session(64) as session:
            for logits in (session.eval(range(40)), session.eval([299])):
                assert 0.25 < logits.std() < 4


@pytest.mark.parametrize("architecture, mix", [("qwen3moe", "Q4_K_M"), ("gpt-oss", "MXFP4_MOE"), ("llama", "IQ2_XXS")])
@pytest.mark.thorough
def test_a_mixture_of_experts_computes_sane_logits_and_its_router_spreads_tokens(
    architecture: str, mix: str, tmp_path: Path
) -> None:
    model = Synthetic(replace(TINY_MOE, architecture=architecture), mix)
    write(model, tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as loaded:
        types = {tensor.name: tensor.type for tensor in loaded.gguf.tensors.values()}
        assert types == {name: type for name, (_, type) in model.tensors().items()}
        with loaded.session(64) as session:
            assert all(0.25 < session.eval(ids).std() < 4 for ids in (range(40), [299]))
        found = sb.imatrix(loaded, "ab cd ef gh ij kl mn op qr st uv wx yz " * 20, n_ctx=128, chunks=2)
    assert min(found.counts["blk.0.ffn_up_exps.weight"]) > 256 * 2 / 4 / 10


@pytest.mark.parametrize("shape", [TINY_QWEN35, TINY_LFM2], ids=lambda shape: shape.architecture)
@pytest.mark.thorough
def test_models_with_states_compute_sane_logits(shape: Shape, tmp_path: Path) -> None:
    if shape.architecture not in ARCHITECTURES:
        pytest.skip("not an architecture yet")
    write(Synthetic(shape, "Q4_K"), tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as loaded, loaded.session(512) as session:
        assert all(0.25 < session.eval(ids).std() < 4 for ids in (range(40), [299], [*range(200)] * 2))


def test_layers_with_a_state_have_what_their_architecture_names(tmp_path: Path) -> None:
    """As llama.cpp's converters write it: row lengths first, decays below zero, a number of KV heads a layer."""
    write(Synthetic(TINY_QWEN35, "Q4_K"), tmp_path / "q.gguf")
    with sb.GGUF.open(tmp_path / "q.gguf") as file:
        found = {name.removeprefix("blk.0."): (tensor.shape, tensor.type) for name, tensor in file.tensors.items()}
        assert found["attn_qkv.weight"] == ((256, 512), "Q4_K") and found["attn_gate.weight"] == ((256, 256), "Q4_K")
        assert found["ssm_conv1d.weight"] == ((4, 512), "F32") and found["ssm_norm.weight"] == ((64,), "F32")
        assert found["ssm_alpha.weight"] == found["ssm_beta.weight"] == ((256, 4), "Q4_K")
        assert found["ssm_out.weight"] == ((256, 256), "Q4_K") and found["blk.1.attn_q.weight"][0] == (256, 512)
        a, dt = (np.frombuffer(file.tensors[f"blk.0.{name}"].data, np.float32) for name in ("ssm_a", "ssm_dt.bias"))
        assert a.size == dt.size == 4 and (a < 0).all() and (np.log1p(np.exp(dt)) < 0.11).all()
        keys = {"ssm.inner_size": 256, "ssm.state_size": 64, "ssm.group_count": 2, "ssm.time_step_rank": 4,
                "ssm.conv_kernel": 4, "rope.dimension_count": 16, "attention.head_count_kv": 2}  # fmt: skip
        assert {key: file.metadata.u32(f"qwen35.{key}") for key in keys} == keys
    write(Synthetic(TINY_LFM2, "Q4_K"), tmp_path / "l.gguf")
    with sb.GGUF.open(tmp_path / "l.gguf") as file:
        assert file.metadata.u32_array("lfm2.attention.head_count_kv") == [0, 2]
        assert file.metadata.u32("lfm2.attention.head_count") == 4 and file.metadata.u32("lfm2.shortconv.l_cache") == 3
        conv, projection = (file.tensors[f"blk.0.shortconv.{name}.weight"] for name in ("conv", "in_proj"))
        assert (conv.shape, conv.type, projection.shape) == ((3, 256), "F32", (256, 768))
        assert "token_embd_norm.weight" in file.tensors and "output_norm.weight" not in file.tensors


def test_layers_of_gemma4_have_what_their_kind_has(tmp_path: Path) -> None:
    write(Synthetic(TINY_GEMMA4, "Q4_K"), tmp_path / "m.gguf")
    with sb.GGUF.open(tmp_path / "m.gguf") as file:
        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        types = {name: tensor.type for name, tensor in file.tensors.items()}
        freqs = np.frombuffer(file.tensors["rope_freqs.weight"].data, np.float32)
    assert [shapes[f"blk.{i}.attn_q.weight"] for i in range(4)] == [(256, 256), (256, 512)] * 2
    assert [f"blk.{i}.attn_k.weight" in shapes for i in range(4)] == [True, True, False, False]
    assert shapes["per_layer_token_embd.weight"] == (1024, 300) and types["per_layer_model_proj.weight"] == "BF16"
    assert freqs.tolist() == [1] * 16 + [np.float32(1e30)] * 48
    with sb.load(tmp_path / "m.gguf") as loaded, loaded.session(512) as session:
        assert loaded.plan.cache_bytes(1, "f16") == 2 * 2 * (64 + 128) * 2
        assert all(0.25 < session.eval(ids).std() < 4 for ids in (range(40), [299], [*range(200)] * 2))


@pytest.mark.parametrize("format", FORMATS)
def test_random_blocks_have_the_size_asked_for(format: str) -> None:
    blocks = random_blocks(format, 100_000 // FORMATS[format].block_size, 0.01, np.random.default_rng(0))
    weights = dequantize(blocks, format)
    rms = np.sqrt(np.mean(weights**2))
    assert 0.007 <= rms <= 0.0142 if format == "MXFP4" else abs(rms - 0.01) < 0.0003
    assert abs(weights.mean()) < 0.001
    assert len({row.tobytes() for row in weights.reshape(-1, 32)}) > 0.99 * len(weights) // 32


def test_the_file_has_its_full_size_and_rows_of_their_own(tmp_path: Path) -> None:
    model = Synthetic(TINY, "Q4_0")
    write(model, tmp_path / "m.gguf")
    with sb.GGUF.open(tmp_path / "m.gguf") as gguf:
        assert 0 <= gguf.size - model.n_bytes() < 1 << 16
        rows = np.frombuffer(gguf.tensors["blk.1.ffn_up.weight"].data, np.uint8).reshape(512, -1)
        assert len({row.tobytes() for row in rows}) == 512
        assert gguf.tensors["blk.0.ffn_up.weight"].data != gguf.tensors["blk.1.ffn_up.weight"].data


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(Synthetic(TINY, "Q8_0"), tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b and a != c


def test_the_vocabulary_reads_and_writes_text(tmp_path: Path) -> None:
    write(Synthetic(TINY, "Q8_0"), tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as model:
        assert model.info.n_vocab == 300
        assert len(model.tokenize("abba, é\n")) == 7  # ab and no other pair of its letters, é has two bytes
        assert model.detokenize(model.tokenize("abba, é\n")) == "abba, é\n"
        assert model.detokenize([298, 299]) == "" and model.tokenizer.eos == 299


@pytest.mark.slow
@pytest.mark.parametrize("shape", {shape.vocabulary: name for name, shape in SHAPES.items()}.values())
def test_vocabularies_have_the_real_number_of_tokens_and_merges_that_make_them(shape: str) -> None:
    size = SHAPES[shape].vocabulary
    tokens, merges = words(size.n_tokens - size.n_special, size.n_merges)
    known, halves = set(tokens), [merge.split(" ") for merge in merges]
    assert (len(known), len(set(merges))) == (size.n_tokens - size.n_special, size.n_merges)
    assert all(left in known and right in known for left, right in halves)
    assert {left + right for left, right in halves} == known - set(tokens[:256])


# ---- names


@pytest.mark.parametrize("shape, n_tensors, params", [
    ("llama-3.2-1b", 147, 1.2358e9), ("llama-3-8b", 291, 8.030e9), ("llama-3.1-8b", 292, 8.030e9),
    ("qwen3-14b", 443, 14.768e9), ("exaone-7.8b", 292, 7.818e9), ("nemotron-49b", 569, 49.867e9),
    ("qwen3-30b-a3b", 579, 30.532e9), ("gpt-oss-20b", 459, 20.915e9), ("qwen3.5-0.8b", 320, 0.7524e9),
    ("qwen3.5-4b", 426, 4.2057e9), ("qwen3.5-35b-a3b", 733, 34.661e9), ("lfm2-1.2b", 148, 1.1703e9),
    ("gemma4-e4b", 666, 7.4630e9), ("glm-4.7-flash", 844, 29.943e9),
])  # fmt: skip
def test_every_shape_has_the_size_of_its_model(shape: str, n_tensors: int, params: float) -> None:
    tensors = parse(f"{shape}:Q4_K").tensors().values()
    assert len(tensors) == n_tensors
    assert sum(np.prod(dims, dtype=np.int64) for dims, _ in tensors) == pytest.approx(params, rel=1e-4)


def test_a_mixture_of_mxfp4_has_its_experts_in_it_and_routers_and_biases_in_floats() -> None:
    types = {name: type for name, (_, type) in parse("gpt-oss-20b:MXFP4_MOE:1").tensors().items()}
    experts = {f"ffn_{kind}_exps" for kind in ("gate", "up", "down")}
    assert {name for name, type in types.items() if type == "MXFP4"} == {f"blk.0.{kind}.weight" for kind in experts}
    bytes = {"token_embd.weight", "output.weight", *(f"blk.0.attn_{kind}.weight" for kind in ("q", "k", "v", "output"))}
    assert {name for name, type in types.items() if type == "Q8_0"} == bytes
    assert {types[f"blk.0.{name}"] for name in ("ffn_gate_inp.weight", "ffn_up_exps.bias", "attn_sinks.weight")} == {
        "F32"
    }


def test_nemotron_has_the_layers_of_its_config() -> None:
    layers = SHAPES["nemotron-49b"].layers
    without = [i for i, layer in enumerate(layers) if layer.n_head == 0]
    assert (len(layers), without) == (80, [6, 7, 11, *range(42, 52), *range(53, 71)])
    assert {layer[:2] for layer in layers} == {(64, 8), (0, 0)}
    assert Counter(layer.n_ff for layer in layers) == {
        28672: 49, 14336: 6, 17920: 1, 7168: 10, 5632: 8, 2816: 6
    }  # fmt: skip
    assert [layers[i].n_ff for i in (0, 6, 11, 42, 46, 51, 53, 61, 62, 63, 70)] == [
        14336, 14336, 17920, 7168, 28672, 7168, 7168, 7168, 2816, 2816, 2816
    ]  # fmt: skip


@pytest.mark.parametrize("n_layer", [1, 2, 8, 9, 40, 80])
def test_a_cut_keeps_every_kind_of_layer_and_their_order(n_layer: int) -> None:
    whole = SHAPES["nemotron-49b"]
    layers = cut(whole, n_layer).layers
    assert len(layers) == n_layer and layers[0] == whole.layers[0]
    assert len(set(layers)) == min(n_layer, len(set(whole.layers)))
    rest = iter(whole.layers)
    assert all(layer in rest for layer in layers)
    if n_layer == 40:
        assert sum(layer.n_head > 0 for layer in layers) == pytest.approx(49 / 2, abs=2)


def test_frequencies_are_stretched_by_the_rule_of_llama_3_1() -> None:
    nemotron, exaone = (SHAPES[name].rope_freqs() for name in ("nemotron-49b", "exaone-7.8b"))
    assert (nemotron[:29] == 1).all() and (nemotron[35:] == 8).all()
    assert nemotron[29:35] == pytest.approx([1.2075, 1.5534, 2.0263, 2.6945, 3.6843, 5.2573], abs=1e-4)
    assert [(exaone == factor).sum() for factor in (1, 8)] == [27, 30]


def test_names() -> None:
    assert parse("llama-3.2-1b:Q4_K").description == "llama-3.2-1b's shape, Q4_K, 16 layers"
    assert parse("QWEN3-14b:q4_k_m:1").description == "qwen3-14b's shape, Q4_K_M, 1 layer"
    assert parse("llama-3-8b:dynamicgate-iq2_xxs:8").shape.layers == SHAPES["llama-3-8b"].layers[:8]


@pytest.mark.parametrize(
    "name, found",
    [
        ("", "no shape ''"),
        ("bloom:Q4_K", "no shape 'bloom'; SHAPE:TYPE[:LAYERS] has one of llama-3.2-1b, llama-3-8b,"),
        ("llama-3-8b", "no type ''"),
        (
            "llama-3-8b:Q4_7",
            "no type 'Q4_7' (did you mean Q4_K or Q4_1 or Q4_0?); SHAPE:TYPE[:LAYERS] has a block type (F32, F16,",
        ),
        ("llama-3-8b:Q4_K:", "'' layers"),
        ("llama-3-8b:Q4_K:0", "'0' layers; llama-3-8b has 1 to 32"),
        ("nemotron-49b:Q4_K:81", "'81' layers; nemotron-49b has 1 to 80"),
        ("llama-3-8b:Q4_K:-1", "'-1' layers"),
        ("llama-3-8b:Q4_K:²", "'²' layers"),
        ("llama-3-8b:Q4_K:8:9", "'8:9' layers"),
        ("llama-3-8b:Q4_K:" + "9" * 9999, "layers"),
    ],
)
def test_a_wrong_name_tells_what_is_allowed(name: str, found: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(name)
    assert str(error.value).startswith(found) or found == "layers"


# ---- mixtures


def types_of(mix: str, tensor: str, n_layer: int = 32, gqa: int = 4) -> list[str]:
    return [MIXES[mix](TensorContext(tensor, layer, n_layer, 4096, gqa)) for layer in range(n_layer)]


def test_published_files_keep_more_bits_of_embeddings() -> None:
    for mix, embeddings, rest in (("q4_k", "Q8_0", "Q4_K"), ("q6_k", "Q8_0", "Q6_K"), ("f16-q8_0", "F16", "Q8_0")):
        assert {*types_of(f"card-{mix}", "output"), *types_of(f"card-{mix}", "token_embd")} == {embeddings}
        assert set(types_of(f"card-{mix}", "ffn_up")) == {rest}
    assert types_of("card-q4_k", "ffn_down") == types_of("Q4_K_M", "ffn_down")
    assert {*types_of("card-q4_0", "output"), *types_of("card-q4_0", "ffn_down")} == {"Q4_0"}


def test_a_block_type_means_no_mixture() -> None:
    assert set(types_of("IQ1_S", "attn_v")) == {"IQ1_S"} and set(types_of("IQ1_S-mix", "attn_v")) == {"Q4_K"}


def test_dynamic_gate_files_are_finer_in_the_outer_quarters() -> None:
    assert types_of("DynamicGate-IQ2_M", "ffn_down") == ["IQ4_XS"] * 8 + ["IQ3_S"] * 16 + ["IQ4_XS"] * 8
    assert types_of("DynamicGate-IQ1_S", "ffn_down", 40) == ["IQ3_S"] * 10 + ["IQ2_XXS"] * 20 + ["IQ3_S"] * 10
    assert set(types_of("DynamicGate-IQ1_M", "attn_v")) == {"IQ4_XS"}
    assert set(types_of("DynamicGate-IQ1_M", "attn_v", gqa=3)) == {"IQ3_XXS"}
    assert set(types_of("DynamicGate-IQ2_S", "attn_q")) == {"IQ2_XS"}


@pytest.mark.parametrize("base, gib", [("IQ2_XXS", 2.62), ("IQ2_XS", 2.75), ("IQ1_M", 2.43), ("IQ1_S", 2.34)])
def test_dynamic_gate_files_have_the_sizes_of_the_published_ones(base: str, gib: float) -> None:
    assert parse(f"llama-3-8b:DynamicGate-{base}").n_bytes() / 2**30 == pytest.approx(gib, abs=0.01)


def test_tied_embeddings_take_the_type_of_the_output() -> None:
    assert parse("llama-3.2-1b:Q4_0").tensors()["token_embd.weight"][1] == "Q6_K"
    untied = parse("llama-3-8b:Q4_0").tensors()
    assert (untied["token_embd.weight"][1], untied["output.weight"][1]) == ("Q4_0", "Q6_K")


# ---- files


def test_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write(Synthetic(TINY, "Q8_0"), tmp_path / "m.gguf", lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] and [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_temporary_model_goes_with_its_block() -> None:
    with temporary(Synthetic(TINY, "Q8_0")) as path:
        assert path.is_file()
    assert not path.parent.exists()


def test_an_interrupted_model_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(Synthetic(TINY, "Q8_0"), tmp_path / "m.gguf", stop)
    assert not list(tmp_path.iterdir())


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ResourceError, match=r"m.gguf needs 1 MB, and 0 MB are free; make room"):
        write(Synthetic(TINY, "Q8_0"), tmp_path / "m.gguf")
    assert not list(tmp_path.iterdir())


def test_only_a_synthetic_model_is_overwritten_and_when_asked(tmp_path: Path) -> None:
    path, real = tmp_path / "m.gguf", tmp_path / "real.gguf"
    write(Synthetic(TINY, "Q8_0"), path)
    with pytest.raises(FileExists, match="a synthetic model exists; overwrite=True replaces it"):
        write(Synthetic(TINY, "Q4_K"), path)
    before = path.read_bytes()
    write(Synthetic(TINY, "Q4_0"), path, overwrite=True)
    assert len(path.read_bytes()) < len(before)
    real.write_bytes(before.replace(b"'s shape, ", b" Instruct "))
    with pytest.raises(FileExists, match="is not a synthetic model, so it is never overwritten"):
        write(Synthetic(TINY, "Q8_0"), real, overwrite=True)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"there is no folder .*/nowhere; make it or give another place"):
        write(Synthetic(TINY, "Q8_0"), tmp_path / "nowhere" / "m.gguf")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResourceError, match=r"/folder: a directory, which no file replaces"):
        write(Synthetic(TINY, "Q8_0"), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_types_are_counted_as_they_are_written(tmp_path: Path) -> None:
    model = Synthetic(replace(TINY, layers=(LAYER,) * 4), "DynamicGate-IQ2_M")
    assert Counter(type for _, type in model.tensors().values()) == {
        "F32": 9, "Q5_K": 1, "IQ2_S": 16, "IQ3_S": 10, "IQ4_XS": 2,
    }  # fmt: skip
    assert POOL % 2
