"""Importance matrices: against plain numpy, and both of llama.cpp's file formats, sound and broken ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import expert_oracle
import gguf
import libgguf
import numpy as np
import pytest
import tiny_models
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_models import SHAPES, write_model, write_old_deepseek2

import subbyte as sb
from subbyte.runtime.imatrix.expert_use import ExpertUse, expert_use, never_chosen

TEXT = "the thin man and the other one are in an old inn near the river, " * 6
N_CTX = 40


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> sb.Imatrix:
    path = tmp_path_factory.mktemp("imatrix") / "m.gguf"
    write_model(path)
    with sb.load(path) as model:
        return sb.imatrix(model, TEXT, n_ctx=N_CTX, datasets=["a.txt"])


def inputs(arch: str, weights: dict[str, np.ndarray], tokens: list[int]) -> dict[str, np.ndarray]:
    """What each projection gets, float64 [n, row length], from the forward pass in numpy."""
    seen: dict[str, list[np.ndarray]] = {}
    normed: list[np.ndarray] = []
    linear, rms = tiny_models.linear, tiny_models.rms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tiny_models, "linear", lambda x, b, name: seen.setdefault(name, []).append(x) or linear(x, b, name)
        )
        patch.setattr(tiny_models, "rms", lambda *args: normed.append(rms(*args)) or normed[-1])
        tiny_models.forward(arch, weights, tokens)
    found = {}
    for name, layers in seen.items():  # some layers have no such projection; those that are part of another are in all
        with_it = [i for i in range(99) if f"blk.{i}.{name}" in weights] or range(len(layers))
        found |= {f"blk.{i}.{name}.weight": x for i, x in zip(with_it, layers, strict=True)}
    if arch == "phi3":
        for i in range(SHAPES[arch]["n_layer"]):
            found[f"blk.{i}.attn_qkv.weight"] = found.pop(f"blk.{i}.attn_q.weight")
            for name in ("attn_k", "attn_v"):
                del found[f"blk.{i}.{name}.weight"]
    if arch in ("phi3", "glm4"):
        for i in range(SHAPES[arch]["n_layer"]):
            del found[f"blk.{i}.ffn_gate.weight"]
    if arch == "gemma4":
        found["per_layer_model_proj.weight"] = weights["token_embd"][tokens] * SHAPES[arch]["n_embd"] ** 0.5
    return {**found, "output.weight" if "output" in weights else "token_embd.weight": normed[-1]}


@pytest.mark.parametrize("arch", [arch for arch, shape in SHAPES.items() if "n_expert" not in shape])
def test_sums_are_those_of_plain_numpy(arch: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        tokens = model.tokenize(TEXT)
        result = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=3, process_output=True, cache_type="f32")
        without = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=1)
    chunks = [inputs(arch, weights, tokens[i * N_CTX : (i + 1) * N_CTX]) for i in range(3)]
    assert result.squares.keys() == chunks[0].keys() == result.sums.keys() == result.counts.keys()
    for name in result.squares:
        x = np.concatenate([chunk[name] for chunk in chunks])
        assert result.squares[name] == pytest.approx((x * x).sum(axis=0)[None], rel=1e-4, abs=1e-6)
        assert result.sums[name] == pytest.approx(x.sum(axis=0)[None], rel=1e-4, abs=5e-4)
        assert result.counts[name] == [3 * N_CTX]
        assert result.weights(name)[0] == pytest.approx((x * x).mean(axis=0), rel=1e-4, abs=1e-6)
    assert (result.chunk_count, result.chunk_size) == (3, N_CTX)
    assert without.squares.keys() == {name for name in result.squares if name.startswith("blk.")}


def test_each_head_has_the_sums_of_what_its_map_is_multiplied_with(tmp_path: Path) -> None:
    """And a tensor of maps to keys and values, from before April 2025, those of the vector that both are made of."""
    weights = write_model(tmp_path / "m.gguf", "deepseek2")
    write_old_deepseek2(tmp_path / "old.gguf")
    found = {}
    for name in ("m", "old"):
        with sb.load(tmp_path / f"{name}.gguf") as model:
            tokens = model.tokenize(TEXT)[:N_CTX]
            found[name] = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=1, cache_type="f32", resume=tmp_path / name)
    b = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith("blk.0.")}
    x = tiny_models.rms(weights["token_embd"][tokens].astype(np.float64), b["attn_norm"])
    q, k, c = tiny_models.latent_queries_and_keys(x, b, (tiny_models.frequencies(8), 1.0))
    sums = tiny_models.attention(q, k, np.repeat(c[:, None], 4, axis=1), 40**-0.5, 0)
    for name, inputs in (("attn_k_b", q[..., :32]), ("attn_v_b", sums)):
        of = found["m"].squares[f"blk.0.{name}.weight"]
        assert of == pytest.approx((inputs**2).sum(axis=0), rel=1e-4)
        assert found["m"].counts[f"blk.0.{name}.weight"].tolist() == [N_CTX] * 4
    assert found["old"].squares["blk.0.attn_kv_b.weight"][0] == pytest.approx((c**2).sum(axis=0), rel=1e-4)
    assert found["old"].counts["blk.0.attn_kv_b.weight"] == [N_CTX]
    assert not any("_k_b" in name for name in found["old"].squares)


@pytest.mark.parametrize("others", [{}, {"n_ff_shexp": 40}], ids=["routed", "with shared"])
def test_each_expert_has_the_sums_of_the_tokens_that_went_to_it(
    others: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {**SHAPES["qwen3moe"], **others}
    weights = write_model(
        tmp_path / "m.gguf", "qwen3moe", shape, expert_shared_feed_forward_length=others.get("n_ff_shexp")
    )
    seen: dict[str, dict[int, list[np.ndarray]]] = {}
    network = expert_oracle.network

    def tapped(x: np.ndarray, b: dict[str, np.ndarray], kind: str, activation: Any, expert: int | None = None) -> Any:
        layer = next(i for i in range(2) if b["ffn_down_exps"] is weights[f"blk.{i}.ffn_down_exps"])
        gate, up = (b[f"ffn_{name}_{kind}"] for name in ("gate", "up"))
        gate, up = (gate, up) if expert is None else (gate[expert], up[expert])
        for name, input in {"gate": x, "up": x, "down": activation(x @ gate.T, x @ up.T)}.items():
            of = seen.setdefault(f"blk.{layer}.ffn_{name}_{kind}.weight", {})
            of.setdefault(expert or 0, []).extend(np.atleast_2d(input))
        return network(x, b, kind, activation, expert)

    monkeypatch.setattr(expert_oracle, "network", tapped)
    with sb.load(tmp_path / "m.gguf") as model:
        tokens = model.tokenize(TEXT)
        result = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=3, cache_type="f32")
        for chunks in (2, 3):
            resumed = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=chunks, cache_type="f32", resume=tmp_path / "run")
    assert resumed.digest() == result.digest()
    for i in range(3):
        tiny_models.forward("qwen3moe", weights, tokens[i * N_CTX : (i + 1) * N_CTX], shape)
    assert {name for name in result.squares if "exp" in name} == seen.keys()
    for name, of in seen.items():
        for expert in range(len(result.counts[name])):
            x = np.array(of.get(expert, np.zeros((0, weights[name.removesuffix(".weight")].shape[-1]))))
            assert result.counts[name][expert] == len(x)
            assert result.squares[name][expert] == pytest.approx((x * x).sum(axis=0), rel=1e-4, abs=1e-6), name
            assert result.sums[name][expert] == pytest.approx(x.sum(axis=0), rel=1e-4, abs=1e-4), name
    for layer in range(2):
        router, routed = (f"blk.{layer}.ffn_{name}.weight" for name in ("gate_inp", "gate_exps"))
        assert result.counts[router] == [3 * N_CTX] and result.counts[routed].sum() == 3 * N_CTX * shape["n_used"]
    assert result.squares["blk.1.ffn_down_exps.weight"].shape == (shape["n_expert"], shape["n_ff_exp"])


def test_bos_stands_first_in_every_chunk(tmp_path: Path) -> None:
    """A model whose tokenizer adds BOS; its first layer sees BOS where other tokens of the text stood."""
    weights = write_model(tmp_path / "m.gguf", tensors={})
    with sb.load(tmp_path / "m.gguf") as model:
        tokens = model.tokenize(TEXT)
        object.__setattr__(model.tokenizer, "add_bos", True)
        result = sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=2)
    tokens = [model.tokenizer.bos, *tokens]
    chunks = [tokens[:N_CTX], [model.tokenizer.bos, *tokens[N_CTX + 1 : 2 * N_CTX]]]
    x = np.concatenate([inputs("llama", weights, chunk)["blk.0.attn_q.weight"] for chunk in chunks])
    assert result.squares["blk.0.attn_q.weight"] == pytest.approx((x * x).sum(axis=0)[None], rel=2e-4)


def test_threads_change_nothing(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    digests = set()
    for n in (1, 2, 3):
        with sb.load(tmp_path / "m.gguf", threads=n) as model:
            digests.add(sb.imatrix(model, TEXT, n_ctx=N_CTX, chunks=2).digest())
    assert len(digests) == 1


def test_a_short_text_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as model, pytest.raises(ValueError, match="80 are needed"):
        sb.imatrix(model, "short", n_ctx=N_CTX)


def same(a: sb.Imatrix, b: sb.Imatrix) -> bool:
    return a.squares.keys() == b.squares.keys() and all(np.array_equal(a.weights(n), b.weights(n)) for n in a.squares)


def test_gguf_format_is_read_by_others_and_by_us(found: sb.Imatrix, tmp_path: Path) -> None:
    found.save(tmp_path / "i.gguf")
    back = sb.Imatrix.open(tmp_path / "i.gguf")
    assert same(found, back)
    assert (back.datasets, back.chunk_count, back.chunk_size) == (("a.txt",), found.chunk_count, N_CTX)
    assert back.sums.keys() == found.sums.keys()
    theirs = libgguf.load_imatrix(tmp_path / "i.gguf")
    assert theirs.keys() == found.squares.keys()
    assert all(np.array_equal(theirs[name], found.weights(name).reshape(-1)) for name in theirs)
    reader = gguf.GGUFReader(tmp_path / "i.gguf")
    assert reader.fields["general.type"].contents() == "imatrix" and "general.architecture" not in reader.fields
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    assert shapes["blk.0.ffn_down.weight.in_sum2"] == [96, 1] and shapes["blk.0.ffn_down.weight.counts"] == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["i.gguf"]


def old_format(entries: dict[str, tuple[int, list[float]]], tail: bytes = b"") -> bytes:
    data = struct.pack("<i", len(entries))
    for name, (calls, values) in entries.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values))
        data += struct.pack(f"<{len(values)}f", *values)
    return data + tail


def test_the_older_format(tmp_path: Path) -> None:
    entries = {"blk.0.attn_q.weight": (4, [8.0, 2.0, 0.0]), "blk.0.ffn_up.weight": (0, [1.5])}
    for tail, chunks, names in [(b"", 0, ()), (struct.pack("<ii", 7, 5) + b"a.txt", 7, ("a.txt",))]:
        (tmp_path / "i.dat").write_bytes(old_format(entries, tail))
        result = sb.Imatrix.open(tmp_path / "i.dat")
        assert result.weights("blk.0.attn_q.weight").tolist() == [[2.0, 0.5, 0.0]]
        assert result.weights("blk.0.ffn_up.weight").tolist() == [[1.5]]
        assert (result.chunk_count, result.datasets) == (chunks, names)
    assert libgguf.load_imatrix(tmp_path / "i.dat")["blk.0.attn_q.weight"].tolist() == [2.0, 0.5, 0.0]


def test_what_was_never_reached_has_weights_of_one(tmp_path: Path) -> None:
    """An expert, too: libgguf reads what we write as llama-quantize does, and a sentence names those experts."""
    name = "blk.3.ffn_up_exps.weight"
    result = sb.Imatrix({name: np.array([[4.0, 8.0], [0, 0]])}, {name: np.array([2.0, 0])}, {}, (), 1, 512)
    assert result.weights(name).tolist() == [[2, 4], [1, 1]] and result.weights("b") is None
    result.save(tmp_path / "i.gguf")
    assert libgguf.load_imatrix(tmp_path / "i.gguf")[name].tolist() == [2, 4, 1, 1]
    assert same(result, sb.Imatrix.open(tmp_path / "i.gguf"))
    shapes = {tensor.name: tensor.shape.tolist() for tensor in gguf.GGUFReader(tmp_path / "i.gguf").tensors}
    assert shapes == {f"{name}.counts": [1, 2], f"{name}.in_sum2": [2, 2]}
    heads = {"blk.3.attn_k_b.weight": np.array([5.0, 5, 5, 5]), **result.counts}  # multi-head latent attention
    result = sb.Imatrix(result.squares, heads, {}, (), 1, 512)
    assert expert_use(result) == [ExpertUse(3, (2, 0))]
    assert "never chosen have no importances" in (told := never_chosen(result) or "") and "layer 3: 1 of 2;" in told


@pytest.mark.parametrize("data, message", [
    (b"", "the number of tensors"),
    (struct.pack("<i", -1), "4294967295 tensors"),
    (struct.pack("<i", 0), "0 tensors"),
    (struct.pack("<ii", 1, 1 << 30), "at most 63"),
    (old_format({"a": (1, [1.0])})[:-2], "the values"),
    (old_format({"a": (1, [float("nan")])}), "not finite"),
    (old_format({"a": (1, [-1.0])}), "negative"),
    (old_format({"a": (-1, [1.0])}), "calls"),
    (struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 0x7FFFFFFF), "values"),
    (struct.pack("<i", 2) + 2 * old_format({"a": (1, [1.0])})[4:], "'a' with 1 values"),
    (old_format({"a": (1, [1.0])}, struct.pack("<ii", 1, -5)), "data set"),
])  # fmt: skip
def test_broken_files_of_the_older_format(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "i.dat").write_bytes(data)
    with pytest.raises(sb.FormatError, match=message) as error:
        sb.Imatrix.open(tmp_path / "i.dat")
    assert "\n" not in str(error.value)


def test_a_model_is_no_importance_matrix(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with pytest.raises(sb.FormatError, match="a model, not an importance matrix"):
        sb.Imatrix.open(tmp_path / "m.gguf")
    with pytest.raises(sb.ModelNotFound):
        sb.Imatrix.open(tmp_path / "none")
    with pytest.raises(sb.FormatError, match="a directory"):
        sb.Imatrix.open(tmp_path)


def written(path: Path, **tensors: np.ndarray) -> Path:
    w = gguf.GGUFWriter(str(path), "x")
    w.add_type("imatrix")
    for name, values in tensors.items():
        w.add_tensor(name.replace("__", "."), values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


@pytest.mark.parametrize("tensors, message", [
    ({"a__in_sum2": np.ones((1, 4), np.float32)}, "no counts"),
    ({"a__in_sum2": np.ones((2, 4), np.float32), "a__counts": np.ones((1, 1), np.float32)}, "2 matrices and 1 counts"),
    ({"a__in_sum2": np.ones((1, 4), np.float16), "a__counts": np.ones((1, 1), np.float32)}, "F16"),
    ({"a__in_sum2": np.full((1, 4), np.inf, np.float32), "a__counts": np.ones((1, 1), np.float32)}, "not finite"),
    ({"a__in_sum2": np.ones((1, 4), np.float32), "a__counts": -np.ones((1, 1), np.float32)}, "negative"),
    ({"a__in_sum2": np.full((1, 4), 3e38, np.float32), "a__counts": np.full((1, 1), 1e-3, np.float32)}, "no float32"),
    ({"a__other": np.ones((1, 4), np.float32)}, "without any tensor"),
    ({"a__in_sum2": np.ones((1, 4), np.float32), "a__counts": np.ones((1, 1), np.float32),
      "a__in_sum": np.ones((2, 4), np.float32)}, "sums of another shape"),
])  # fmt: skip
def test_broken_files_of_the_gguf_format(tensors: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(sb.FormatError, match=message):
        sb.Imatrix.open(written(tmp_path / "i.gguf", **tensors))


@settings(max_examples=150)
@given(at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 400), old=st.booleans())
@example(at=0, byte=0, cut=0, old=True)
def test_damage_is_an_error_or_harmless(
    at: int, byte: int, cut: int, old: bool, found: sb.Imatrix, tmp_path: Path
) -> None:
    path = tmp_path / "i"
    if old:
        path.write_bytes(old_format({"blk.0.a": (2, [1.0] * 20), "blk.1.a": (2, [1.0] * 20)}, struct.pack("<i", 1)))
    else:
        path.unlink(missing_ok=True)
        found.save(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - cut])
    try:
        result = sb.Imatrix.open(path)
    except sb.SubbyteError as error:
        assert "\n" not in str(error)
    else:
        assert all(np.isfinite(result.weights(name)).all() for name in result.squares)


def test_a_folder_that_can_not_be_written_to(found: sb.Imatrix, tmp_path: Path) -> None:
    with pytest.raises(sb.ResourceError, match="another place"):
        found.save(tmp_path / "none" / "i.gguf")
