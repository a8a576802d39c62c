"""OLMoE (1B-7B): queries and keys normed as a whole before they are cut into heads, and 64 small experts.

GGUF architecture: olmoe. Muennighoff et al., "OLMoE: Open Mixture-of-Experts Language Models" (2024). The weights of
the chosen experts are what the softmax over all of them gives. Experts are as wide as feed_forward_length says. Rope
rotates halves of a head.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class OlmoeConfig(Config):
    experts: ExpertsConfig


def configure(meta: Metadata, n_vocab: int) -> OlmoeConfig:
    c = read_config(meta, "olmoe", n_vocab, experts=True)
    return OlmoeConfig(**vars(c), experts=read_experts(meta, "olmoe", renormalize=False, n_ff=c.n_ff))


def forward(g: Graph, c: OlmoeConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="whole")

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
