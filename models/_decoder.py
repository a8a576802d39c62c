"""The layers that Llama brought and many kept: grouped-query attention, rope, SwiGLU, an RMSNorm before each part."""

from dataclasses import dataclass

from subbyte.models._config import Config
from subbyte.models._graph import Graph
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Scales:
    """Factors of the embeddings, of each branch before it is added, of attention (None: its own), of the logits."""

    embedding: float = 1.0
    residual: float = 1.0
    attention: float | None = None
    logits: float = 1.0


UNSCALED = Scales()


def decoder(
    g: Graph, c: Config, w: Weights, *, interleaved: bool, rope: bool = True, scales: Scales = UNSCALED
) -> None:
    """A whole model of such layers.

    interleaved: rope rotates neighbours (2p, 2p + 1), else halves (p, p + n_rot / 2). rope: whether there is any.
    """
    kind = g.rope(c.rope.angles(w), interleaved=interleaved) if rope else None

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scales.embedding)
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        q, k, v = g.linears(n, *b.qkv(c.n_embd, c.n_q, c.n_kv))
        a = g.attention(
            q, k, v, n_head=c.n_head, n_head_kv=c.n_head_kv, head_dim=c.head_dim, rope=kind, scale=scales.attention
        )
        x = x + scales.residual * g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        f = g.glu(n, *b.gate_up(c.n_embd, c.n_ff), "silu")
        x = x + scales.residual * g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

    x_norm = g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps)
    g.head(x_norm, w.output(c.n_embd, c.n_vocab), scale=scales.logits)
