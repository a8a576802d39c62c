"""Nemotron-H and Nemotron Nano 2 (4B to 56B): Mamba-2, attention without rope, and ReLU^2, one of them a layer.

GGUF architecture: nemotron_h. NVIDIA, "Nemotron-H: A Family of Accurate and Efficient Hybrid Mamba-Transformer Models"
(2025). Layers without KV heads and feed-forward part are Mamba-2.
"""

from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._nemotron_h import NemotronHConfig, nemotron_h_decoder, read_nemotron_h
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> NemotronHConfig:
    return read_nemotron_h(meta, "nemotron_h", n_vocab)


def forward(g: Graph, c: NemotronHConfig, w: Weights) -> None:
    nemotron_h_decoder(g, c, w)
