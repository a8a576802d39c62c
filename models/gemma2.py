"""Gemma 2: norms before and after each part, soft caps of scores and logits, a sliding window in every other layer.

GGUF architecture: gemma2. Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size" (2024). Norm
weights are stored as 1 + w. Rope rotates halves (p, p + n_rot / 2).
"""

from dataclasses import dataclass

from subbyte.models._config import Config, read_config, read_windows
from subbyte.models._graph import Graph
from subbyte.models._layers import feed_forward, self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class Gemma2Config(Config):
    windows: tuple[int, ...]
    attention_softcap: float
    softcap: float

    @property
    def attention_scale(self) -> float:
        """1/sqrt(head_dim), but for the 46-layer 27B, which was trained with 1/sqrt(n_embd / n_head)."""
        return float((self.n_embd / self.n_head if self.n_layer == 46 else self.head_dim) ** -0.5)


def configure(meta: Metadata, n_vocab: int) -> Gemma2Config:
    c = read_config(meta, "gemma2", n_vocab)
    return Gemma2Config(
        **vars(c),
        windows=read_windows(meta, "gemma2", c.n_layer, window=4096, period=2),
        attention_softcap=meta.f32("gemma2.attn_logit_softcapping", 50.0, lo=0.0, hi=1e6),
        softcap=meta.f32("gemma2.final_logit_softcapping", 30.0, lo=0.0, hi=1e6),
    )


def forward(g: Graph, c: Gemma2Config, w: Weights) -> None:
    rope = g.rope(c.rope.angles(), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab), scale=c.n_embd**0.5)
    for layer, window in enumerate(c.windows):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        attn_output = self_attention(
            g, n, b, c, rope=rope, window=window, scale=c.attention_scale, softcap=c.attention_softcap
        )
        x = x + g.rms_norm(attn_output, b.vector("post_attention_norm", c.n_embd), c.eps)

        n = g.rms_norm(x, b.vector("ffn_norm", c.n_embd), c.eps)
        ffn_down = feed_forward(g, n, b, c, "gelu")
        x = x + g.rms_norm(ffn_down, b.vector("post_ffw_norm", c.n_embd), c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab), c.softcap)
