"""Qwen 3 mixtures of experts (30B-A3B, 235B-A22B): Qwen 3's attention, and routed experts in place of one SwiGLU.

GGUF architecture: qwen3moe. Qwen Team, "Qwen3 Technical Report" (2025). The weights of the chosen experts add up to 1.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Qwen3MoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> Qwen3MoeConfig:
    c = read_config(meta, "qwen3moe", n_vocab, experts=True)
    return Qwen3MoeConfig(**vars(c), experts=read_experts(meta, "qwen3moe"))


def forward(g: Graph, c: Qwen3MoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="heads")

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
