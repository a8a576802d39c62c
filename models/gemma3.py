"""Gemma 3 (text): norms before and after each part, normed queries and keys, five local layers to one global.

GGUF architecture: gemma3. Gemma Team, "Gemma 3 Technical Report" (2025). Local layers see a sliding window and have a
rope base of their own. Norm weights are stored as 1 + w.
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._rope import MIN_FREQ_BASE, Rope
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Gemma3Config(Config):
    windows: tuple[int, ...]
    rope_local: Rope
    softcap: float

    @property
    def attention_scale(self) -> float:
        """1/sqrt(head_dim), but for the 62-layer 27B, which was trained with 1/sqrt(n_embd / n_head)."""
        return float((self.n_embd / self.n_head if self.n_layer == 62 else self.head_dim) ** -0.5)


def configure(meta: Metadata, n_vocab: int) -> Gemma3Config:
    c = read_config(meta, "gemma3", n_vocab, partial_rope=True)
    return Gemma3Config(
        **vars(c),
        windows=read_windows(meta, "gemma3", c.n_layer, window=0, period=6),
        rope_local=Rope(c.rope.n_rot, meta.f32("gemma3.rope.freq_base_swa", 10000.0, lo=MIN_FREQ_BASE)),
        softcap=meta.f32("gemma3.final_logit_softcapping", 0.0, lo=0.0, hi=1e6),
    )


def forward(g: Graph, c: Gemma3Config, w: Weights) -> None:
    rope_global = g.rope(c.rope.angles(w), interleaved=False)
    rope_local = g.rope(c.rope_local.angles(), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scale=c.n_embd**0.5)
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        rope = rope_local if window else rope_global
        attn_output = self_attention(g, n, b, c, rope=rope, norms="heads", window=window, scale=c.attention_scale)
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        ffn_down = feed_forward(g, n, b, c, "gelu")
        x = x + g.rms_norm(ffn_down, b.vector("post_ffw_norm", c.n_embd), c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab), c.softcap)
