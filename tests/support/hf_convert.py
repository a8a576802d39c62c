"""A Hugging Face transformers model as a GGUF file of F32 tensors, as llama.cpp's converter would make it.

Names come from gguf-py. What changes besides: the order of the rows of queries and keys where rope rotates neighbours,
norm weights (the first gemmas), rope scaling, which mostly becomes factors of the frequencies, gate and up of experts,
which transformers holds in one, and latent attention's map to keys and values, which is absorbed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from hf_recurrent import add_recurrent, is_recurrent, kv_heads, layer_kinds, recurrent_tensors, with_multipliers
from recurrent_oracle import DELTA_NETS, HYBRIDS, ONE_PART
from tiny_models import F32, write_vocabulary

# transformers rotates halves in these
NEIGHBOURS = ("llama", "deci", "arcee", "granite", "granitehybrid", "granitemoe", "mistral3", "smollm3")
SIGMOID = ("exaone-moe", "glm4moe", "minimax-m2")  # of these the converter writes the router's function
SELECTION_BIAS = "e_score_correction_bias"
LAYER_SCALE = "layer_scalar"
SCALES = {
    "embedding_multiplier": "embedding_scale", "residual_multiplier": "residual_scale", "logits_scaling": "logit_scale",
    "attention_multiplier": "attention.scale", "final_logit_softcapping": "final_logit_softcapping",
    "attn_logit_softcapping": "attn_logit_softcapping",
}  # fmt: skip
YARN = {
    "beta_fast": "rope.scaling.yarn_beta_fast", "beta_slow": "rope.scaling.yarn_beta_slow",
    "attention_factor": "rope.scaling.yarn_attn_factor", "mscale_all_dim": "rope.scaling.yarn_log_multiplier",
    "llama_4_scaling_beta": "attention.temperature_scale",
}  # fmt: skip


def convert(model: Any, arch: str, path: Path) -> None:
    """Writes a transformers model for causal language modelling, with the vocabulary of tiny_models."""
    config = model.config
    w = gguf.GGUFWriter(str(path), arch)
    w.add_name(f"random {arch}")
    write_vocabulary(w)
    add_shape(w, config)
    add_attention(w, config)
    values = dict(tensors(model, arch))
    add_experts(w, config, values)
    add_recurrent(w, arch, config, values)
    for name, tensor in [*add_rope(w, config), *values.items()]:
        w.add_tensor(name, tensor)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def add_shape(w: gguf.GGUFWriter, config: Any) -> None:
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    n_ff: Any = getattr(config, "intermediate_size", None)
    if getattr(config, "use_double_wide_mlp", False):
        n_ff = [2 * n_ff if mode == "reuse" else n_ff for mode in config.kv_sharing_modes]
    if w.arch in ONE_PART:
        n_ff = [n_ff if kind == "mlp" else 0 for kind in layer_kinds(config)]
    if n_ff is not None:
        w.add_feed_forward_length(n_ff)
    if w.arch in ONE_PART:
        w.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        w.add_layer_norm_rms_eps(config.norm_eps if hasattr(config, "norm_eps") else config.rms_norm_eps)
    for name, key in SCALES.items():
        if getattr(config, name, None) and w.arch != "falcon-h1":  # whose weights have its multipliers
            w.add_float32(f"{w.arch}.{key}", getattr(config, name))


def of_layers(config: Any) -> list[Any]:
    """The configuration of each layer, where they differ."""
    n_layer = config.num_hidden_layers
    return [config.per_layer_config[i] for i in range(n_layer)] if config.model_type == "gemma4_text" else [config]


def head_dim(config: Any) -> int:
    """Of global layers, where others have shorter ones."""
    lengths = [getattr(layer, "head_dim", None) or 0 for layer in of_layers(config)]
    return int(max(lengths) or config.hidden_size // config.num_attention_heads)


def add_attention(w: gguf.GGUFWriter, config: Any) -> None:
    w.add_head_count(config.num_attention_heads)
    n_head_kv = [layer.num_key_value_heads for layer in of_layers(config)]
    w.add_head_count_kv(n_head_kv if len(n_head_kv) > 1 else kv_heads(config, w.arch))
    if w.arch == "deepseek2":
        add_latent(w, config)
        return
    w.add_key_length(head_dim(config))
    w.add_value_length(head_dim(config))
    layers = getattr(config, "layer_types", None) or []
    if w.arch == "gemma4":
        add_local_layers(w, config)
    elif "sliding_attention" in layers:
        w.add_sliding_window(config.sliding_window)
        w.add_sliding_window_pattern(layers.index("full_attention") + 1)


def add_local_layers(w: gguf.GGUFWriter, config: Any) -> None:
    """gemma4's, whose heads have a length of their own; and what else only gemma4 has."""
    length = of_layers(config)[0].head_dim
    w.add_key_length_swa(length)
    w.add_value_length_swa(length)
    w.add_rope_dimension_count_swa(length)
    w.add_sliding_window(config.sliding_window)
    w.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    w.add_shared_kv_layers(config.num_kv_shared_layers)
    w.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input)


def add_latent(w: gguf.GGUFWriter, config: Any) -> None:
    w.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim)
    w.add_value_length(config.kv_lora_rank)
    w.add_key_length_mla(config.qk_nope_head_dim + config.qk_rope_head_dim)
    w.add_value_length_mla(config.v_head_dim)
    w.add_kv_lora_rank(config.kv_lora_rank)
    if config.q_lora_rank:
        w.add_q_lora_rank(config.q_lora_rank)


def add_experts(w: gguf.GGUFWriter, config: Any, values: dict[str, F32]) -> None:
    """The keys of routed experts, if there are any; their sizes are those of the tensors."""
    up = next((x for name, x in values.items() if name.endswith("ffn_up_exps.weight")), None)
    if up is None:
        return
    used = ("top_k_experts", "num_experts_per_tok", "moe_k", "moe_topk")
    w.add_expert_count(up.shape[0])
    w.add_expert_feed_forward_length(up.shape[1])
    w.add_expert_used_count(next(getattr(config, name) for name in used if hasattr(config, name)))
    w.add_leading_dense_block_count(min(int(name.split(".")[1]) for name in values if "ffn_up_exps" in name))
    for name, x in values.items():
        if name.endswith("ffn_up_shexp.weight"):
            w.add_expert_shared_feed_forward_length(x.shape[0])
            break
    if getattr(config, "topk_group", None):
        w.add_expert_group_count(config.n_group)
        w.add_expert_group_used_count(config.topk_group)
    if w.arch in SIGMOID or config.model_type in ("deepseek_v3", "glm4_moe_lite"):
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if hasattr(config, "routed_scaling_factor"):
        w.add_expert_weights_scale(config.routed_scaling_factor)
        w.add_expert_weights_norm(config.norm_topk_prob)


def add_rope(w: gguf.GGUFWriter, config: Any) -> Iterator[tuple[str, F32]]:
    """Writes the keys of rope; yields the tensors that hold factors of its frequencies."""
    if w.arch in ONE_PART:
        return
    rope = config.rope_parameters
    if "full_attention" in rope:  # gemma3 has another rope in local layers
        w.add_float32(f"{w.arch}.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    kind = rope["rope_type"]
    n_turned = int(head_dim(config) * rope.get("partial_rotary_factor", 1.0))
    n_rot = head_dim(config) if kind == "proportional" else n_turned
    w.add_rope_dimension_count(n_rot)
    w.add_rope_freq_base(rope["rope_theta"])
    if kind == "proportional":  # the other pairs turn by next to nothing
        yield "rope_freqs.weight", np.where(np.arange(n_rot // 2) < n_turned // 2, 1, 1e30).astype(np.float32)
    if kind in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(kind))
        w.add_rope_scaling_factor(rope["factor"])
    for name, key in YARN.items():
        if rope.get(name):
            tenth = w.arch == "deepseek2" and name == "mscale_all_dim"
            w.add_float32(f"{w.arch}.{key}", 0.1 * rope[name] if tenth else rope[name])
    if kind in ("yarn", "longrope"):
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "llama3":
        yield "rope_freqs.weight", llama3_factors(rope, n_rot)
    if kind == "longrope":  # the tensors alone tell of it
        n_ctx_orig = rope["original_max_position_embeddings"]
        stretch = config.max_position_embeddings / n_ctx_orig
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(n_ctx_orig)))
        for length in ("short", "long"):
            yield f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], np.float32)


def llama3_factors(rope: dict[str, float], n_rot: int) -> F32:
    """What Llama 3.1 divides each frequency by: fast ones by 1, slow ones by `factor`, between them a blend."""
    frequency = rope["rope_theta"] ** (-2 * np.arange(n_rot // 2) / n_rot)
    turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)  # in the original context
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / (kept + (1 - kept) / rope["factor"])).astype(np.float32)


def tensors(model: Any, arch: str) -> Iterator[tuple[str, F32]]:
    """GGUF names and values of a model's parameters; tied ones come once."""
    config = model.config
    like = "qwen3moe" if arch == "mellum" else arch  # which gguf-py does not know
    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == like)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": of_layers(config)[0].num_key_value_heads}
    buffers = [(name, x) for name, x in model.named_buffers() if name.endswith((SELECTION_BIAS, LAYER_SCALE))]
    for name, parameter in [*model.named_parameters(), *buffers]:
        x = parameter.detach().numpy()
        stem, _, suffix = name.rpartition(".")
        part = stem.rpartition(".")[2]
        if suffix == "sinks":
            yield f"blk.{name.split('.')[2]}.attn_sinks.weight", x
            continue
        if suffix == LAYER_SCALE or (arch == "gemma4" and ".router." in name):
            yield gemma4_name(name), x
            continue
        if arch == "falcon-h1":
            x = with_multipliers(name, x, config)
        if arch in HYBRIDS and is_recurrent(name, arch):
            yield from recurrent_tensors(name, x, arch, config)
            continue
        if arch in ONE_PART:
            stem = stem.replace("model.", "backbone.", 1)
        if ".experts." in name or part == "input_linear" or suffix == SELECTION_BIAS:
            yield from expert_tensors(name, x, arch)
            continue
        if part == "kv_b_proj":
            yield from latent_maps(name, x, config)
            continue
        if arch in NEIGHBOURS and part in heads:
            x = neighbours(x, heads[part])
        if (arch in ("gemma", "gemma2", "gemma3") or arch in DELTA_NETS) and part.endswith("norm"):
            x = 1 + x
        known = names.get_name(stem) or names.get_name(f"{stem}.layer") or names.get_name(name)
        yield f"{known}.{suffix}", np.ascontiguousarray(x)


def gemma4_name(name: str) -> str:
    """Of a tensor that transformers names in a way of its own: a layer's factor, and those of its router."""
    kind = {
        LAYER_SCALE: "layer_output_scale.weight", "weight": "ffn_gate_inp.weight", "scale": "ffn_gate_inp.scale",
        "per_expert_scale": "ffn_down_exps.scale",
    }[name.rpartition(".")[2]]  # fmt: skip
    return f"blk.{name.split('.')[2]}.{kind}"


def latent_maps(name: str, x: F32, config: Any) -> Iterator[tuple[str, F32]]:
    """Of each head the map to its keys, transposed, and that to its values."""
    of_heads = x.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
    keys, values = np.split(of_heads, [config.qk_nope_head_dim], axis=1)
    for kind, maps in {"k": keys.swapaxes(1, 2), "v": values}.items():
        yield f"blk.{name.split('.')[2]}.attn_{kind}_b.weight", np.ascontiguousarray(maps)


def expert_tensors(name: str, x: F32, arch: str) -> Iterator[tuple[str, F32]]:
    """A layer's experts, all in one, or the shared one's gate and up; or the bias by which they are chosen."""
    block, part = f"blk.{name.split('.')[2]}", name.rpartition(".")[2]
    end = "bias" if part.endswith("_bias") else "weight"
    if part == SELECTION_BIAS:
        yield f"{block}.exp_probs_b.bias", x.reshape(-1)
    elif "input_linear" in name:
        for half, rows in zip(("gate", "up"), np.split(x, 2), strict=True):
            yield f"{block}.ffn_{half}_shexp.weight", rows
    else:
        x = x.swapaxes(1, 2) if arch == "gpt-oss" and end == "weight" else x
        gate_up = (x[:, ::2], x[:, 1::2]) if arch == "gpt-oss" else np.split(x, 2, axis=1)
        parts = {"down": x} if part.startswith("down") else dict(zip(("gate", "up"), gate_up, strict=True))
        for half, rows in parts.items():
            yield f"{block}.ffn_{half}_exps.{end}", np.ascontiguousarray(rows)


def neighbours(rows: F32, n_head: int) -> F32:
    """Rows of queries or keys whose pairs lie half a head apart, in an order that makes them neighbours."""
    moved: F32 = rows.reshape(n_head, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
    return moved
