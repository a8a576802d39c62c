"""Qwen 3.5 to 3.8 (0.8B to 27B): gated delta nets, gated attention in every fourth layer, SwiGLU.

GGUF architecture: qwen35. Qwen Team (2026); Yang, Kautz and Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with
Delta Rule" (2024). A value head h has key head h % n_key_heads: llama.cpp's converter has changed their order. Rope
rotates halves of the first part of a head.
"""

from subbyte.models._delta_net import DeltaConfig, delta_decoder, read_delta_config
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> DeltaConfig:
    return read_delta_config(meta, "qwen35", n_vocab, order="tiled", experts=False)


def forward(g: Graph, c: DeltaConfig, w: Weights) -> None:
    delta_decoder(g, c, w)
