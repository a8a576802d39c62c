"""Granite 3 mixtures of experts (1B-A400M, 3B-A800M): Granite's four scales, routed experts, maybe a shared one.

GGUF architecture: granitemoe. IBM, "Granite 3.0 Language Models" (2024). Embeddings, scores, what each part adds and
logits have scales of their own; logits are divided by theirs. Experts are as wide as feed_forward_length says. Rope
rotates neighbours.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import Scales, decoder, read_scales
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class GraniteMoeConfig(Config):
    scales: Scales
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> GraniteMoeConfig:
    c = read_config(meta, "granitemoe", n_vocab, experts=True)
    return GraniteMoeConfig(
        **vars(c), scales=read_scales(meta, "granitemoe"), experts=read_experts(meta, "granitemoe", n_ff=c.n_ff)
    )


def forward(g: Graph, c: GraniteMoeConfig, w: Weights) -> None:
    decoder(g, c, w, interleaved=True, scales=c.scales, routed=c.experts)
