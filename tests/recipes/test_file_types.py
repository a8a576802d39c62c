"""The types that matrices have in llama-quantize's file types, against what its dry runs printed (llama_quantize.csv).

Those were of llama-cpp-python 0.3.36, on files of the shapes below, with and without an importance matrix.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hybrid_models import HYBRIDS
from llama_quantize import MODELS, ROWS, runs

from subbyte.runtime.recipes.file_types import FILE_TYPES, TensorContext, fitting
from subbyte.runtime.recipes.published_mixes import MIXES
from subbyte.runtime.synthetic import spec
from subbyte.runtime.synthetic.write import Synthetic

WHOLE = [row for row in ROWS if row["model"] in MODELS]  # test_recipe.py has those of HYBRIDS


@pytest.mark.parametrize("row", WHOLE, ids=lambda row: f"{row['model']}-{row['file_type']}-{row['imatrix']}")
@pytest.mark.thorough
def test_every_matrix_has_the_type_that_llama_quantize_gives_it(
    row: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for imatrix in {"yes": [True], "no": [False], "any": [True, False]}[row["imatrix"]]:
        known = {"x": lambda place, i=imatrix: FILE_TYPES[row["file_type"]](replace(place, imatrix=i))}
        monkeypatch.setattr(spec, "MIXES", known)
        tensors = Synthetic(MODELS[row["model"]], "x").tensors()
        assert runs({name: type for name, (_, type) in tensors.items()}) == row["types"]


def test_every_file_type_was_printed_for_every_model() -> None:
    printed = {(row["model"], row["file_type"]) for row in ROWS}
    assert printed == set(product((*MODELS, *HYBRIDS), FILE_TYPES.keys() - {"F32"}))


def test_fused_projections_count_as_values() -> None:
    assert FILE_TYPES["Q4_K_M"](TensorContext("attn_qkv", 0, 32, 4096)) == "Q6_K"
    assert FILE_TYPES["IQ1_S"](TensorContext("attn_qkv", 9, 32, 4096)) == "Q4_K"


@pytest.mark.parametrize("mix", ["card-q4_k", "DynamicGate-IQ2_M", "Q4_0"])
def test_embeddings_of_layers_are_embeddings(mix: str) -> None:
    of_layers, of_all = (
        MIXES[mix](TensorContext(kind, 0, 1, 256, tied=True)) for kind in ("per_layer_token_embd", "token_embd")
    )
    assert of_layers == of_all


@pytest.mark.parametrize("type, row, found", [
    ("Q4_K", 256, "Q4_K"), ("Q4_K", 288, "Q5_0"), ("Q5_K", 288, "Q5_1"), ("Q6_K", 288, "Q8_0"), ("Q2_K", 32, "Q4_0"),
    ("IQ1_S", 288, "IQ4_NL"), ("IQ1_S", 80, "F16"), ("Q8_0", 80, "F16"), ("BF16", 80, "BF16"),
])  # fmt: skip
def test_rows_that_blocks_do_not_fill(type: str, row: int, found: str) -> None:
    assert fitting(type, row) == found
