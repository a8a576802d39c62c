"""The tensors of a layer of a random model, by the names that its architecture gives them."""

from subbyte.runtime.synthetic.shapes import (
    DeltaNetShape,
    ExpertShape,
    LatentShape,
    LayerShape,
    Shape,
    ShortConvShape,
)

Shapes = dict[str, tuple[int, ...]]
"""Of each tensor the numpy shape: rows first, before them the experts."""

QWEN35 = ("qwen35", "qwen35moe")


def layer_tensors(s: Shape, layer: LayerShape) -> Shapes:
    """Names behind `blk.N.`, in the order of the file."""
    shapes: Shapes = {}
    if layer.n_head:
        shapes |= _latent_attention(s, s.latent, layer.n_head) if s.latent else _attention(s, layer)
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
    if s.architecture == "gemma4":
        norms = ("post_attention_norm", "post_ffw_norm")
        shapes |= {f"{name}.weight": (s.n_embd,) for name in norms} | {"layer_output_scale.weight": (1,)}
    if s.n_embd_layer:
        matrices = {"inp_gate": (s.n_embd_layer, s.n_embd), "proj": (s.n_embd, s.n_embd_layer)}
        shapes |= {f"{name}.weight": shape for name, shape in matrices.items()} | {"post_norm.weight": (s.n_embd,)}
    return shapes


def embeddings_of_layers(s: Shape) -> Shapes:
    """What all layers have of a token, in one tensor of embeddings and one that maps those of the model."""
    n = len(s.layers) * s.n_embd_layer
    return {
        "per_layer_token_embd.weight": (s.vocabulary.n_tokens, n),
        "per_layer_model_proj.weight": (n, s.n_embd),
        "per_layer_proj_norm.weight": (s.n_embd_layer,),
    }


def _attention(s: Shape, layer: LayerShape) -> Shapes:
    head_dim = layer.local.head_dim if layer.local else s.head_dim
    n, q, kv = s.n_embd, layer.n_head * head_dim, layer.n_head_kv * head_dim
    gates = q if s.architecture in QWEN35 else 0  # of each head behind its queries
    matrices = {"attn_q": (q + gates, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q)}
    shapes: Shapes = {"attn_norm.weight": (n,), **{f"{name}.weight": shape for name, shape in matrices.items()}}
    if s.architecture in ("qwen3", "qwen3moe", "lfm2", "gemma4", *QWEN35):
        shapes |= {"attn_q_norm.weight": (head_dim,), "attn_k_norm.weight": (head_dim,)}
    if s.architecture == "gpt-oss":
        shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
        shapes["attn_sinks.weight"] = (layer.n_head,)
    if not layer.own_keys:
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(("attn_k", "attn_v"))}
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


def _latent_attention(s: Shape, of: LatentShape, n_head: int) -> Shapes:
    return {
        "attn_norm.weight": (s.n_embd,),
        "attn_q_a.weight": (of.q_rank, s.n_embd),
        "attn_q_a_norm.weight": (of.q_rank,),
        "attn_q_b.weight": (n_head * (of.n_nope + of.n_rot), of.q_rank),
        "attn_kv_a_mqa.weight": (of.kv_rank + of.n_rot, s.n_embd),
        "attn_kv_a_norm.weight": (of.kv_rank,),
        "attn_k_b.weight": (n_head, of.kv_rank, of.n_nope),
        "attn_v_b.weight": (n_head, of.n_value, of.kv_rank),
        "attn_output.weight": (s.n_embd, n_head * of.n_value),
    }


def _experts(s: Shape, of: ExpertShape) -> Shapes:
    shapes: Shapes = {"ffn_gate_inp.weight": (of.n_expert, s.n_embd)}
    routed = _feed_forward("_exps", s.n_embd, of.n_ff)
    shapes |= {name: (of.n_expert, *shape) for name, shape in routed.items()}
    if s.architecture == "gpt-oss":
        biases = {name: shape[:-1] for name, shape in shapes.items()}
        shapes |= {name.replace(".weight", ".bias"): shape for name, shape in biases.items()}
    if of.weights_scale is not None:
        shapes["exp_probs_b.bias"] = (of.n_expert,)
    if of.n_ff_shared:
        shapes |= _feed_forward("_shexp", s.n_embd, of.n_ff_shared)
    if s.architecture in ("qwen2moe", *QWEN35):
        shapes["ffn_gate_inp_shexp.weight"] = (s.n_embd,)
    return shapes


def _feed_forward(suffix: str, n: int, n_ff: int) -> Shapes:
    shapes = {"ffn_gate": (n_ff, n), "ffn_up": (n_ff, n), "ffn_down": (n, n_ff)}
    return {f"{name}{suffix}.weight": shape for name, shape in shapes.items()}
