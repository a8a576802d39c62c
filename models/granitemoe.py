"""Granite 3 mixtures of experts (1B-A400M, 3B-A800M): Granite's four scales, routed experts, maybe a shared one.

GGUF architecture: granitemoe. IBM, "Granite 3.0 Language Models" (2024). Embeddings, scores, what each part adds and
logits have scales of their own; logits are divided by theirs. Experts are as wide as feed_forward_length says. Rope
rotates neighbours.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._scales import Scales, read_scales
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class GraniteMoeConfig(Config):
    experts: ExpertsConfig
    scales: Scales


def configure(meta: Metadata, n_vocab: int) -> GraniteMoeConfig:
    c = read_config(meta, "granitemoe", n_vocab, experts=True)
    return GraniteMoeConfig(
        **vars(c), experts=read_experts(meta, "granitemoe", n_ff=c.n_ff), scales=read_scales(meta, "granitemoe")
    )


def forward(g: Graph, c: GraniteMoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scale=c.scales.embedding)
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + c.scales.residual * self_attention(g, n, b, c, rope=rope, scale=c.scales.attention)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + c.scales.residual * feed_forward(g, n, b, c, layer)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab), scale=1 / c.scales.logits)
