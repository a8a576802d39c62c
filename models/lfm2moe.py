"""LFM2 mixtures of experts (8B-A1B, 24B-A2B): LFM2's layers, routed experts in all but the first ones.

GGUF architecture: lfm2moe. Liquid AI, "LFM2 Technical Report" (2025). Experts are chosen by probability plus a bias
that balances their load, and weighted by probability alone; the weights of the chosen add up to 1.
"""

from dataclasses import dataclass

from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import HybridConfig, read_hybrid, read_short_conv, short_conv
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
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for i in range(c.n_layer):
        b, layer = w.block(i), c.of_layer(i)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        if layer.n_head_kv:
            x = x + self_attention(g, n, b, layer, rope=rope, norms="heads")
        else:
            x = x + short_conv(g, n, b, c.n_embd, c.conv_width)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, layer, i, c.experts)

    g.head(g.rms_norm(x, w.vector("token_embd_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
