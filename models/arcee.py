"""AFM 4.5B: a Llama whose feed-forward part is a squared ReLU, without a gate.

GGUF architecture: arcee. Arcee AI (2025). Rope rotates neighbours (2p, 2p + 1).
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "arcee", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        f = g.relu_squared(n, b.linear("ffn_up", c.n_embd, c.n_ff))
        x = x + g.linear(f, b.linear("ffn_down", c.n_ff, c.n_embd))

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
