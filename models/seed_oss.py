"""Seed-OSS 36B: Llama's layers with biases on queries, keys and values.

GGUF architecture: seed_oss. ByteDance Seed (2025). post_attention_norm is the norm before the feed-forward part. Rope
rotates halves (p, p + n_rot / 2).
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "seed_oss", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope)

        n = g.rms_norm(x, b.vector("post_attention_norm", c.n_embd), c.eps)
        x = x + feed_forward(g, n, b, c)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
