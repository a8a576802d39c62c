"""SmolLM3: a Llama in which every fourth layer has no rope.

GGUF architecture: smollm3. Hugging Face, "SmolLM3: smol, multilingual, long-context reasoner" (2025); Yang et al.,
"Rope to Nope and Back Again" (2025). Rope rotates neighbours (2p, 2p + 1).
"""

from subbyte.models._config import Config, read_config
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


def configure(meta: Metadata, n_vocab: int) -> Config:
    return read_config(meta, "smollm3", n_vocab)


def forward(g: Graph, c: Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(), interleaved=True)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + self_attention(g, n, b, c, rope=rope if (layer + 1) % 4 else None)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        x = x + feed_forward(g, n, b, c)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
