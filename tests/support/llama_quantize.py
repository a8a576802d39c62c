"""The types that llama-quantize gives to matrices: what its dry runs printed (llama_quantize.csv), and of what shapes.

Those were of llama-cpp-python 0.3.36, with and without an importance matrix. Further models are in hybrid_models.py.
"""

from __future__ import annotations

import csv
from itertools import groupby
from pathlib import Path

from subbyte.runtime.synthetic.shapes import ExpertShape, LatentShape, LayerShape, Shape, VocabularySize
from subbyte.runtime.synthetic.write import SHAPES

WORDS = VocabularySize("gpt-2", 300, 2, 42)


def shape(
    architecture: str, layers: tuple[LayerShape, ...], n_embd: int = 256, head_dim: int = 64, tied: bool = False
) -> Shape:
    return Shape("small", architecture, layers, n_embd, head_dim, WORDS, 512, 1e4, 1e-5, tied)


def narrow(layer: LayerShape) -> LayerShape:
    """A layer of Nemotron's that is as little as a test needs."""
    return LayerShape(layer.n_head // 8, layer.n_head_kv // 8, 256 * (layer.n_ff // 7168 + 1))


# One KV head for 8 query heads, one for 2, layers without attention and as many as a 70B, tied and of odd row lengths.
# Eight experts, by which llama.cpp knows Mixtral; more of them; shared ones, and maps of heads; of odd row lengths.
MODELS = {
    "llama": shape("llama", (LayerShape(8, 1, 512),) * 32),
    "exaone": shape("exaone", (LayerShape(4, 2, 512),) * 18),
    "deci": shape("deci", tuple(map(narrow, SHAPES["nemotron-49b"].layers))),
    "tied": shape("llama", (LayerShape(8, 2, 416),) * 9, n_embd=288, head_dim=36, tied=True),
    "mixtral": shape("llama", (LayerShape(8, 2, 0, ExpertShape(8, 2, 256)),) * 32),
    "qwen3moe": shape("qwen3moe", (LayerShape(8, 1, 0, ExpertShape(16, 4, 256)),) * 20),
    "qwen2moe": shape("qwen2moe", (LayerShape(4, 4, 0, ExpertShape(6, 2, 256, 512)),) * 24),
    "deepseek2": Shape(
        "small",
        "deepseek2",
        (LayerShape(4, 1, 512), *(LayerShape(4, 1, 0, ExpertShape(16, 4, 256, 256, 1.5)),) * 23),
        256,
        288,
        WORDS,
        512,
        1e4,
        1e-5,
        latent=LatentShape(256, 256, 96, 32, 64),
    ),
    "gpt-oss": shape("gpt-oss", (LayerShape(8, 1, 0, ExpertShape(4, 2, 288)),) * 16, n_embd=288, head_dim=36),
}
ROWS = list(csv.DictReader(Path(__file__).with_name("llama_quantize.csv").read_text().splitlines()))


def runs(types: dict[str, str]) -> str:
    """`ffn_down Q6_K*2 Q4_K*7; …`: the types of each kind of matrix, in the order of the layers."""
    kinds: dict[str, list[str]] = {}
    for name, type in types.items():
        if name.endswith(".weight") and not name.endswith("norm.weight"):
            kinds.setdefault(name.split(".")[-2], []).append(type)
    return "; ".join(
        f"{kind} " + " ".join(f"{type}*{len([*same])}" for type, same in groupby(kinds[kind])) for kind in sorted(kinds)
    )
