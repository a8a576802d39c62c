"""What a place in a model may hold: a matrix of any block type, a vector of floats; what else is refused by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from gguf_builder import string
from tiny_models import (
    APART,
    F32,
    F64,
    N_VOCAB,
    SHAPES,
    forward,
    matrix_shapes,
    mixed_tensors,
    name_in_file,
    tensor_shapes,
    write_model,
)

import subbyte as sb
from subbyte.errors import UnsupportedError
from subbyte.kernels import FORMATS
from subbyte.models import ARCHITECTURES
from subbyte.models._weights import VECTOR_TYPES
from subbyte.runtime.gguf.tensors import _NAMED_ONLY
from subbyte.runtime.types import Activations

TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, N_VOCAB, 24)]
STEPS = [16, 1, 4, 1, 1, 1]  # a prompt, single tokens, a few at once: each has kernels of its own
N_CTX = 64


class Mixture(NamedTuple):
    """A model whose matrices are of different types, and its logits by numpy from what gguf-py dequantizes."""

    path: Path
    logits: F64


# The first layer has attn_q, attn_k and attn_v, the second attn_qkv in their place; rows are one large block wide.
SHAPE = {"n_layer": 2, "n_embd": 256, "n_head": 4, "n_head_kv": 2, "head_dim": 64, "n_ff": 256}
MATRICES = matrix_shapes("llama", SHAPE)
SEPARATE = {f"blk.1.attn_{p}": MATRICES.pop(f"blk.1.attn_{p}") for p in "qkv"}
MATRICES["blk.1.attn_qkv"] = (sum(rows for rows, _ in SEPARATE.values()), 256)


@pytest.fixture(scope="module", params=[(i, tied) for i in range(len(FORMATS)) for tied in (False, True)], ids=str)
def mixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """Matrix j is of type i + j: over all i, each type has been in each place. Tied: the embeddings are the head."""
    first, tied = request.param
    tensors, weights = mixed_tensors(MATRICES, first)
    absent = [*SEPARATE, *(["output"] if tied else [])]
    path = tmp_path_factory.mktemp("places") / "m.gguf"
    vectors = write_model(path, shape=SHAPE, tensors=tensors | {f"{name}.weight": None for name in absent})
    weights = {name: values for name, values in {**vectors, **weights}.items() if name not in absent}
    return Mixture(path, forward("llama", weights, TOKENS, SHAPE))


def logits(model: sb.Model, activations: Activations) -> F32:
    """Of all TOKENS, in STEPS, over a float32 cache."""
    with model.session(N_CTX, "f32", activations) as session:
        parts = np.split(np.array(TOKENS), np.cumsum(STEPS)[:-1])
        return np.concatenate([session.eval([int(t) for t in part], "all") for part in parts])


def relative(found: F32, exact: F64) -> float:
    """Root mean square of the differences, as a part of that of the logits."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def assert_near(model: sb.Model, exact: F64, *, routed: bool = False, product: bool = False) -> None:
    """The bounds are about twice what was measured, on six instruction sets of x86.

    product: what magnifies rounding: LFM2's convolution, a product of three projections; a delta net's queries and
    keys, brought to length 1.
    routed: int8's rounding may send a token to other experts where the router's logits are near to each other, so half
    of the tokens may be further off; furthest (0.062) where BF16 weights meet activations as bf16.
    """
    assert np.abs(logits(model, "float32") - exact).max() < (1e-4 if product else 3e-5)
    assert relative(logits(model, "int8x2"), exact) < (1.5e-3 if product else 2e-4)
    found = logits(model, "int8")
    assert (np.median([*map(relative, found, exact)]) if routed else relative(found, exact)) < (
        0.2 if product else 0.08 if routed else 0.04
    )


def test_every_block_type_in_every_place(mixture: Mixture) -> None:
    with sb.load(mixture.path, threads=1) as model:
        assert_near(model, mixture.logits)


@pytest.mark.parametrize("arch", APART)
@pytest.mark.thorough
def test_every_architecture_with_every_block_type(arch: str, tmp_path: Path) -> None:
    s = SHAPES[arch]
    n_layer = 15 if arch == "nemotron_h" else max(s["n_layer"], 6)  # whose layers have a part each
    shape = {name: (n * n_layer)[:n_layer] if isinstance(n, list) else n for name, n in s.items()}
    n_ff = [256 * -(-n // 64) for n in shape["n_ff"]] if isinstance(s["n_ff"], list) else 256
    shape |= {"n_layer": n_layer, "n_embd": 256, "head_dim": 256, "n_ff": n_ff}
    others = ("ssm_inner", "n_ff_exp", "n_ff_shexp", "head_dim_local", "n_embd_layer", "q_rank", "kv_rank", "n_value")
    shape |= {name: 256 for name in others if name in s}
    shape |= {name: n for name, n in {"ssm_heads": 8, "ssm_state": 32}.items() if name in s}
    matrices = matrix_shapes(arch, shape)
    assert len(matrices) >= len(FORMATS)
    tensors, weights = mixed_tensors(matrices)
    keys = {"attention.recurrent_layers": [n > 0 for n in shape["recurrent"]]} if arch == "qwen35" else {}
    vectors = write_model(tmp_path / "m.gguf", arch, shape, tensors=tensors, **keys)
    with sb.load(tmp_path / "m.gguf") as model:
        assert_near(
            model,
            forward(arch, {**vectors, **weights}, TOKENS, shape),
            routed="n_expert" in s,
            product=arch in ("lfm2", "qwen35"),
        )


def test_every_architecture_has_a_shape() -> None:
    assert {*SHAPES} == {*ARCHITECTURES}


@pytest.mark.parametrize("type", VECTOR_TYPES)
@pytest.mark.parametrize("arch", SHAPES)
def test_norms_and_biases_of_every_kind(arch: str, type: str, tmp_path: Path) -> None:
    vectors, matrices = {}, {}
    for name, dims in tensor_shapes(arch, SHAPES[arch]).items():
        (vectors if len(dims) == 1 else matrices)[name] = dims
    if arch == "llama":  # its files may have them at every projection
        vectors |= {f"{name}.bias": (n,) for name, (n, _) in matrices.items() if name.startswith("blk.")}
    rng = np.random.default_rng(1)
    tensors, values = {}, {}
    for name, dims in vectors.items():
        kind = gguf.GGMLQuantizationType[type]
        sign = -1 if name.endswith("ssm_a") else 1  # what a state keeps is below 1
        x = quantize((sign + 0.3 * rng.standard_normal(dims)).astype(np.float32), kind)
        tensors[name_in_file(name)] = (x, type)
        values[name] = dequantize(x, kind).reshape(dims)
    weights = {**write_model(tmp_path / "m.gguf", arch, tensors=tensors), **values}
    with sb.load(tmp_path / "m.gguf") as model:
        assert np.abs(logits(model, "float32") - forward(arch, weights, TOKENS)).max() < 1e-4


FOREIGN = {name: id for id, (name, _, _) in _NAMED_ONLY.items()}
QUANTIZED = {format.name: format.id for format in FORMATS.values() if format.group}


def refusals(path: Path, name: str, dims: tuple[int, ...], types: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Each type and how a model is refused whose tensor `name` says that it is of this type."""
    absent = dict.fromkeys(f"{p}.weight" for p in SEPARATE) if "attn_qkv" in name else {}
    write_model(path, shape=SHAPE, tensors={name: np.zeros(dims), **absent})  # no type has more than 8 bytes a weight
    data = bytearray(path.read_bytes())
    at = data.index(string(name)) + len(string(name)) + 4 + 8 * len(dims)  # behind the shape
    for type, id in types.items():
        struct.pack_into("<I", data, at, id)
        path.write_bytes(data)
        with pytest.raises(UnsupportedError) as caught:
            sb.load(path)
        yield type, str(caught.value)


@pytest.mark.parametrize("name", [f"{name}.weight" for name in MATRICES])
@pytest.mark.thorough
def test_a_matrix_of_a_type_that_is_not_ours(name: str, tmp_path: Path) -> None:
    for type, message in refusals(tmp_path / "m.gguf", name, MATRICES[name.removesuffix(".weight")], FOREIGN):
        assert f"{name} has type {type}; a matrix must be one of {', '.join(FORMATS)}" in message


@pytest.mark.parametrize("name", ["output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.bias"])
def test_a_vector_of_blocks(name: str, tmp_path: Path) -> None:
    for type, message in refusals(tmp_path / "m.gguf", name, (256,), {**FOREIGN, **QUANTIZED}):
        assert f"{name} has type {type}; a vector must be one of F32, F16, BF16" in message
