"""EXAONE 4: norms behind each part instead of before it, normed queries and keys, local layers with rope.

GGUF architecture: exaone4. LG AI Research, "EXAONE 4.0: Unified Large Language Models Integrating Non-reasoning and
Reasoning Modes" (2025). The 32B sees a sliding window in three layers of four, and only these know positions: its
global layers have no rope. The 1.2B has global layers only, all of them with rope. Rope rotates halves of a head.
"""

from dataclasses import dataclass

from subbyte.errors import UnsupportedError
from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Exaone4Config(Config):
    windows: tuple[int, ...]

    def has_rope(self, layer: int) -> bool:
        return self.windows[layer] > 0 or not any(self.windows)


def configure(meta: Metadata, n_vocab: int) -> Exaone4Config:
    c = read_config(meta, "exaone4", n_vocab)
    if meta.u32("exaone4.nextn_predict_layers", 0):
        raise UnsupportedError("exaone4.nextn_predict_layers: layers that predict further tokens are not supported")
    # The 32B alone has 64 layers; a file of it may leave its window out.
    windows = read_windows(meta, "exaone4", c.n_layer, window=4096 if c.n_layer == 64 else 0, period=4)
    return Exaone4Config(**vars(c), windows=windows)


def forward(g: Graph, c: Exaone4Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        rope_of_layer = rope if c.has_rope(layer) else None
        attn_output = self_attention(g, x, b, c, rope=rope_of_layer, norms="heads", window=window)
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        ffn_down = feed_forward(g, x, b, c)
        x = x + g.rms_norm(ffn_down, b.vector("post_ffw_norm", c.n_embd), c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
