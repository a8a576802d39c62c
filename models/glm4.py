"""GLM-4-0414 and GLM-Z1 (9B, 32B): norms before and after each part, rope in the first half of a head.

GGUF architecture: glm4. GLM Team, "ChatGLM: A Family of Large Language Models from GLM-130B to GLM-4 All Tools" (2024).
Rope rotates neighbours (2p, 2p + 1) among the first n_rot values. ffn_up holds the rows of gate and up.
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "glm4", n_vocab, partial_rope=True)


def forward(g: Graph, c: Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        attn_output = self_attention(g, n, b, c, rope=rope)
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        ffn_down = feed_forward(g, n, b, c)
        x = x + g.rms_norm(ffn_down, b.vector("post_ffw_norm", c.n_embd), c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
