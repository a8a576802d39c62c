"""Qwen 3.5 mixtures of experts (35B-A3B, 122B-A10B, 397B-A17B): Qwen 3.5's layers with routed experts and a shared one.

GGUF architecture: qwen35moe. Qwen Team (2026). The weights of the chosen experts add up to 1; a sigmoid says for each
token how much the shared expert counts.
"""

from subbyte.models._delta_net import DeltaConfig, delta_decoder, read_delta_config
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> DeltaConfig:
    return read_delta_config(meta, "qwen35moe", n_vocab, order="tiled", experts=True)


def forward(g: Graph, c: DeltaConfig, w: Weights) -> None:
    delta_decoder(g, c, w)
