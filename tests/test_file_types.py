"""The types that matrices have in llama-quantize's file types, against what its dry runs printed (llama_quantize.csv).

Those were of llama-cpp-python 0.3.36, on files of the shapes below, with and without an importance matrix.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path

import pytest

from subbyte.runtime.quantize.file_types import FILE_TYPES, Place, fitting
from subbyte.runtime.synthetic import spec as _shapes
from subbyte.runtime.synthetic.shapes import Layer, Shape, VocabularySize
from subbyte.runtime.synthetic.write import SHAPES, Synthetic

WORDS = VocabularySize("gpt-2", 300, 2, 42)


def shape(
    architecture: str, layers: tuple[Layer, ...], n_embd: int = 256, head_dim: int = 64, tied: bool = False
) -> Shape:
    return Shape("small", architecture, layers, n_embd, head_dim, WORDS, 512, 1e4, 1e-5, tied)


def narrow(layer: Layer) -> Layer:
    """A layer of Nemotron's that is as little as a test needs."""
    return Layer(layer.n_head // 8, layer.n_head_kv // 8, 256 * (layer.n_ff // 7168 + 1))


# One KV head for 8 query heads, one for 2, layers without attention and as many as a 70B, tied and of odd row lengths.
MODELS = {
    "llama": shape("llama", (Layer(8, 1, 512),) * 32),
    "exaone": shape("exaone", (Layer(4, 2, 512),) * 18),
    "deci": shape("deci", tuple(map(narrow, SHAPES["nemotron-49b"].layers))),
    "tied": shape("llama", (Layer(8, 2, 416),) * 9, n_embd=288, head_dim=36, tied=True),
}
ROWS = list(csv.DictReader(Path(__file__).with_name("llama_quantize.csv").read_text().splitlines()))


def runs(types: dict[str, str]) -> str:
    """`ffn_down Q6_K*2 Q4_K*7; …`: the types of each kind of matrix, in the order of the layers."""
    kinds: dict[str, list[str]] = {}
    for name, type in types.items():
        if not name.endswith("norm.weight"):
            kinds.setdefault(name.split(".")[-2], []).append(type)
    return "; ".join(
        f"{kind} " + " ".join(f"{type}*{len([*same])}" for type, same in groupby(kinds[kind])) for kind in sorted(kinds)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['file_type']}-{row['imatrix']}")
def test_every_matrix_has_the_type_that_llama_quantize_gives_it(
    row: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for imatrix in {"yes": [True], "no": [False], "any": [True, False]}[row["imatrix"]]:
        known = {"x": lambda place, i=imatrix: FILE_TYPES[row["file_type"]](replace(place, imatrix=i))}
        monkeypatch.setattr(_shapes, "MIXES", known)
        tensors = Synthetic(MODELS[row["model"]], "x").tensors()
        assert runs({name: type for name, (_, type) in tensors.items()}) == row["types"]


def test_every_file_type_was_printed_for_every_model() -> None:
    printed = {(row["model"], row["file_type"]) for row in ROWS}
    assert printed == set(product(MODELS, FILE_TYPES.keys() - {"F32"}))


def test_fused_projections_count_as_values() -> None:
    assert FILE_TYPES["Q4_K_M"](Place("attn_qkv", 0, 32, 4096)) == "Q6_K"
    assert FILE_TYPES["IQ1_S"](Place("attn_qkv", 9, 32, 4096)) == "Q4_K"


@pytest.mark.parametrize("type, row, found", [
    ("Q4_K", 256, "Q4_K"), ("Q4_K", 288, "Q5_0"), ("Q5_K", 288, "Q5_1"), ("Q6_K", 288, "Q8_0"), ("Q2_K", 32, "Q4_0"),
    ("IQ1_S", 288, "IQ4_NL"), ("IQ1_S", 80, "F16"), ("Q8_0", 80, "F16"), ("BF16", 80, "BF16"),
])  # fmt: skip
def test_rows_that_blocks_do_not_fill(type: str, row: int, found: str) -> None:
    assert fitting(type, row) == found
