"""Hunyuan 0.5B to 7B: a Llama whose queries and keys are normed head by head after rope.

GGUF architecture: hunyuan-dense. Tencent, "Hunyuan-Large: An Open-Source MoE Model" (2024), whose dense siblings these
are. The base of rope already holds what stretches it to long contexts. Rope rotates halves (p, p + n_rot / 2).
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "hunyuan-dense", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope, norms="heads", norm_after_rope=True)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + feed_forward(g, n, b, c)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
