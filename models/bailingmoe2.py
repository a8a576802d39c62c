"""Ling 2.0 (mini, flash): normed queries and keys, experts in groups of which only the best are open to a token.

GGUF architecture: bailingmoe2. Ling Team, "Every Activation Boosted: Scaling General Reasoner to 1 Trillion Open
Language Foundation" (2025). Experts are chosen by sigmoids plus a bias. Rope rotates halves of the first part of a
head. Blocks at the end that predict further tokens are passed over.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._decoder import decoder
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class BailingMoe2Config(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> BailingMoe2Config:
    c = read_config(meta, "bailingmoe2", n_vocab, partial_rope=True, experts=True, predicts=True)
    return BailingMoe2Config(**vars(c), experts=read_experts(meta, "bailingmoe2", gating="sigmoid", renormalize=False))


def forward(g: Graph, c: BailingMoe2Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=False, norms="heads", routed=c.experts)
