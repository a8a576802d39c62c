"""Nemotron 3 Nano (30B-A3B): Nemotron-H with routed experts and a shared one in place of its feed-forward parts.

GGUF architecture: nemotron_h_moe. NVIDIA, "Nemotron 3 Nano" (2025). Experts have ReLU^2 and no gate; they are chosen by
probability plus a bias that balances their load.
"""

from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._nemotron_h import NemotronHConfig, nemotron_h_decoder, read_nemotron_h
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> NemotronHConfig:
    return read_nemotron_h(meta, "nemotron_h_moe", n_vocab)


def forward(g: Graph, c: NemotronHConfig, w: Weights) -> None:
    nemotron_h_decoder(g, c, w)
