"""Granite 4 (350M to 32B-A9B): Mamba-2, grouped-query attention in a few layers, SwiGLU or routed experts.

GGUF architecture: granitehybrid. IBM, "Granite 4.0" (2025); Dao and Gu, "Transformers are SSMs" (2024). Layers without
KV heads are Mamba-2. Granite's four scales; experts are as wide as feed_forward_length says. A file whose
rope.scaling.finetuned is false has no rope at all, else it rotates neighbours (2p, 2p + 1).
"""

from dataclasses import dataclass

from subbyte.models._decoder import Scales, read_scales
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph
from subbyte.models._layers import dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import HybridConfig, Mamba2Config, mamba2, read_hybrid, read_mamba2
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class GraniteHybridConfig(HybridConfig):
    mamba: Mamba2Config
    scales: Scales
    has_rope: bool
    experts: ExpertsConfig | None


def configure(meta: Metadata, n_vocab: int) -> GraniteHybridConfig:
    c = read_hybrid(meta, "granitehybrid", n_vocab, experts=True)
    has_experts = meta.u32("granitehybrid.expert_count", 0) > 0
    return GraniteHybridConfig(
        **vars(c),
        mamba=read_mamba2(meta, "granitehybrid."),
        scales=read_scales(meta, "granitehybrid"),
        has_rope=meta.bool("granitehybrid.rope.scaling.finetuned", True),
        experts=read_experts(meta, "granitehybrid", n_ff=c.n_ff) if has_experts else None,
    )


def forward(g: Graph, c: GraniteHybridConfig, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True) if c.has_rope else None
    scales = c.scales

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scales.embedding)
    for i in range(c.n_layer):
        b, layer = w.block(i), c.of_layer(i)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        if layer.n_head_kv:
            x = x + scales.residual * self_attention(g, n, b, layer, rope=rope, scale=scales.attention)
        else:
            x = x + scales.residual * mamba2(g, n, b, c.mamba, c.n_embd, c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + scales.residual * dense_or_experts(g, n, b, layer, i, c.experts)

    x_norm = g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps)
    g.head(x_norm, w.output(c.n_embd, c.n_vocab), scale=scales.logits)
