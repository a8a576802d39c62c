"""Hunyuan A13B: queries and keys are normed behind rope, and a shared expert joins the routed ones.

GGUF architecture: hunyuan-moe. Tencent, "Hunyuan-A13B Technical Report" (2025). Rope rotates halves of a head; its
base was raised for long contexts when the file was made.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class HunyuanMoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> HunyuanMoeConfig:
    c = read_config(meta, "hunyuan-moe", n_vocab, experts=True)
    return HunyuanMoeConfig(**vars(c), experts=read_experts(meta, "hunyuan-moe"))


def forward(g: Graph, c: HunyuanMoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="heads", norm_after_rope=True)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
