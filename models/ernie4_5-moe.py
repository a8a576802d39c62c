"""ERNIE 4.5 mixtures of experts (21B-A3B, 300B-A47B): Llama's attention, experts in most layers, and shared ones.

GGUF architecture: ernie4_5-moe. Baidu, "ERNIE 4.5 Technical Report" (2025). Experts are chosen by probability plus a
bias that balances their load, and weighted by probability alone.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Ernie45MoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> Ernie45MoeConfig:
    c = read_config(meta, "ernie4_5-moe", n_vocab, experts=True)
    return Ernie45MoeConfig(**vars(c), experts=read_experts(meta, "ernie4_5-moe"))


def forward(g: Graph, c: Ernie45MoeConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=True, routed=c.experts)
