"""Models most of whose layers are gated delta nets, the others gated attention: Qwen3-Next and what followed it."""

from dataclasses import dataclass

from subbyte.errors import FormatError
from subbyte.models._config import MAX_HEAD_DIM, MAX_LAYERS, MAX_WIDTH, Config, read_config
from subbyte.models._experts import ExpertsConfig, read_experts
from subbyte.models._graph import Graph, Normed, Projection, Value
from subbyte.models._layers import dense_or_experts
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._recurrent import read_conv_width
from subbyte.models._weights import Weights


@dataclass(frozen=True)
class DeltaNetConfig:
    """n_heads: of values; each n_heads / n_key_heads of them share a query and key head. width: of the convolution."""

    n_key_heads: int
    n_heads: int
    head_dim: int
    width: int

    @property
    def n_values(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def n_channels(self) -> int:
        return 2 * self.n_key_heads * self.head_dim + self.n_values


@dataclass(frozen=True)
class DeltaConfig(Config):
    """recurrent: of each layer, whether it is a delta net. order: which key head a value head has, see `Graph`."""

    delta: DeltaNetConfig
    recurrent: tuple[bool, ...]
    order: str
    experts: ExpertsConfig | None


def read_delta_config(meta: Metadata, architecture: str, n_vocab: int, *, order: str, experts: bool) -> DeltaConfig:
    """The hyper-parameters of a model of such layers. experts: whether all of them have routed experts."""
    c = read_config(
        meta, architecture, n_vocab, partial_rope=True, experts=experts, predicts=True, n_ff=0 if experts else None
    )
    if 2 * c.n_q > MAX_WIDTH:
        found = f"{architecture}.attention.head_count = {c.n_head} heads of {c.head_dim} values"
        raise FormatError(f"{found}; all together may have {MAX_WIDTH // 2}: {HINT}")
    meta.u32_or_array(f"{architecture}.rope.dimension_sections", 4, 0)  # of pictures: a text has one position for all
    return DeltaConfig(
        **vars(c),
        delta=read_delta_net(meta, f"{architecture}."),
        recurrent=read_recurrent_layers(meta, f"{architecture}.", c.n_layer),
        order=order,
        experts=read_experts(meta, architecture, shared_gate=True) if experts else None,
    )


def read_recurrent_layers(meta: Metadata, a: str, n_layer: int) -> tuple[bool, ...]:
    """An array says which layers are recurrent, or each interval-th, 4 where a file doesn't say, is not."""
    n_blocks = meta.u32(a + "block_count", lo=n_layer, hi=MAX_LAYERS)
    key = a + "attention.recurrent_layers"
    interval = meta.u32(a + "full_attention_interval", 4, lo=1)
    given = meta.u32_or_bools(key, n_blocks, 0)
    if isinstance(given, list):
        return tuple(given[:n_layer])
    if given:
        raise FormatError(f"{key} = {given}; an array of {n_blocks} bools is allowed: {HINT}")
    return tuple((i + 1) % interval != 0 for i in range(n_layer))


def read_delta_net(meta: Metadata, a: str) -> DeltaNetConfig:
    n_heads = meta.u32(a + "ssm.time_step_rank", lo=1, hi=MAX_WIDTH)
    n_key_heads = meta.u32(a + "ssm.group_count", lo=1, hi=n_heads)
    head_dim = meta.u32(a + "ssm.state_size", lo=1, hi=MAX_HEAD_DIM)
    n_values = meta.u32(a + "ssm.inner_size", lo=1, hi=MAX_WIDTH // 3)  # queries and keys are as many at most
    if n_heads % n_key_heads:
        raise FormatError(
            f"{a}ssm.group_count = {n_key_heads} does not divide {a}ssm.time_step_rank = {n_heads}: {HINT}"
        )
    if n_values != n_heads * head_dim:
        raise FormatError(
            f"{a}ssm.inner_size = {n_values} is not {a}ssm.time_step_rank = {n_heads} times {a}ssm.state_size = "
            f"{head_dim}: {HINT}"
        )
    return DeltaNetConfig(n_key_heads, n_heads, head_dim, read_conv_width(meta, a + "ssm.conv_kernel"))


def delta_decoder(g: Graph, c: DeltaConfig, w: Weights) -> None:
    """A whole model of such layers. Norm weights are stored with their 1 added."""
    rope = g.rope(c.rope.angles(w), interleaved=False)

    x = g.embed(w.linear("token_embd", c.n_embd, c.n_vocab))
    for layer in range(c.n_layer):
        b = w.block(layer)

        n = g.rms_norm(x, b.vector("attn_norm", c.n_embd), c.eps)
        x = x + (delta_net(g, n, b, c) if c.recurrent[layer] else gated_attention(g, n, b, c, rope))

        n = g.rms_norm(x, b.vector("post_attention_norm", c.n_embd), c.eps)
        x = x + dense_or_experts(g, n, b, c, layer, c.experts)

    g.head(g.rms_norm(x, w.vector("output_norm", c.n_embd), c.eps), w.output(c.n_embd, c.n_vocab))


def delta_net(g: Graph, x: Normed, b: Weights, c: DeltaConfig) -> Projection:
    """ssm_out @ the delta net's heads."""
    d = c.delta
    qkv, z, beta, alpha = delta_inputs(g, x, b, c)
    y = g.delta_net(
        qkv, z, beta, alpha, n_key_heads=d.n_key_heads, n_heads=d.n_heads, head_dim=d.head_dim, order=c.order,
        width=d.width, convolution=b.convolution("ssm_conv1d", d.width, d.n_channels),
        a=b.floats("ssm_a", (d.n_heads,)), dt=b.vector("ssm_dt", d.n_heads, "bias"),
        norm=b.vector("ssm_norm", d.head_dim), eps=c.eps,
    )  # fmt: skip
    return g.linear(y, b.linear("ssm_out", d.n_values, c.n_embd))


def delta_inputs(g: Graph, x: Normed, b: Weights, c: DeltaConfig) -> list[Value]:
    """Queries with keys and values, and the gates z, beta and alpha.

    beta and alpha may be rows of one matrix, of each key head those of its value heads' beta, then of their alpha.
    """
    d, rows = c.delta, c.delta.n_heads // c.delta.n_key_heads
    qkv_z = [b.linear("attn_qkv", c.n_embd, d.n_channels), b.linear("attn_gate", c.n_embd, d.n_values)]
    if "ssm_ba" not in b:
        return g.linears(
            x, *qkv_z, b.linear("ssm_beta", c.n_embd, d.n_heads), b.linear("ssm_alpha", c.n_embd, d.n_heads)
        )
    qkv, z, both = g.linears(x, *qkv_z, b.linear("ssm_ba", c.n_embd, 2 * d.n_heads))
    return [qkv, z, *g.split(both, d.n_key_heads, rows, rows)]


def gated_attention(g: Graph, x: Normed, b: Weights, c: Config, rope: int) -> Projection:
    """attn_output @ (attention * sigmoid(gate)); attn_q has the rows of each head's query, then of its gate."""
    q_gate, k, v = g.linears(x, *b.qkv(c.n_embd, 2 * c.n_q, c.n_kv))
    q, gate = g.split(q_gate, c.n_head, c.head_dim, c.head_dim)
    a = g.attention(
        q, k, v, n_head=c.n_head, n_head_kv=c.n_head_kv, head_dim=c.head_dim, rope=rope, eps=c.eps,
        q_norm=b.vector("attn_q_norm", c.head_dim), k_norm=b.vector("attn_k_norm", c.head_dim),
    )  # fmt: skip
    return g.linear(g.sigmoid_gated(a, gate), b.linear("attn_output", c.n_q, c.n_embd))
