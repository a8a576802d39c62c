"""The layers that Llama brought and many kept: grouped-query attention, rope, SwiGLU, an RMSNorm before each part."""

from dataclasses import dataclass

from subbyte.models._config import MAX_SCALE, Config, read_scale
from subbyte.models._experts import ExpertsConfig
from subbyte.models._graph import Graph
from subbyte.models._layers import Norms, dense_or_experts, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Scales:
    """Factors of the embeddings, of each branch before it is added, of attention (None: its own), of the logits."""

    embedding: float = 1.0
    residual: float = 1.0
    attention: float | None = None
    logits: float = 1.0


UNSCALED = Scales()


def read_scales(meta: Metadata, a: str) -> Scales:
    """Granite's keys for such factors, of architecture a; logits are divided by theirs, which a file must have."""
    return Scales(
        embedding=read_scale(meta, f"{a}.embedding_scale"),
        residual=read_scale(meta, f"{a}.residual_scale"),
        attention=meta.f32(f"{a}.attention.scale", 0.0, lo=0.0, hi=MAX_SCALE) or None,
        logits=1.0 / meta.f32(f"{a}.logit_scale", lo=1.0 / MAX_SCALE, hi=MAX_SCALE),
    )


def decoder(
    g: Graph,
    c: Config,
    w: Weights,
    *,
    interleaved: bool,
    rope: bool = True,
    norms: Norms = "none",
    scales: Scales = UNSCALED,
    routed: ExpertsConfig | None = None,
) -> None:
    """A whole model of such layers.

    interleaved: rope rotates neighbours (2p, 2p + 1), else halves (p, p + n_rot / 2). rope: whether there is any.
    norms: of queries and keys. routed: of layers that have routed experts.
    """
    kind = g.rope(c.rope.angles(w), interleaved=interleaved) if rope else None

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scales.embedding)
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + scales.residual * self_attention(g, n, b, c, rope=kind, norms=norms, scale=scales.attention)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + scales.residual * dense_or_experts(g, n, b, c, layer, routed)

    x_norm = g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps)
    g.head(x_norm, w.output(c.n_embd, c.n_vocab), scale=scales.logits)
