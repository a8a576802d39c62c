"""Qwen 1.5 and 2 mixtures of experts (A2.7B, 57B-A14B): Qwen 2's attention, routed experts and a gated shared one.

GGUF architecture: qwen2moe. Qwen Team, "Qwen2 Technical Report" (2024). The weights of the chosen experts are what the
softmax over all of them gives. A sigmoid of the token's own says how much the shared expert counts.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Qwen2MoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> Qwen2MoeConfig:
    c = read_config(meta, "qwen2moe", n_vocab, experts=True)
    return Qwen2MoeConfig(**vars(c), experts=read_experts(meta, "qwen2moe", renormalize=False, shared_gate=True))


def forward(g: Graph, c: Qwen2MoeConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=False, routed=c.experts)
