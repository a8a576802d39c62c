"""The tensors of a layer of a random model, by the names that its architecture gives them."""

from subbyte.runtime.synthetic.shapes import DeltaNetShape, ExpertShape, LayerShape, Shape, ShortConvShape

Shapes = dict[str, tuple[int, ...]]
"""Of each tensor the numpy shape: rows first, before them the experts."""

QWEN35 = ("qwen35", "qwen35moe")


def layer_tensors(s: Shape, layer: LayerShape) -> Shapes:
    """Names behind `blk.N.`, in the order of the file."""
    shapes: Shapes = {}
    if layer.n_head:
        shapes |= _attention(s, layer)
    if isinstance(layer.state, DeltaNetShape):
        shapes |= _delta_net(s.n_embd, layer.state)
    if isinstance(layer.state, ShortConvShape):
        shapes |= _short_conv(s.n_embd, layer.state)
    if layer.n_ff or layer.experts:
        behind = s.architecture in ("gpt-oss", *QWEN35)
        shapes["post_attention_norm.weight" if behind else "ffn_norm.weight"] = (s.n_embd,)
    if layer.n_ff:
        shapes |= _feed_forward("", s.n_embd, layer.n_ff)
    if layer.experts:
        shapes |= _experts(s, layer.experts)
    return shapes


def _attention(s: Shape, layer: LayerShape) -> Shapes:
    n, q, kv = s.n_embd, layer.n_head * s.head_dim, layer.n_head_kv * s.head_dim
    gates = q if s.architecture in QWEN35 else 0  # of each head behind its queries
    matrices = {"attn_q": (q + gates, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q)}
    shapes: Shapes = {"attn_norm.weight": (n,), **{f"{name}.weight": shape for name, shape in matrices.items()}}
    if s.architecture in ("qwen3", "qwen3moe", "lfm2", *QWEN35):
        shapes |= {"attn_q_norm.weight": (s.head_dim,), "attn_k_norm.weight": (s.head_dim,)}
    if s.architecture == "gpt-oss":
        shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
        shapes["attn_sinks.weight"] = (layer.n_head,)
    return shapes


def _delta_net(n: int, of: DeltaNetShape) -> Shapes:
    n_value = of.n_head_v * of.head_dim
    return {
        "attn_norm.weight": (n,),
        "attn_qkv.weight": (of.n_convolved, n),
        "attn_gate.weight": (n_value, n),
        "ssm_conv1d.weight": (of.n_convolved, of.kernel),
        "ssm_dt.bias": (of.n_head_v,),
        "ssm_a": (of.n_head_v,),
        "ssm_alpha.weight": (of.n_head_v, n),
        "ssm_beta.weight": (of.n_head_v, n),
        "ssm_norm.weight": (of.head_dim,),
        "ssm_out.weight": (n, n_value),
    }


def _short_conv(n: int, of: ShortConvShape) -> Shapes:
    return {
        "attn_norm.weight": (n,),
        "shortconv.conv.weight": (n, of.kernel),
        "shortconv.in_proj.weight": (3 * n, n),
        "shortconv.out_proj.weight": (n, n),
    }


def _experts(s: Shape, of: ExpertShape) -> Shapes:
    shapes: Shapes = {"ffn_gate_inp.weight": (of.n_expert, s.n_embd)}
    routed = _feed_forward("_exps", s.n_embd, of.n_ff)
    shapes |= {name: (of.n_expert, *shape) for name, shape in routed.items()}
    if s.architecture == "gpt-oss":
        biases = {name: shape[:-1] for name, shape in shapes.items()}
        shapes |= {name.replace(".weight", ".bias"): shape for name, shape in biases.items()}
    if of.n_ff_shared:
        shapes |= {**_feed_forward("_shexp", s.n_embd, of.n_ff_shared), "ffn_gate_inp_shexp.weight": (s.n_embd,)}
    return shapes


def _feed_forward(suffix: str, n: int, n_ff: int) -> Shapes:
    shapes = {"ffn_gate": (n_ff, n), "ffn_up": (n_ff, n), "ffn_down": (n, n_ff)}
    return {f"{name}{suffix}.weight": shape for name, shape in shapes.items()}
