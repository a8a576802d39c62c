"""GLM 4.5, 4.5-Air, 4.6 and Solar Open: the first layers dense, then experts chosen by sigmoids with a bias.

GGUF architecture: glm4moe. GLM Team, "GLM-4.5: Agentic, Reasoning, and Coding (ARC) Foundation Models" (2025). Rope
rotates halves of the first part of a head. The norm before the feed-forward part is named post_attention_norm. Blocks
at the end that predict further tokens are passed over.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Glm4MoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> Glm4MoeConfig:
    c = read_config(meta, "glm4moe", n_vocab, partial_rope=True, experts=True, predicts=True)
    return Glm4MoeConfig(**vars(c), experts=read_experts(meta, "glm4moe", gating="sigmoid", renormalize=False))


def forward(g: Graph, c: Glm4MoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="heads" if "attn_q_norm" in b else "none")

        n = g.rms_norm(x, b.vector("post_attention_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
