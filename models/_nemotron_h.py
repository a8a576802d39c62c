"""Models each of whose layers is one part alone: Mamba-2, attention without rope, or a feed-forward part of ReLU^2."""

from dataclasses import dataclass

from subbyte.errors import UnsupportedError
from subbyte.models._experts import ExpertsConfig, experts, read_experts
from subbyte.models._graph import Graph, Normed, Projection, Routed
from subbyte.models._layers import self_attention
from subbyte.models._metadata import Metadata
from subbyte.models._recurrent import HybridConfig, Mamba2Config, mamba2, read_hybrid, read_mamba2
from subbyte.models._weights import Weights

EPS = "attention.layer_norm_rms_epsilon"
OTHER_EPS = "attention.layer_norm_epsilon"  # what files have that lack the former


@dataclass(frozen=True)
class NemotronHConfig(HybridConfig):
    """experts: in the place of feed-forward parts, or None."""

    mamba: Mamba2Config
    experts: ExpertsConfig | None


def read_nemotron_h(meta: Metadata, architecture: str, n_vocab: int) -> NemotronHConfig:
    a = f"{architecture}."
    c = read_hybrid(
        meta, architecture, n_vocab, lo_ff=0, experts=True, predicts=True, partial_rope=True,
        eps=EPS if a + EPS in meta else OTHER_EPS,
    )  # fmt: skip
    if size := meta.u32(a + "moe_latent_size", 0):
        raise UnsupportedError(
            f"{a}moe_latent_size = {size}: experts of a latent input are not supported; 0 is allowed"
        )
    n_ff = max(layer.n_ff for layer in c.layers)
    has_experts = meta.u32(a + "expert_count", 0) > 0
    if has_experts:
        n_ff //= meta.u32(a + "expert_used_count", lo=1)
    return NemotronHConfig(
        **vars(c),
        mamba=read_mamba2(meta, a),
        experts=read_experts(meta, architecture, gating="sigmoid", renormalize=False, n_ff=max(n_ff, 1))
        if has_experts
        else None,
    )


def nemotron_h_decoder(g: Graph, c: NemotronHConfig, w: Weights) -> None:
    """A whole model of such layers."""
    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for i in range(c.n_layer):
        b, layer = w.block(i), c.of_layer(i)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        if layer.n_ff:
            x = x + relu_squared(g, n, b, c, layer.n_ff)
        elif layer.n_head_kv:
            x = x + self_attention(g, n, b, layer, rope=None)
        else:
            x = x + mamba2(g, n, b, c.mamba, c.n_embd, c.eps)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))


def relu_squared(g: Graph, x: Normed, b: Weights, c: NemotronHConfig, n_ff: int) -> Projection | Routed:
    """ffn_down @ max(ffn_up @ x, 0)^2, of one network or of routed experts."""
    if c.experts is not None:
        return g.experts(x, experts(b, c.n_embd, c.experts, gated=False), "relu")
    return g.linear(g.relu_squared(x, b.linear("ffn_up", c.n_embd, n_ff)), b.linear("ffn_down", n_ff, c.n_embd))
