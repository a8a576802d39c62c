"""Ling 2.0 (mini, flash): normed queries and keys, experts in groups of which only the best are open to a token.

GGUF architecture: bailingmoe2. Ling Team, "Every Activation Boosted: Scaling General Reasoner to 1 Trillion Open
Language Foundation" (2025). Experts are chosen by sigmoids plus a bias. Rope rotates halves of the first part of a
head. Blocks at the end that predict further tokens are passed over.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class BailingMoe2Config(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> BailingMoe2Config:
    c = read_config(meta, "bailingmoe2", n_vocab, partial_rope=True, experts=True)
    return BailingMoe2Config(**vars(c), experts=read_experts(meta, "bailingmoe2", gating="sigmoid", renormalize=False))


def forward(g: Graph, c: BailingMoe2Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + feed_forward(g, n, b, c, layer)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
