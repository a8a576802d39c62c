"""MiniMax M2 (230B-A10B): queries and keys normed as a whole, rope on half of a head, experts chosen by sigmoids.

GGUF architecture: minimax-m2. MiniMax, "MiniMax-M2" (2025). Experts are chosen by sigmoids plus a bias, and weighted
by the sigmoids alone. Rope rotates halves of the first part of a head.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class MinimaxM2Config(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> MinimaxM2Config:
    c = read_config(meta, "minimax-m2", n_vocab, partial_rope=True, experts=True)
    return MinimaxM2Config(**vars(c), experts=read_experts(meta, "minimax-m2", gating="sigmoid"))


def forward(g: Graph, c: MinimaxM2Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="whole")

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
