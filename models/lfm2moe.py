"""LFM2 mixtures of experts (8B-A1B, 24B-A2B): LFM2's layers, routed experts in all but the first ones.

GGUF architecture: lfm2moe. Liquid AI, "LFM2 Technical Report" (2025). Experts are chosen by probability plus a bias
that balances their load, and weighted by probability alone; the weights of the chosen add up to 1.
"""

from dataclasses import dataclass

from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import HybridConfig, read_hybrid, read_short_conv, short_conv_decoder
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Lfm2MoeConfig(HybridConfig):
    conv_width: int
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> Lfm2MoeConfig:
    c = read_hybrid(meta, "lfm2moe", n_vocab, experts=True)
    return Lfm2MoeConfig(
        **vars(c),
        conv_width=read_short_conv(meta, "lfm2moe."),
        experts=read_experts(meta, "lfm2moe", gating="sigmoid"),
    )


def forward(g: Graph, c: Lfm2MoeConfig, w: Weights) -> None:
    short_conv_decoder(g, c, w, c.conv_width, routed=c.experts)
