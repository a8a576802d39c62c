"""Tiny random models written with gguf-py, and their forward pass in plain numpy: the oracle of the engine's tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from blocks import Bytes, random_matrix
from expert_oracle import clamped_swiglu, expert_tensors, routed_experts, swiglu
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from recurrent_oracle import (
    DELTA_NETS,
    HYBRIDS,
    NOT_MATRICES,
    ONE_PART,
    SHORT_CONVS,
    recurrent,
    recurrent_keys,
    recurrent_tensors,
)

from subbyte.kernels import FORMATS

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Shape = dict[str, Any]  # numbers by name; a list has one for each layer
N_VOCAB = 268
MERGES = ["t h", "th e", "i n", "a n", "e r", "o n", "Ġ the", "Ġ a", "in g", "an d"]

LLAMA = {"n_layer": 2, "n_embd": 64, "n_head": 4, "n_head_kv": 2, "head_dim": 16, "n_ff": 96}
MIXED = {"n_layer": 4, "n_embd": 256, "n_head": 4, "n_head_kv": 2, "head_dim": 64, "n_ff": 512}
QWEN3 = {"n_layer": 2, "n_embd": 64, "n_head": 4, "n_head_kv": 2, "head_dim": 24, "n_ff": 96}
GEMMA3 = {"n_layer": 7, "n_embd": 64, "n_head": 4, "n_head_kv": 1, "head_dim": 32, "n_ff": 96, "window": 8}
PHI3 = {**LLAMA, "n_rot": 12, "n_ctx_orig": 32}
PHI3_MAGNITUDE = 1.25
MOE = {"n_expert": 7, "n_used": 3, "n_ff_exp": 32}
DEEPSEEK2 = {  # head_dim: of a head, the part that rope does not turn
    **LLAMA,
    **MOE,
    "n_layer": 3,
    "n_head_kv": 1,
    "head_dim": 32,
    "n_rot": 8,
    "q_rank": 96,
    "kv_rank": 128,
    "n_value": 40,
    "n_expert": 8,
    "n_ff_shexp": 64,
    "n_dense": 1,
}
EXAONE4 = {**LLAMA, "n_layer": 5, "window": 8}
GEMMA4 = {  # the last half attends to keys of the first, global layers have no values of their own
    "n_layer": 6, "n_embd": 64, "n_head": 4, "n_head_kv": [2, 2, 1, 2, 2, 1], "head_dim": 32, "head_dim_local": 16,
    "n_ff": [96] * 3 + [160] * 3, "window": 8, "n_shared": 3, "n_embd_layer": 32,
}  # fmt: skip
GEMMA4_EXPERTS = {**GEMMA4, **MOE, "n_layer": 3, "n_head_kv": [2, 2, 1], "n_ff": 96, "n_shared": 0, "n_embd_layer": 0}
# Layers of every kind: with n_head 0 no attention, with n_head_kv 0 linear attention, with n_ff 0 no feed-forward part.
DECI = {"n_layer": 9, "n_embd": 64, "head_dim": 16,
        "n_head":    [4, 0, 6, 1, 6, 0, 2, 8, 4],
        "n_head_kv": [2, 0, 0, 1, 3, 0, 2, 0, 1],
        "n_ff":      [96, 64, 128, 32, 0, 0, 160, 0, 96]}  # fmt: skip
# recurrent: of each layer, whether it is. Three value heads share a key head, two heads of Mamba-2 the keys of a group.
DELTA_NET = {**QWEN3, "n_layer": 4, "n_rot": 8, "recurrent": [1, 1, 0, 1], "conv_width": 4, "ssm_heads": 6,
             "ssm_groups": 2, "ssm_state": 16}  # fmt: skip
LFM2 = {**LLAMA, "n_layer": 4, "n_head_kv": [0, 2, 0, 0], "recurrent": [1, 0, 1, 1], "conv_width": 3}
MAMBA2 = {"conv_width": 4, "ssm_heads": 4, "ssm_groups": 2, "ssm_state": 24, "ssm_inner": 80}
NEMOTRON = {**QWEN3, **MAMBA2, "n_layer": 5, "n_head_kv": [0, 0, 2, 0, 0], "recurrent": [1, 0, 0, 1, 0],
            "n_ff": [0, 96, 0, 0, 64]}  # fmt: skip

SHAPES: dict[str, Shape] = {
    "llama": LLAMA, "qwen2": LLAMA, "exaone": LLAMA, "qwen3": QWEN3, "gemma3": GEMMA3, "exaone4": EXAONE4, "deci": DECI,
    "phi3": PHI3, "arcee": LLAMA, "ernie4_5": LLAMA, "gemma": LLAMA, "gemma2": {**LLAMA, "n_layer": 3, "window": 8},
    "glm4": {**LLAMA, "head_dim": 32, "n_rot": 16}, "granite": LLAMA, "hunyuan-dense": LLAMA, "minicpm": LLAMA,
    "mistral3": LLAMA, "olmo2": {**LLAMA, "n_layer": 5, "window": 8}, "seed_oss": LLAMA,
    "smollm3": {**LLAMA, "n_layer": 5},
    "qwen3moe": {**QWEN3, **MOE}, "qwen2moe": {**LLAMA, **MOE, "n_ff_shexp": 64}, "olmoe": {**LLAMA, **MOE},
    "mellum": {**QWEN3, **MOE, "n_layer": 5, "window": 8}, "minimax-m2": {**LLAMA, **MOE, "n_rot": 8},
    "gpt-oss": {**LLAMA, **MOE, "window": 8}, "granitemoe": {**LLAMA, **MOE, "n_ff_shexp": 64},
    "hunyuan-moe": {**LLAMA, **MOE, "n_ff_shexp": 64}, "ernie4_5-moe": {**LLAMA, **MOE, "n_ff_shexp": 64, "n_dense": 1},
    "glm4moe": {**LLAMA, **MOE, "n_ff_shexp": 32, "n_dense": 1, "n_rot": 8},
    "exaone-moe": {**LLAMA, **MOE, "n_layer": 5, "window": 8, "n_ff_shexp": 64, "n_dense": 1},
    "deepseek2": DEEPSEEK2,
    "bailingmoe2": {**LLAMA, **MOE, "n_expert": 8, "n_ff_shexp": 32, "n_dense": 1, "n_rot": 8},
    "gemma4": GEMMA4,
    "qwen35": DELTA_NET, "qwen35moe": {**DELTA_NET, **MOE, "n_ff_shexp": 64},
    "qwen3next": {**DELTA_NET, **MOE, "n_ff_shexp": 64},
    "lfm2": LFM2, "lfm2moe": {**LFM2, **MOE, "n_dense": 1},
    "granitehybrid": {**LLAMA, **MAMBA2, "n_layer": 3, "n_head_kv": [0, 2, 0], "recurrent": [1, 0, 1]},
    "nemotron_h": NEMOTRON, "nemotron_h_moe": {**NEMOTRON, **MOE, "n_ff_shexp": 64},
    "falcon-h1": {**LLAMA, **MAMBA2, "recurrent": 1},
}  # fmt: skip
VARIATIONS = {
    "ernie4_5", "gemma", "glm4", "granite", "hunyuan-dense", "minicpm", "mistral3", "olmo2", "seed_oss", "smollm3",
    "arcee", "olmoe", "mellum", "minimax-m2", "granitemoe", "hunyuan-moe", "ernie4_5-moe", "glm4moe", "exaone-moe",
    "qwen35moe", "qwen3next", "lfm2moe", "granitehybrid", "nemotron_h_moe",
}  # fmt: skip
"""What these have of their own is done to one row alone: others stand for them where steps are cut and types mixed."""
APART = [arch for arch in SHAPES if arch not in VARIATIONS]
PERIODS = {  # one layer in so many has no window
    "gemma2": 2, "gpt-oss": 2, "gemma3": 6, "gemma4": 3, "exaone4": 4, "exaone-moe": 4, "mellum": 4, "olmo2": 4,
}  # fmt: skip
KEYS: dict[str, dict[str, Any]] = {  # that architectures have of their own
    "gemma2": {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0},
    "granite": {"embedding_scale": 3.0, "residual_scale": 0.4, "attention.scale": 0.125, "logit_scale": 1.25},
    "minicpm": {"embedding_scale": 3.0, "residual_scale": 0.4, "logit_scale": 1.25},
    "mistral3": {"attention.temperature_scale": 0.3, "rope.scaling.original_context_length": 16},
    "granitemoe": {"embedding_scale": 3.0, "residual_scale": 0.4, "attention.scale": 0.125, "logit_scale": 1.25},
    "glm4moe": {"expert_weights_norm": True, "expert_weights_scale": 1.5, "expert_shared_count": 1},
    "exaone-moe": {"expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 2.5},
    "bailingmoe2": {"expert_gating_func": 2, "expert_weights_scale": 2.5, "expert_weights_norm": True,
                    "expert_group_count": 4, "expert_group_used_count": 2},
    "minimax-m2": {"expert_gating_func": 2},
    "gemma4": {"final_logit_softcapping": 5.0, "rope.freq_base_swa": 500.0},
    "lfm2moe": {"expert_gating_func": 2},
    "granitehybrid": {"embedding_scale": 3.0, "residual_scale": 0.4, "attention.scale": 0.125, "logit_scale": 1.25},
    "nemotron_h_moe": {"expert_weights_norm": True, "expert_weights_scale": 2.5},
    **{arch: {"attention.recurrent_layers": [True, True, False, True], "rope.dimension_sections": [2, 1, 1, 0]}
       for arch in DELTA_NETS},
    "deepseek2": {"expert_gating_func": 2, "expert_weights_scale": 1.8, "expert_weights_norm": True,
                  "expert_group_count": 2, "expert_group_used_count": 1},
}  # fmt: skip
ROUTING: dict[str, dict[str, Any]] = {  # as `expert_oracle.choose` has it
    "llama": {}, "gemma4": {}, "qwen3moe": {}, "mellum": {}, "granitemoe": {}, "hunyuan-moe": {}, "ernie4_5-moe": {},
    "qwen35moe": {}, "qwen3next": {}, "lfm2moe": {"gating": "sigmoid"},
    "nemotron_h_moe": {"gating": "sigmoid", "scale": 2.5},
    "qwen2moe": {"renormalize": False}, "olmoe": {"renormalize": False},
    "gpt-oss": {"gating": "softmax_of_chosen"}, "minimax-m2": {"gating": "sigmoid"},
    "glm4moe": {"gating": "sigmoid", "scale": 1.5}, "exaone-moe": {"gating": "sigmoid", "scale": 2.5},
    "bailingmoe2": {"gating": "sigmoid", "scale": 2.5, "n_group": 4, "n_group_used": 2},
    "deepseek2": {"gating": "sigmoid", "scale": 1.8, "n_group": 2, "n_group_used": 1},
}  # fmt: skip
PRE_FFN_NORMS = ("seed_oss", "glm4moe", "gpt-oss", *DELTA_NETS)  # named post_attention_norm
WHOLE_NORMS = ("olmo2", "olmoe", "minimax-m2")
NORMS_AFTER_ROPE = ("hunyuan-dense", "hunyuan-moe")
NORMED_HEADS = ("bailingmoe2", "exaone4", "exaone-moe", "gemma3", "gemma4", "glm4moe", "mellum", "qwen3", "qwen3moe",
                *DELTA_NETS, *SHORT_CONVS)  # fmt: skip
GEMMAS = ("gemma", "gemma2", "gemma3", "gemma4")
NEIGHBOURS = (  # rope turns these
    "llama", "deci", "arcee", "deepseek2", "ernie4_5", "ernie4_5-moe", "glm4", "granite", "granitemoe", "minicpm",
    "mistral3", "smollm3", "granitehybrid",
)  # fmt: skip


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in order of the byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def write_vocabulary(w: gguf.GGUFWriter, n_unused: int = 0) -> None:
    tokens = byte_alphabet() + ["".join(m.split()) for m in MERGES] + ["<|bos|>", "<|im_end|>"]
    tokens += [f"<unused{i}>" for i in range(n_unused)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([1] * 266 + [3, 3] + [5] * n_unused)
    w.add_token_merges(MERGES)
    w.add_bos_token_id(266)
    w.add_eos_token_id(267)
    w.add_add_bos_token(False)


def swap_tokens(path: Path, other: Path) -> Path:
    """A copy of a model at `other` in whose vocabulary two tokens, "in" and "an", have each other's ids."""
    data = path.read_bytes()
    a, b, neither = (len(text).to_bytes(8, "little") + text for text in (b"in", b"an", b"??"))
    assert data.count(a) == data.count(b) == 1
    other.write_bytes(data.replace(a, neither).replace(b, a).replace(neither, b))
    return other


def layer_shape(s: Shape, layer: int) -> dict[str, int]:
    own = {name: value[layer] if isinstance(value, list) else value for name, value in s.items()}
    if layer < s.get("n_dense", 0):
        del own["n_expert"]
    if "head_dim_local" in s and (layer + 1) % PERIODS["gemma4"]:
        own["head_dim"] = s["head_dim_local"]
    return own


def tensor_shapes(arch: str, s: Shape, n_vocab: int = N_VOCAB) -> dict[str, tuple[int, ...]]:
    """Names and numpy shapes (rows first) of a model's tensors."""
    n = s["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (n_vocab, n), last_norm(arch): (n,)}
    if arch not in (*GEMMAS, "granitemoe", "hunyuan-dense", *SHORT_CONVS):
        shapes["output"] = (n_vocab, n)
    if arch == "phi3":
        shapes |= {"rope_factors_short": (s["n_rot"] // 2,), "rope_factors_long": (s["n_rot"] // 2,)}
    if arch == "gemma4":
        n_all = s["n_layer"] * s["n_embd_layer"]
        shapes["rope_freqs"] = (s["head_dim"] // 2,)
        if n_all:
            shapes |= {"per_layer_token_embd": (n_vocab, n_all), "per_layer_model_proj": (n_all, n),
                       "per_layer_proj_norm": (s["n_embd_layer"],)}  # fmt: skip
    for i in range(s["n_layer"]):
        tensors = layer_tensors(arch, layer_shape(s, i))
        if arch == "gemma4":
            tensors = gemma4_layer(tensors, s, i)
        shapes |= {f"blk.{i}.{name}": shape for name, shape in tensors.items()}
    return shapes


def gemma4_layer(block: dict[str, tuple[int, ...]], s: Shape, layer: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a layer of gemma3, and what gemma4 has besides or leaves out."""
    n, n_own, n_pl = s["n_embd"], s["n_layer"] - s["n_shared"], s["n_embd_layer"]
    block["layer_output_scale"] = (1,)
    if (layer + 1) % PERIODS["gemma4"] == 0:
        del block["attn_v"]
    if layer >= n_own:
        block = {name: dims for name, dims in block.items() if not name.startswith(("attn_k", "attn_v"))}
    if n_pl:
        block |= {"inp_gate": (n_pl, n), "proj": (n, n_pl), "post_norm": (n,)}
    if "n_expert" in s:
        block |= {name: (n,) for name in ("post_ffw_norm_1", "pre_ffw_norm_2", "post_ffw_norm_2")}
        block |= {"ffn_gate_inp.scale": (n,), "ffn_down_exps.scale": (s["n_expert"],)}
        block |= {"ffn_gate": (s["n_ff"], n), "ffn_up": (s["n_ff"], n), "ffn_down": (n, s["n_ff"])}
    return block


def last_norm(arch: str) -> str:
    return "token_embd_norm" if arch in SHORT_CONVS else "output_norm"


def layer_tensors(arch: str, s: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """One layer's, for numbers that are the layer's own."""
    n, q, kv, ff = s["n_embd"], s["n_head"] * s["head_dim"], s["n_head_kv"] * s["head_dim"], s["n_ff"]
    block: dict[str, tuple[int, ...]] = {}
    attends = kv and (not s.get("recurrent") or arch == "falcon-h1")
    if attends:
        rows = 2 * q if arch in DELTA_NETS else q  # with gates
        block |= {"attn_norm": (n,), "attn_q": (rows, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q)}
    elif arch in HYBRIDS:
        block["attn_norm"] = (n,)
    elif q:
        block |= {"attn_norm": (n,), "attn_output": (n, n)}
    if ff:
        block |= {"ffn_norm": (n,), "ffn_gate": (ff, n), "ffn_up": (ff, n), "ffn_down": (n, ff)}
    if s.get("recurrent"):
        block |= recurrent_tensors(arch, s)
    if "n_expert" in s and ff:
        del block["ffn_gate"], block["ffn_up"], block["ffn_down"]
        block |= expert_tensors(s)
        if arch in ("qwen2moe", *DELTA_NETS):
            block["ffn_gate_inp_shexp"] = (1, n)
        biased = "glm4moe ernie4_5-moe exaone-moe bailingmoe2 minimax-m2 lfm2moe nemotron_h_moe deepseek2"
        if arch in biased.split():
            block["exp_probs_b.bias"] = (s["n_expert"],)
        if arch == "gpt-oss":
            block |= {f"{name}.bias": dims[:-1] for name, dims in expert_tensors(s).items()}
    if "kv_rank" in s:
        del block["attn_q"], block["attn_k"], block["attn_v"]
        block |= latent_tensors(s)
    if arch == "phi3":
        block |= {"attn_qkv": (q + 2 * kv, n), "ffn_up": (2 * ff, n)}
        del block["attn_q"], block["attn_k"], block["attn_v"], block["ffn_gate"]
    if arch == "glm4":
        block["ffn_up"] = (2 * ff, n)
    if arch in ("arcee", "glm4"):
        del block["ffn_gate"]
    if arch == "bailingmoe2":
        block["attn_qkv"] = (q + 2 * kv, n)
        del block["attn_q"], block["attn_k"], block["attn_v"]
    if arch == "gpt-oss":
        block |= {"attn_sinks": (s["n_head"],), "attn_output.bias": (n,)}
    if arch in ("glm4", "glm4moe", "gpt-oss", "qwen2", "qwen2moe", "seed_oss"):
        block |= {"attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    if arch in (*NORMED_HEADS, *NORMS_AFTER_ROPE) and attends:
        block |= {"attn_q_norm": (s["head_dim"],), "attn_k_norm": (s["head_dim"],)}
    if arch in WHOLE_NORMS:
        block |= {"attn_q_norm": (q,), "attn_k_norm": (kv,)}
    if arch in ("exaone4", "gemma2", "gemma3", "gemma4", "glm4", "olmo2"):
        block |= {"post_attention_norm": (n,), "post_ffw_norm": (n,)}
    if arch in ("exaone4", "olmo2"):
        del block["attn_norm"], block["ffn_norm"]
    if arch in PRE_FFN_NORMS:
        block["post_attention_norm"] = block.pop("ffn_norm")
    if arch in ONE_PART:
        for name in ("ffn_norm", "ffn_gate", "ffn_gate_exps", "ffn_gate_shexp"):
            block.pop(name, None)
    return block


def latent_tensors(s: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Of latent attention, whose maps to keys and values are absorbed: those to keys lie transposed."""
    n, heads, q = s["n_embd"], s["n_head"], s["n_head"] * (s["head_dim"] + s["n_rot"])
    block: dict[str, tuple[int, ...]] = {
        "attn_kv_a_mqa": (s["kv_rank"] + s["n_rot"], n), "attn_kv_a_norm": (s["kv_rank"],),
        "attn_k_b": (heads, s["kv_rank"], s["head_dim"]), "attn_v_b": (heads, s["n_value"], s["kv_rank"]),
        "attn_output": (n, heads * s["n_value"]),
    }  # fmt: skip
    if not s["q_rank"]:
        return {**block, "attn_q": (q, n)}
    return {**block, "attn_q_a": (s["q_rank"], n), "attn_q_a_norm": (s["q_rank"],), "attn_q_b": (q, s["q_rank"])}


def write_model(
    path: Path,
    arch: str = "llama",
    shape: Shape | None = None,
    types: list[str] | None = None,
    seed: int = 0,
    tensors: dict[str, Any] | None = None,
    n_vocab: int = N_VOCAB,
    n_unused: int = 0,
    strings: dict[str, str] | None = None,
    **metadata: Any,
) -> dict[str, F32]:
    """Writes a random model; returns the weights as a reader dequantizes them, by name.

    types: block types that its matrices take in turn. tensors: by full name, others instead of its own or besides them:
    an array, (blocks, type), or None for none. n_vocab: rows of the embeddings and of the head. n_unused: so many more
    tokens, which no text has. strings: metadata by whole keys. metadata: keys of the architecture, replaced or added
    (float, int, str, bool); None: left out.
    """
    s = shape or SHAPES[arch]
    rng = np.random.default_rng(seed)
    w = gguf.GGUFWriter(str(path), arch)
    for key, text in {"general.name": f"tiny {arch}", **(strings or {})}.items():
        w.add_string(key, text)
    write_hyper_parameters(w, arch, s, metadata)
    write_vocabulary(w, n_unused)
    weights = {}
    tensors = dict(tensors or {})
    for i, (name, dims) in enumerate(tensor_shapes(arch, s, n_vocab + n_unused).items()):
        kind = gguf.GGMLQuantizationType[types[i % len(types)] if types and is_matrix(name, dims) else "F32"]
        values = rng.standard_normal(dims)
        values = (1 + 0.1 * values if len(dims) == 1 else values / np.sqrt(dims[-1])).astype(np.float32)
        if arch == "gemma4" and name.endswith("attn_q_norm"):
            values /= np.float32(dims[0] ** 0.5)  # what other attentions are scaled by
        if name.endswith("ssm_a"):
            values = -np.abs(values)  # what a state keeps is below 1
        blocks = quantize(values, kind)
        weights[name] = dequantize(blocks, kind).reshape(dims)
        tensors.setdefault(name_in_file(name), (blocks, kind.name))
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            w.add_tensor(name, tensor[0], raw_dtype=gguf.GGMLQuantizationType[tensor[1]])
        elif tensor is not None:
            w.add_tensor(name, tensor)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return weights


def write_old_deepseek2(path: Path, shape: Shape = DEEPSEEK2) -> dict[str, F32]:
    """A deepseek2 of before April 2025: in each layer one tensor of maps to keys and values, none of them transposed.

    The weights are those of a new one.
    """
    weights = write_model(path, "deepseek2", shape)
    tensors: dict[str, Any] = {}
    for i in range(shape["n_layer"]):
        k_b, v_b = weights[f"blk.{i}.attn_k_b"], weights[f"blk.{i}.attn_v_b"]
        kv_b = np.concatenate([k_b.swapaxes(1, 2), v_b], axis=1).reshape(-1, shape["kv_rank"])
        tensors |= {
            f"blk.{i}.attn_k_b.weight": None,
            f"blk.{i}.attn_v_b.weight": None,
            f"blk.{i}.attn_kv_b.weight": kv_b,
        }
    metadata: dict[str, Any] = {
        "attention.head_count_kv": shape["n_head"],
        "attention.key_length": shape["head_dim"] + shape["n_rot"], "attention.value_length": shape["n_value"],
        "attention.key_length_mla": None, "attention.value_length_mla": None,
    }  # fmt: skip
    return write_model(path, "deepseek2", shape, tensors=tensors, **metadata)


def write_mixed_model(path: Path) -> None:
    """A llama of shape MIXED with random blocks of every type: its matrices take them in turn."""
    matrices = matrix_shapes("llama", MIXED)
    assert len(matrices) >= len(FORMATS)
    write_model(path, shape=MIXED, tensors=mixed_tensors(matrices)[0])


def name_in_file(name: str) -> str:
    """A tensor's whole name."""
    return name if name.endswith((".bias", ".scale", "ssm_a", "ssm_d")) else f"{name}.weight"


def is_matrix(name: str, dims: tuple[int, ...]) -> bool:
    """Of what may be quantized: routers are not, whose ties would fall otherwise."""
    return len(dims) > 1 and not name.endswith((".bias", "ffn_gate_inp", *NOT_MATRICES))


def matrix_shapes(arch: str, s: Shape) -> dict[str, tuple[int, ...]]:
    return {name: dims for name, dims in tensor_shapes(arch, s).items() if is_matrix(name, dims)}


def mixed_tensors(matrices: dict[str, tuple[int, ...]], first: int = 0) -> tuple[dict[str, Any], dict[str, F32]]:
    """Matrices of random blocks that take the types of FORMATS in turn, from one on: for write_model, for forward."""
    tensors, weights = {}, {}
    for (name, dims), type in zip(matrices.items(), islice(cycle(FORMATS), first, None), strict=False):
        blocks, weights[name] = mixed_matrix(type, dims)
        tensors[f"{name}.weight"] = (blocks, type)
    return tensors, weights


@cache
def mixed_matrix(type: str, dims: tuple[int, ...]) -> tuple[Bytes, F32]:
    """Random blocks, and what they mean to gguf-py."""
    blocks = random_matrix(FORMATS[type], math.prod(dims[:-1]), dims[-1]).reshape(*dims[:-1], -1)
    return blocks, dequantize(blocks, gguf.GGMLQuantizationType[type]).reshape(dims)


def write_hyper_parameters(w: gguf.GGUFWriter, arch: str, s: Shape, other: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "block_count": s["n_layer"], "context_length": 512, "embedding_length": s["n_embd"],
        "feed_forward_length": s["n_ff"],
        "attention.head_count": s["n_head"], "attention.head_count_kv": s["n_head_kv"],
        "attention.key_length": s["head_dim"], "attention.value_length": s["head_dim"],
        "attention.layer_norm_rms_epsilon": 1e-5, **KEYS.get(arch, {}),
    }  # fmt: skip
    if "kv_rank" in s:
        values |= {"attention.key_length": s["kv_rank"] + s["n_rot"], "attention.value_length": s["kv_rank"],
                   "attention.key_length_mla": s["head_dim"] + s["n_rot"], "attention.value_length_mla": s["n_value"],
                   "attention.kv_lora_rank": s["kv_rank"]}  # fmt: skip
    if s.get("q_rank"):
        values["attention.q_lora_rank"] = s["q_rank"]
    if "window" in s:
        values["attention.sliding_window"] = s["window"]
    if "n_expert" in s:
        values |= {"expert_count": s["n_expert"], "expert_used_count": s["n_used"],
                   "expert_feed_forward_length": s["n_ff_exp"]}  # fmt: skip
    if "conv_width" in s:
        values |= recurrent_keys(arch, s)
    if "n_dense" in s:
        values["leading_dense_block_count"] = s["n_dense"]
    if "n_ff_shexp" in s:
        values["expert_shared_feed_forward_length"] = s["n_ff_shexp"]
    if "n_rot" in s:
        values["rope.dimension_count"] = s["n_rot"]
    if arch == "gemma4":
        values |= {"attention.key_length_swa": s["head_dim_local"], "attention.value_length_swa": s["head_dim_local"],
                   "attention.sliding_window_pattern": [(i + 1) % PERIODS[arch] != 0 for i in range(s["n_layer"])],
                   "attention.shared_kv_layers": s["n_shared"],
                   "embedding_length_per_layer_input": s["n_embd_layer"]}  # fmt: skip
    if "n_ctx_orig" in s:
        values["rope.scaling.original_context_length"] = s["n_ctx_orig"]
        values["rope.scaling.attn_factor"] = PHI3_MAGNITUDE
    for key, value in {**values, **other}.items():
        adders: dict[type, Callable[[str, Any], None]] = {
            float: w.add_float32, bool: w.add_bool, int: w.add_uint32, str: w.add_string, list: w.add_array,
        }  # fmt: skip
        if type(value) in adders:
            adders[type(value)](f"{arch}.{key}", value)


def rms(x: F64, weight: F32, eps: float = 1e-5) -> F64:
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + eps) * weight


def frequencies(n_rot: int, base: float = 10000.0) -> F64:
    return base ** (-2 * np.arange(n_rot // 2) / n_rot)


def rope(x: F64, frequencies: F64, magnitude: float, interleaved: bool) -> F64:
    """x [n, heads, d]; row i is at position i. Values after the pairs that have a frequency stay as they are."""
    n_rot = 2 * len(frequencies)
    angle = np.arange(len(x))[:, None, None] * frequencies
    c, s = magnitude * np.cos(angle), magnitude * np.sin(angle)
    first, second = (
        (slice(0, n_rot, 2), slice(1, n_rot, 2)) if interleaved else (slice(n_rot // 2), slice(n_rot // 2, n_rot))
    )
    a, b = x[..., first], x[..., second]
    out = x.copy()
    out[..., first], out[..., second] = a * c - b * s, a * s + b * c
    return out


def attention(q: F64, k: F64, v: F64, scale: float, window: int, sinks: F32 | None = None, softcap: float = 0) -> F64:
    """q [n, heads, d] over k, v [n, kv heads, d]; causal, and `window` positions back if > 0.

    sinks [heads]: scores that take part in each softmax, of nothing. softcap: of scores, if > 0.
    """
    n, heads, _ = q.shape
    group = heads // k.shape[1]
    back = np.arange(n)[:, None] - np.arange(n)[None, :]
    hidden = (back < 0) | ((back >= window) if window else False)
    out = np.empty((n, heads, v.shape[-1]))
    for h in range(heads):
        scores = q[:, h] @ k[:, h // group].T * scale
        scores = np.where(hidden, -np.inf, softcap * np.tanh(scores / softcap) if softcap else scores)
        sink = -np.inf if sinks is None else float(sinks[h])
        most = np.maximum(scores.max(-1, keepdims=True), sink)
        p = np.exp(scores - most)
        out[:, h] = p / (p.sum(-1, keepdims=True) + np.exp(sink - most)) @ v[:, h // group]
    return out


def silu(x: F64) -> F64:
    return x / (1 + np.exp(-x))


def gelu(x: F64) -> F64:
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


def unfused(b: dict[str, F32], s: dict[str, int]) -> dict[str, F32]:
    """A layer's matrices, with those that attn_qkv and a double ffn_up stand for."""
    b, n_q, n_kv = dict(b), s["n_head"] * s["head_dim"], s["n_head_kv"] * s["head_dim"]
    fused = "ffn_gate" not in b and len(b.get("ffn_up", ())) == 2 * s["n_ff"]
    for end in ("", ".bias"):
        if f"attn_qkv{end}" in b and not s.get("recurrent"):
            b[f"attn_q{end}"], b[f"attn_k{end}"], b[f"attn_v{end}"] = np.split(b[f"attn_qkv{end}"], [n_q, n_q + n_kv])
        if fused and f"ffn_up{end}" in b:
            b[f"ffn_gate{end}"], b[f"ffn_up{end}"] = np.split(b[f"ffn_up{end}"], 2)
    return b


def linear(x: F64, b: dict[str, F32], name: str) -> F64:
    return x @ b[name].T + b.get(f"{name}.bias", 0)


def forward(
    arch: str,
    w: dict[str, F32],
    tokens: list[int],
    shape: Shape | None = None,
    rotary: tuple[F64, float] | None = None,
    scale: float = 1.0,
) -> F64:
    """Logits [n, n_vocab] in float64, by the formulas of the papers. A layer has the parts that w has tensors of.

    rotary: other frequencies and magnitude. scale: a factor of latent attention's scores.
    """
    s, keys = shape or SHAPES[arch], KEYS.get(arch, {})
    if arch == "gemma4":
        return gemma4_forward(w, tokens, s, rotary)
    plain = frequencies(s["n_rot"] if "n_rot" in s else s["head_dim"]), 1.0
    if arch == "phi3" and rotary is None:
        rotary = frequencies(s["n_rot"]) / w["rope_factors_long"], PHI3_MAGNITUDE
    residual_scale = keys.get("residual_scale", 1.0)
    x = w["token_embd"][tokens].astype(np.float64)
    x *= s["n_embd"] ** 0.5 if arch in GEMMAS else keys.get("embedding_scale", 1.0)
    for i in range(s["n_layer"]):
        b = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"blk.{i}.")}
        b, own = unfused(b, layer_shape(s, i)), layer_shape(s, i)
        added: F64 | float = 0.0
        if own.get("recurrent"):
            added = residual_scale * recurrent(arch, rms(x, b["attn_norm"]), b, own, linear)
        if "attn_output" in b:
            a = rms(x, b["attn_norm"]) if "attn_norm" in b else x
            if "attn_k_b" in b:
                a = attend_latent(a, b, rotary or plain, scale)
            elif "attn_q" in b:
                window = s["window"] if "window" in s and (i + 1) % PERIODS[arch] else 0
                turn = plain if arch in ("gemma3", "mellum", "olmo2") and window else rotary or plain
                a = attend(arch, a, b, s["head_dim"], turn if has_rope(arch, s, i, window) else None, window)
            a = linear(a, b, "attn_output")
            post_norm = b.get("post_attention_norm") if arch not in PRE_FFN_NORMS else None
            x = x + residual_scale * (a if post_norm is None else rms(a, post_norm))
        x = x + added
        if "ffn_down" in b:
            norm = b.get(pre_ffn_norm(arch))
            f = linear(feed_forward(arch, x if norm is None else rms(x, norm), b), b, "ffn_down")
            x = x + residual_scale * (rms(f, b["post_ffw_norm"]) if "post_ffw_norm" in b else f)
        if "ffn_down_exps" in b:
            norm = b[pre_ffn_norm(arch)]
            activation = clamped_swiglu if arch == "gpt-oss" else relu_squared if arch in ONE_PART else swiglu
            x = x + residual_scale * routed_experts(rms(x, norm), b, s["n_used"], activation, **ROUTING[arch])
    return head(arch, rms(x, w[last_norm(arch)]), w)


def pre_ffn_norm(arch: str) -> str:
    return "post_attention_norm" if arch in PRE_FFN_NORMS else "attn_norm" if arch in ONE_PART else "ffn_norm"


def relu_squared(_gate: F64, up: F64) -> F64:
    out: F64 = np.maximum(up, 0) ** 2
    return out


def gemma4_forward(w: dict[str, F32], tokens: list[int], s: Shape, rotary: tuple[F64, float] | None) -> F64:
    """Its own, since its layers hand on more than their hidden state: keys, values, embeddings for each layer."""
    x = w["token_embd"][tokens] * s["n_embd"] ** 0.5
    n, n_pl, n_own = len(tokens), s["n_embd_layer"], s["n_layer"] - s["n_shared"]
    base, magnitude = rotary or (frequencies(s["head_dim"]), 1.0)
    turns = {False: (base / w["rope_freqs"], magnitude), True: (frequencies(s["head_dim_local"], 500.0), 1.0)}
    if n_pl:
        p = (x @ w["per_layer_model_proj"].T * s["n_embd"] ** -0.5).reshape(n, -1, n_pl)
        p = rms(p, w["per_layer_proj_norm"])
        p = (p + n_pl**0.5 * w["per_layer_token_embd"][tokens].reshape(p.shape)) / 2**0.5
    kept: dict[bool, tuple[F64, F64]] = {}  # of local layers and of global ones the last keys and values
    for i in range(s["n_layer"]):
        b = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"blk.{i}.")}
        local = (i + 1) % PERIODS["gemma4"] != 0
        h = rms(x, b["attn_norm"])
        head_dim = s["head_dim_local" if local else "head_dim"]
        q, *kv = (linear(h, b, f"attn_{part}").reshape(n, -1, head_dim) for part in "qkv" if f"attn_{part}" in b)
        if i < n_own:
            k, v = kv[0], kv[-1]
            kept[local] = rope(rms(k, b["attn_k_norm"]), *turns[local], False), rms(v, np.ones(head_dim, np.float32))
        q = rope(rms(q, b["attn_q_norm"]), *turns[local], False)
        a = attention(q, *kept[local], 1.0, s["window"] if local else 0).reshape(n, -1)
        x = x + rms(linear(a, b, "attn_output"), b["post_attention_norm"])
        m = linear(feed_forward("gemma4", rms(x, b["ffn_norm"]), b), b, "ffn_down")
        if "n_expert" in s:
            m = rms(m, b["post_ffw_norm_1"])
            router_input = rms(x, b["ffn_gate_inp.scale"] * np.float32(s["n_embd"] ** -0.5))
            routed = routed_experts(
                rms(x, b["pre_ffw_norm_2"]), b, s["n_used"], lambda g, u: gelu(g) * u, routed_by=router_input
            )
            m = m + rms(routed, b["post_ffw_norm_2"])
        x = x + rms(m, b["post_ffw_norm"])
        if n_pl:
            x = x + rms(linear(gelu(linear(x, b, "inp_gate")) * p[:, i], b, "proj"), b["post_norm"])
        x = x * b["layer_output_scale"]
    return head("gemma4", rms(x, w["output_norm"]), w)


def head(arch: str, x: F64, w: dict[str, F32]) -> F64:
    keys = KEYS.get(arch, {})
    logits = x @ w.get("output", w["token_embd"]).T / keys.get("logit_scale", 1.0)
    cap = keys.get("final_logit_softcapping")
    return cap * np.tanh(logits / cap) if cap else logits


def has_rope(arch: str, s: Shape, layer: int, window: int) -> bool:
    if arch == "smollm3":
        return (layer + 1) % 4 != 0
    if arch in ONE_PART:
        return False
    return arch not in ("exaone4", "exaone-moe") or window > 0 or "window" not in s


def attend(arch: str, x: F64, b: dict[str, F32], head_dim: int, turn: tuple[F64, float] | None, window: int) -> F64:
    """What attention makes of a layer's input, before attn_output. turn: frequencies and magnitude of rope."""
    n, keys = len(x), KEYS.get(arch, {})
    q, k, v = (linear(x, b, f"attn_{p}") for p in "qkv")
    gate = None
    if arch in DELTA_NETS:
        q, gate = (part.reshape(n, -1) for part in np.split(q.reshape(n, -1, 2 * head_dim), 2, axis=2))
    if arch in WHOLE_NORMS:
        q, k = rms(q, b["attn_q_norm"]), rms(k, b["attn_k_norm"])
    q, k, v = (z.reshape(n, -1, head_dim) for z in (q, k, v))
    norm_heads = "attn_q_norm" in b and arch not in WHOLE_NORMS
    if norm_heads and arch not in NORMS_AFTER_ROPE:
        q, k = rms(q, b["attn_q_norm"]), rms(k, b["attn_k_norm"])
    if turn:
        q, k = (rope(z, *turn, arch in NEIGHBOURS) for z in (q, k))
    if norm_heads and arch in NORMS_AFTER_ROPE:
        q, k = rms(q, b["attn_q_norm"]), rms(k, b["attn_k_norm"])
    if arch == "mistral3":
        periods = np.arange(n) // keys["rope.scaling.original_context_length"]
        q = q * (1 + keys["attention.temperature_scale"] * np.log(1 + periods))[:, None, None]
    scale, softcap = keys.get("attention.scale", head_dim**-0.5), keys.get("attn_logit_softcapping", 0.0)
    out = attention(q, k, v, scale, window, softcap=softcap, sinks=b.get("attn_sinks")).reshape(n, -1)
    return out if gate is None else out / (1 + np.exp(-gate))


def latent_queries_and_keys(x: F64, b: dict[str, F32], turn: tuple[F64, float]) -> tuple[F64, F64, F64]:
    """Queries and keys [n, heads, d] of latent attention, and c [n, kv_rank], as the paper has them."""
    n, (heads, rank, n_nope) = len(x), b["attn_k_b"].shape
    if "attn_q" in b:
        q = linear(x, b, "attn_q")
    else:
        q = linear(rms(linear(x, b, "attn_q_a"), b["attn_q_a_norm"]), b, "attn_q_b")
    q = q.reshape(n, heads, -1)
    c, p = np.split(linear(x, b, "attn_kv_a_mqa"), [rank], axis=1)
    c, p = rms(c, b["attn_kv_a_norm"]), rope(p[:, None], *turn, True)
    k = np.concatenate([np.einsum("nc,hck->nhk", c, b["attn_k_b"]), np.repeat(p, heads, axis=1)], -1)
    return np.concatenate([q[..., :n_nope], rope(q[..., n_nope:], *turn, True)], -1), k, c


def attend_latent(x: F64, b: dict[str, F32], turn: tuple[F64, float], scale: float) -> F64:
    """What latent attention makes of a layer's input, before attn_output."""
    q, k, c = latent_queries_and_keys(x, b, turn)
    v = np.einsum("nc,hvc->nhv", c, b["attn_v_b"])
    return attention(q, k, v, scale * q.shape[-1] ** -0.5, 0).reshape(len(x), -1)


def feed_forward(arch: str, x: F64, b: dict[str, F32]) -> F64:
    """What ffn_down is multiplied with."""
    if arch in ("arcee", *ONE_PART):
        return np.maximum(linear(x, b, "ffn_up"), 0) ** 2
    return (gelu if arch in GEMMAS else silu)(linear(x, b, "ffn_gate")) * linear(x, b, "ffn_up")


def write_two_types(folder: Path) -> list[Path]:
    """Two models of the same weights, as F32 and as Q8_0; their files."""
    for name, types in {"a": ["F32"], "b": ["Q8_0"]}.items():
        write_model(folder / f"{name}.gguf", shape=LLAMA, types=types)
    return [folder / "a.gguf", folder / "b.gguf"]
