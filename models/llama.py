"""Llama 2 and 3, Mistral, SmolLM2 and their many fine-tunes: grouped-query attention, rope, SwiGLU.

GGUF architecture: llama. Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023). The rows of
attn_q and attn_k are stored in the order that makes rope rotate neighbours (2p, 2p + 1). Files of Llama 3.1 and later
carry its frequency factors as rope_freqs.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "llama", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    decoder(g, c, w, interleaved=True)


def decoder(g: Graph, c: Config, w: Weights, *, interleaved: bool) -> None:
    """The whole model; architectures that store their rows otherwise rotate halves (p, p + n_rot / 2) of a head."""
    rope = g.rope(c.rope.angles(w), interleaved=interleaved)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        q, k, v = g.linears(n, *b.qkv(c.n_embd, c.n_q, c.n_kv))
        a = g.attention(q, k, v, n_head=c.n_head, n_head_kv=c.n_head_kv, head_dim=c.head_dim, rope=rope)
        x = x + g.linear(a, b.linear("attn_output", c.n_q, c.n_embd))

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        f = g.glu(n, *b.gate_up(c.n_embd, c.n_ff), "silu")
        x = x + g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
