"""The tensors of a layer of a random model, by the names that its architecture gives them."""

from subbyte.runtime.synthetic.shapes import ExpertShape, LatentShape, LayerShape, Shape

Shapes = dict[str, tuple[int, ...]]
"""Of each tensor the numpy shape: rows first, before them the experts."""


def layer_tensors(s: Shape, layer: LayerShape) -> Shapes:
    """Names behind `blk.N.`, in the order of the file."""
    shapes: Shapes = {}
    if layer.n_head:
        shapes |= _latent_attention(s, s.latent, layer.n_head) if s.latent else _attention(s, layer)
    if layer.n_ff or layer.experts:
        shapes["post_attention_norm.weight" if s.architecture == "gpt-oss" else "ffn_norm.weight"] = (s.n_embd,)
    if layer.n_ff:
        shapes |= _feed_forward("", s.n_embd, layer.n_ff)
    if layer.experts:
        shapes |= _experts(s, layer.experts)
    return shapes


def _attention(s: Shape, layer: LayerShape) -> Shapes:
    n, q, kv = s.n_embd, layer.n_head * s.head_dim, layer.n_head_kv * s.head_dim
    matrices = {"attn_q": (q, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q)}
    shapes: Shapes = {"attn_norm.weight": (n,), **{f"{name}.weight": shape for name, shape in matrices.items()}}
    if s.architecture in ("qwen3", "qwen3moe"):
        shapes |= {"attn_q_norm.weight": (s.head_dim,), "attn_k_norm.weight": (s.head_dim,)}
    if s.architecture == "gpt-oss":
        shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
        shapes["attn_sinks.weight"] = (layer.n_head,)
    return shapes


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
    if s.architecture == "qwen2moe":
        shapes["ffn_gate_inp_shexp.weight"] = (s.n_embd,)
    return shapes


def _feed_forward(suffix: str, n: int, n_ff: int) -> Shapes:
    shapes = {"ffn_gate": (n_ff, n), "ffn_up": (n_ff, n), "ffn_down": (n, n_ff)}
    return {f"{name}{suffix}.weight": shape for name, shape in shapes.items()}
