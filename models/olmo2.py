"""OLMo 2 and 3: norms behind each part instead of before it, queries and keys normed as whole vectors.

GGUF architecture: olmo2. OLMo Team, "2 OLMo 2 Furious" (2024) and "Olmo 3" (2025). OLMo 3 sees a sliding window in
three layers of four; yarn stretches the rope of the others only. Rope rotates halves (p, p + n_rot / 2).
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._rope import Rope
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Olmo2Config(Config):
    windows: tuple[int, ...]
    rope_local: Rope


def configure(meta: Metadata, n_vocab: int) -> Olmo2Config:
    c = read_config(meta, "olmo2", n_vocab)
    windows = read_windows(meta, "olmo2", c.n_layer, window=0, period=4)
    return Olmo2Config(**vars(c), windows=windows, rope_local=Rope(c.rope.n_rot, c.rope.freq_base))


def forward(g: Graph, c: Olmo2Config, w: Weights) -> None:
    rope_global = g.rope(c.rope.angles(), interleaved=False)
    rope_local = g.rope(c.rope_local.angles(), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        rope = rope_local if window else rope_global
        attn_output = self_attention(g, x, b, c, rope=rope, norms="whole", window=window)
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        ffn_down = feed_forward(g, x, b, c)
        x = x + g.rms_norm(ffn_down, b.vector("post_ffw_norm", c.n_embd), c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))
