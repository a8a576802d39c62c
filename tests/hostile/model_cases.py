"""Hyper-parameters and tensors that make no sense, or do not fit each other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from gguf_builder import BOOL, F32, F64, I32, U8, U64
from hostile import Write, metadata, model, section
from tiny_models import DECI, GEMMA4_EXPERTS, LLAMA, MOE, N_VOCAB, SHAPES, write_model

from subbyte.errors import FormatError, NumericError, SubbyteError, UnsupportedError

NAN, INF = math.nan, math.inf
EPS, BASE = "attention.layer_norm_rms_epsilon", "rope.freq_base"

# architecture, key, value, words of the message; the key's name is always one of them
KEYS: list[tuple[str, str, Any, str]] = [
    *[("llama", "block_count", n, "1 to 1024") for n in (0, 1025, 2**31, 2**32 - 1)],
    ("llama", "block_count", None, "missing"),
    ("llama", "block_count", "two", "integer"),
    ("llama", "block_count", 2.0, "integer"),
    *[("llama", "embedding_length", n, "1 to 1048576") for n in (0, 2**20 + 1, 2**32 - 1)],
    *[("llama", "feed_forward_length", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    ("llama", "feed_forward_length", [96, 100], "differs between layers"),
    ("llama", "feed_forward_length", [96, 96, 96], "2 integers"),
    *[("llama", "attention.head_count", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    *[("llama", "attention.head_count_kv", n, "1 to 4") for n in (0, 5, 2**32 - 1)],
    ("llama", "attention.head_count_kv", 3, "does not divide"),
    *[("llama", "attention.key_length", n, "1 to 4096") for n in (0, 4097, 2**31)],
    ("llama", "attention.value_length", 32, "equal"),
    ("llama", "context_length", 0, "1 to"),
    ("llama", "context_length", None, "missing"),
    ("qwen2", "expert_count", 8, "without routed experts"),
    *[("llama", EPS, x, "finite number from 1e-12 to 1") for x in (0.0, -1.0, NAN, INF, 1e30)],
    *[("llama", BASE, x, "finite number from 2 to inf") for x in (0.0, -1.0, NAN, INF, -INF, 1e-30, 1.0)],
    *[("llama", "rope.scaling.factor", x, "finite number") for x in (0.0, -2.0, NAN, INF, 1e-30, 1e30)],
    *[("llama", "rope.scale_linear", x, "finite number") for x in (0.0, NAN)],
    *[("llama", "rope.dimension_count", n, "16 to 16") for n in (0, 8, 18, 2**32 - 1)],
    *[("phi3", "rope.scaling.original_context_length", n, "1 to 4294967295") for n in (0, 2.5, "4k")],
    *[("qwen3", "rope.scaling.attn_factor", x, "0.01 to 100") for x in (0.0, -1.0, NAN, INF, 1e30)],
    ("llama", "rope.scaling.type", "wrong" * 1000, "none, linear, yarn, longrope"),
    ("phi3", "rope.dimension_count", 18, "2 to 16"),
    ("gemma3", "rope.dimension_count", 7, "odd"),
    ("gemma3", "rope.dimension_count", 34, "2 to 32"),
    *[("gemma3", "rope.freq_base_swa", x, "finite number") for x in (0.0, NAN)],
    *[("gemma3", "final_logit_softcapping", x, "finite number") for x in (-1.0, NAN, INF)],
    ("gemma3", "attention.sliding_window", 2.5, "integer"),
    *[("gemma3", "attention.sliding_window_pattern", x, "1 to") for x in (0, [True] * 6, [True] * 8, [1] * 7)],
    ("exaone4", "attention.sliding_window_pattern", [6] * 5, "5 bools"),
    ("exaone4", "attention.sliding_window", "wide", "integer"),
    ("exaone4", "attention.head_count", [4, 4, 4, 4, 0], "1 to 1048576"),
    ("exaone4", "nextn_predict_layers", 1, "not supported"),
    *[("deci", "attention.head_count", x, "9 integers") for x in ([4] * 8, [4] * 10, [4.0] * 9, ["4"] * 9)],
    *[("deci", "attention.head_count", [4] * 8 + [x], "0 to 1048576") for x in (-1, 2**20 + 1, 2**31 - 1, -(2**31))],
    ("deci", "attention.head_count", 0, "0 to 0"),  # the KV heads are still there
    ("deci", "attention.head_count", None, "missing"),
    *[("deci", "attention.head_count_kv", x, "0 to 8") for x in (9, 2**32 - 1, [2] * 8 + [9], [-1] * 9)],
    *[("deci", "attention.head_count_kv", [x, *[0] * 8], "in layer 0 does not divide") for x in (3, 5, 8)],
    ("deci", "attention.head_count_kv", 2, "= 2 in layer 1 does not divide deci.attention.head_count = 0"),
    *[("deci", "attention.head_count_kv", x, "0 in every layer") for x in (0, [0] * 9)],
    *[("deci", "feed_forward_length", x, "0 to 1048576") for x in (2**32 - 1, [-1] * 9, [96] * 8 + [2**31 - 1])],
    ("deci", "feed_forward_length", [96] * 3, "9 integers"),
    ("deci", "feed_forward_length", None, "missing"),
    ("deci", "attention.key_length", 2**13, "1 to 4096"),
    ("deci", "block_count", 0, "1 to 1024"),
    *[("granite", "logit_scale", x, "1e-06 to 1e+06") for x in (0.0, -1.0, NAN, INF, 1e-30)],
    ("granite", "logit_scale", "8", "1e-06 to 1e+06"),
    ("granite", "logit_scale", None, "missing"),
    ("granitemoe", "logit_scale", None, "missing"),
    *[
        ("granite", key, x, "0 to 1e+06")
        for x in (-1.0, NAN, INF, 1e30)
        for key in ("embedding_scale", "residual_scale", "attention.scale")
    ],
    ("granite", "residual_scale", [0.4, 0.4], "number"),
    ("granite", "rope.scaling.finetuned", 1, "bool"),
    *[("minicpm", "logit_scale", x, "1e-06 to 1e+06") for x in (0.0, INF)],
    *[("minicpm", "embedding_scale", x, "0 to 1e+06") for x in (-1.0, "12")],
    *[("mistral3", "attention.temperature_scale", x, "0 to 1e+06") for x in (-0.1, NAN, 1e30)],
    *[("mistral3", "rope.scaling.yarn_log_multiplier", x, "0 to 100") for x in (-1.0, INF, "1")],
    *[("mistral3", "rope.scaling.original_context_length", n, "1 to 4294967295") for n in (0, 2.5)],
    *[("gemma2", "attn_logit_softcapping", x, "0 to 1e+06") for x in (-1.0, NAN, INF, "50")],
    *[("gemma2", "final_logit_softcapping", x, "0 to 1e+06") for x in (-30.0, NAN)],
    ("gemma2", "attention.sliding_window_pattern", [True] * 2, "3 bools"),
    ("olmo2", "attention.sliding_window_pattern", 0, "1 to"),
    ("olmo2", "attention.sliding_window", 2.5, "integer"),
    ("glm4", "rope.dimension_count", 33, "2 to 32"),
    ("glm4", "rope.dimension_count", 15, "odd"),
    ("glm4", "rope.dimension_sections", [8, 12, 12, 0], "not computed for glm4"),
    ("smollm3", "rope.dimension_count", 8, "16 to 16"),
    ("hunyuan-dense", "rope.scaling.alpha", 1000.0, "not computed for hunyuan-dense"),
    *[("qwen3moe", "expert_count", n, "1 to 65536") for n in (0, 2**16 + 1, 2**32 - 1, 7.0, True)],
    ("qwen3moe", "expert_count", None, "missing"),
    *[("qwen3moe", "expert_used_count", n, "1 to 7") for n in (0, 8, 2**31, NAN, "3")],
    ("qwen3moe", "expert_used_count", None, "missing"),
    *[("qwen3moe", "expert_feed_forward_length", n, "1 to 1048576") for n in (0, 2**20 + 1, NAN)],
    ("qwen3moe", "expert_feed_forward_length", 2**20, "together they may have 1048576 hidden values"),
    *[("qwen2moe", "expert_shared_count", n, "0 to 32768") for n in (2**32 - 1, [-1], 1.0)],
    *[("qwen2moe", "expert_shared_feed_forward_length", n, "0 to 1048576") for n in (2**20 + 1, "64")],
    *[("glm4moe", "expert_gating_func", n, "supported are 1 (softmax)") for n in (4, 2**32 - 1)],
    *[("glm4moe", "expert_gating_func", x, "integer") for x in (NAN, "sigmoid", True)],
    *[("glm4moe", "expert_weights_scale", x, "0 to 10000") for x in (-1.0, NAN, INF, 1e30, "1.5")],
    *[("glm4moe", "expert_weights_norm", x, "bool") for x in (1, 2**32 - 1, NAN, "true")],
    *[("bailingmoe2", "expert_group_count", n, "groups must be equal") for n in (3, 8)],
    *[("bailingmoe2", "expert_group_count", n, "0 to 8") for n in (9, 2**32 - 1, NAN)],
    ("bailingmoe2", "expert_group_used_count", 1, "groups must be equal"),
    *[("bailingmoe2", "expert_group_used_count", n, "0 to 4") for n in (5, 2**32 - 1, True)],
    *[("ernie4_5-moe", "leading_dense_block_count", x, "integer") for x in ([-1], NAN)],
    *[("ernie4_5-moe", "interleave_moe_layer_step", x, "1 to 4294967295") for x in (0, 1.0)],
    *[("exaone-moe", "nextn_predict_layers", n, "0 to 4") for n in (5, 2**32 - 1, NAN)],
    ("qwen3moe", "nextn_predict_layers", 1, "not computed for qwen3moe"),
    *[("gpt-oss", "attention.sliding_window", x, "integer") for x in (NAN, "wide")],
    *[("mellum", "attention.sliding_window_pattern", x, "1 to") for x in (0, [True] * 4, 4.0)],
    *[("granitemoe", "logit_scale", x, "1e-06 to 1e+06") for x in (0.0, NAN)],
    ("minimax-m2", "rope.dimension_count", 18, "2 to 16"),
    ("qwen3moe", "attention.temperature_scale", 0.1, "not computed for qwen3moe"),
    *[("gemma4", "attention.sliding_window_pattern", x, "6 bools") for x in ([True] * 5, [1] * 6)],
    *[("gemma4", "attention.sliding_window_pattern", x, "an array says which") for x in (None, 0, 3)],
    *[("gemma4", "attention.sliding_window", x, "1 to 4294967295") for x in (None, 0, 2.5)],
    *[("gemma4", "attention.key_length_swa", x, "1 to 4096") for x in (None, 0, 4097, 2**32 - 1)],
    ("gemma4", "attention.value_length_swa", 32, "equal"),
    *[("gemma4", "attention.shared_kv_layers", x, "0 to 5") for x in (6, 2**32 - 1, "3")],
    *[("gemma4", "attention.shared_kv_layers", x, "has keys for layer 2") for x in (4, 5)],
    *[("gemma4", "rope.dimension_count_swa", x, "2 to 16") for x in (0, 18)],
    ("gemma4", "rope.dimension_count_swa", 7, "odd"),
    *[("gemma4", "rope.freq_base_swa", x, "finite number from 2 to inf") for x in (0.0, NAN)],
    *[("gemma4", "embedding_length_per_layer_input", x, "0 to 174762") for x in (2**18, 2**32 - 1, 32.0)],
    *[("gemma4", "final_logit_softcapping", x, "0 to 1e+06") for x in (-30.0, NAN, INF)],
    ("gemma4", "feed_forward_length", [96] * 5, "6 integers"),
    *[("deepseek2", "attention.kv_lora_rank", n, "1 to 4096") for n in (0, 4097, 2**32 - 1, 1.0, [128] * 3)],
    ("deepseek2", "attention.kv_lora_rank", None, "missing"),
    *[("deepseek2", "attention.q_lora_rank", n, "0 to 1048576") for n in (2**20 + 1, NAN, "96")],
    *[("deepseek2", "attention.key_length", n, "make 136 with") for n in (135, 137, 40, 4096)],
    *[("deepseek2", "attention.key_length_mla", n, "9 to 4096") for n in (0, 8, 4097, NAN)],
    *[("deepseek2", f"attention.{name}_length_mla", None, "missing") for name in ("key", "value")],
    *[("deepseek2", "attention.value_length_mla", n, "1 to 4096") for n in (0, 4097, 2**31)],
    *[("deepseek2", "rope.dimension_count", n, "2 to 136") for n in (0, 138)],
    ("deepseek2", "rope.dimension_count", 7, "odd"),
    *[("deepseek2", "rope.scaling.yarn_log_multiplier", x, "0 to 10") for x in (-0.1, NAN, INF, "0.1")],
    *[("deepseek2", "nextn_predict_layers", n, "0 to 2") for n in (3, 2**32 - 1)],
    ("deepseek2", "expert_group_used_count", 3, "0 to 2"),
    *[
        ("deepseek2", f"attention.indexer.{key}", 64, "not computed for deepseek2")
        for key in ("head_count", "key_length", "top_k")
    ],
    ("deepseek2", "attention.temperature_scale", 0.1, "not computed for deepseek2"),
    *[("llama", f"attention.{key}", 64, "not computed for llama") for key in ("kv_lora_rank", "key_length_mla")],
    *[("qwen35", "ssm.conv_kernel", n, "2 to 16") for n in (0, 1, 17, 2**32 - 1)],
    ("qwen35", "ssm.conv_kernel", 4.0, "integer"),
    ("qwen35", "ssm.conv_kernel", None, "missing"),
    *[("qwen35", "ssm.state_size", n, "1 to 4096") for n in (0, 4097, 2**31)],
    ("qwen35", "ssm.state_size", 17, "ssm.inner_size = 96 is not"),
    *[("qwen35", "ssm.inner_size", n, "1 to 349525") for n in (0, 2**20, 2**32 - 1)],
    ("qwen35", "ssm.inner_size", 95, "ssm.inner_size = 95 is not"),
    *[("qwen35", "ssm.time_step_rank", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    *[("qwen35", "ssm.group_count", n, "1 to 6") for n in (0, 7, NAN)],
    ("qwen35", "ssm.group_count", 4, "does not divide"),
    *[("qwen35", "attention.recurrent_layers", x, "4 bools") for x in ([True] * 3, [True] * 5, [1] * 4)],
    ("qwen35", "attention.recurrent_layers", 1, "4 bools"),
    ("qwen35", "full_attention_interval", 0, "1 to"),
    *[("qwen35", "rope.dimension_sections", x, "4 integers") for x in ([1] * 3, [1.0] * 4)],
    *[("qwen35", "rope.dimension_count", n, "2 to 24") for n in (0, 26)],
    ("qwen35moe", "expert_feed_forward_length", None, "missing"),
    ("qwen3moe", "ssm.conv_kernel", 4, "not computed for qwen3moe"),
    ("qwen3moe", "attention.recurrent_layers", [True, False], "not computed for qwen3moe"),
    *[("lfm2", "shortconv.l_cache", n, "2 to 16") for n in (0, 1, 17, NAN)],
    ("lfm2", "shortconv.l_cache", None, "missing"),
    ("lfm2", "attention.head_count_kv", 0, "0 in every layer"),
    ("lfm2", "attention.head_count_kv", [0, 3, 0, 0], "in layer 1 does not divide"),
    ("lfm2", "feed_forward_length", 0, "1 to 1048576"),
    ("lfm2", "embedding_length", 2**19, "1 to 349525"),
    *[("granitehybrid", "ssm.time_step_rank", n, "1 to 80") for n in (0, 81)],
    ("granitehybrid", "ssm.time_step_rank", 3, "does not divide granitehybrid.ssm.inner_size = 80"),
    *[("granitehybrid", "ssm.group_count", n, "1 to 4") for n in (0, 5, 2**32 - 1)],
    ("granitehybrid", "ssm.group_count", 3, "does not divide granitehybrid.ssm.time_step_rank = 4"),
    *[("granitehybrid", "ssm.state_size", n, "1 to 4096") for n in (0, 4097)],
    *[("granitehybrid", "ssm.inner_size", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    ("granitehybrid", "ssm.inner_size", 2**20, "inputs of a layer; there may be 1048576"),
    ("granitehybrid", "ssm.conv_kernel", 0, "2 to 16"),
    ("nemotron_h", EPS, 0.0, "finite number from 1e-12 to 1"),
    ("nemotron_h", "feed_forward_length", [0, 96, 0, 0, -1], "0 to 1048576"),
    ("nemotron_h_moe", "moe_latent_size", 32, "experts of a latent input are not supported"),
    ("nemotron_h_moe", "expert_used_count", [3] * 5, "integer"),
    *[("falcon-h1", "ssm.inner_size", n, "1 to 1048576") for n in (0, 2**21)],
]


def blocks(kind: str, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return quantize(values, GGMLQuantizationType[kind]), kind


ONES = np.ones(64, np.float32)
TENSORS: list[tuple[str, Any, str]] = [
    ("blk.1.attn_q.weight", None, "missing"),
    ("blk.0.ffn_norm.weight", None, "missing"),
    ("token_embd.weight", None, "missing"),
    ("output_norm.weight", None, "missing"),
    ("blk.0.attn_q.weight", np.zeros((64, 32), np.float32), "[32, 64]"),
    ("blk.0.ffn_up.weight", np.zeros((64, 96), np.float32), "[96, 64]"),  # transposed
    ("blk.0.attn_k.weight", np.zeros((2, 16, 64), np.float32), "[64, 16, 2]"),
    ("blk.0.attn_q.bias", np.zeros(63, np.float32), "[63]"),
    ("output.weight", np.zeros((N_VOCAB + 1, 64), np.float32), "[64, 269]"),
    ("output_norm.weight", ONES[:63], "[63]"),
    ("output_norm.weight", blocks("Q8_0", (1, 64)), "Q8_0"),
    ("output_norm.weight", (blocks("Q8_0", (1, 64))[0].reshape(-1), "Q8_0"), "Q8_0"),
    ("blk.0.attn_norm.weight", ONES.astype(np.int32), "I32"),
    ("blk.0.attn_norm.weight", ONES.astype(np.float64), "F64"),
    ("rope_freqs.weight", np.ones(9, np.float32), "[9]"),
    *[("rope_freqs.weight", np.array([1] * 7 + [x], np.float32), "positive") for x in (0.0, -1.0, NAN, INF)],
]

PHI3_TENSORS: list[tuple[str, Any, str]] = [
    ("blk.0.attn_qkv.weight", np.zeros((127, 64), np.float32), "[64, 128]"),
    ("blk.0.ffn_up.weight", np.zeros((191, 64), np.float32), "[64, 192]"),
    ("blk.0.ffn_up.weight", None, "[64, 192]"),
    ("rope_factors_short.weight", None, "missing"),
    ("rope_factors_long.weight", None, "missing"),
    ("rope_factors_long.weight", np.ones(5, np.float32), "[6]"),
    *[("rope_factors_short.weight", np.array([1] * 5 + [x], np.float32), "positive") for x in (0.0, -1.0, NAN, INF)],
]

MIXTURE_TENSORS: list[tuple[str, Any, str]] = [
    ("blk.1.ffn_gate_inp.weight", None, "missing"),
    *[
        ("blk.1.ffn_gate_inp.weight", np.zeros(shape, np.float32), f"{list(shape[::-1])}")
        for shape in ((6, 64), (8, 64), (7, 32), (64, 7), (64,))
    ],
    ("blk.0.ffn_gate_inp.bias", np.zeros(64, np.float32), "[64]"),
    *[(f"blk.1.ffn_{name}_exps.weight", None, "missing") for name in ("gate", "up", "down")],
    *[
        ("blk.0.ffn_up_exps.weight", np.zeros(shape, np.float32), f"{list(shape[::-1])}")
        for shape in ((6, 32, 64), (8, 32, 64), (7, 64, 32), (32, 7, 64), (7 * 32, 64), (32, 64))
    ],
    ("blk.0.ffn_down_exps.weight", np.zeros((7, 32, 64), np.float32), "[64, 32, 7]"),
    ("blk.0.ffn_up_exps.weight", np.zeros((7, 32, 64), np.int32), "I32"),
    ("blk.0.ffn_gate_up_exps.weight", np.zeros((7, 32, 64), np.float32), "ask for [64, 64, 7]"),
    *[("blk.0.ffn_up_exps.bias", np.zeros(shape, np.float32), "ask for [32, 7]") for shape in ((32,), (7, 64))],
    *[("blk.0.ffn_down_exps.scale", np.ones(n, np.float32), "ask for [7]") for n in (1, 8)],
    ("blk.0.ffn_gate_shexp.weight", np.zeros((65, 64), np.float32), "ask for [64, 64]"),
    *[(f"blk.0.{name}.weight", None, "missing") for name in ("ffn_up_shexp", "ffn_down_shexp", "ffn_gate_inp_shexp")],
    ("blk.0.ffn_gate_inp_shexp.weight", np.zeros((2, 64), np.float32), "[64, 2]"),
    ("blk.0.exp_probs_b.bias", np.zeros(8, np.float32), "ask for [7]"),
]

GEMMA4_TENSORS: list[tuple[str, Any, str]] = [
    *[
        (f"{name}.weight", None, "missing")
        for name in (
            "rope_freqs",
            "per_layer_token_embd",
            "per_layer_model_proj",
            "per_layer_proj_norm",
            "blk.0.attn_k",
            "blk.1.attn_k_norm",
            "blk.4.attn_q_norm",
            "blk.4.inp_gate",
            "blk.4.proj",
            "blk.4.post_norm",
            "blk.0.post_attention_norm",
            "blk.0.post_ffw_norm",
        )
    ],
    ("per_layer_token_embd.weight", np.zeros((N_VOCAB - 1, 192), np.float32), "ask for [192, 268]"),
    ("per_layer_token_embd.weight", np.zeros((N_VOCAB, 191), np.float32), "ask for [192, 268]"),
    ("per_layer_model_proj.weight", np.zeros((64, 192), np.float32), "ask for [64, 192]"),
    ("blk.2.attn_q_norm.weight", np.ones(16, np.float32), "ask for [32]"),
    ("blk.2.attn_v.weight", np.zeros((64, 64), np.float32), "ask for [64, 32]"),
    ("blk.0.layer_output_scale.weight", np.ones(2, np.float32), "ask for [1]"),
    ("rope_freqs.weight", np.ones(8, np.float32), "ask for [16]"),
    *[("rope_freqs.weight", np.array([1] * 15 + [x], np.float32), "positive") for x in (0.0, -1.0, NAN, INF)],
]
LATENT_TENSORS: list[tuple[str, Any, str]] = [
    *[
        (f"blk.1.{name}.weight", None, "missing")
        for name in (
            "attn_q_a",
            "attn_q_a_norm",
            "attn_q_b",
            "attn_kv_a_mqa",
            "attn_kv_a_norm",
            "attn_k_b",
            "attn_v_b",
            "attn_output",
        )
    ],
    *[
        ("blk.0.attn_k_b.weight", np.zeros(shape, np.float32), f"{list(shape[::-1])}")
        for shape in ((3, 128, 32), (5, 128, 32), (4, 32, 128), (128, 4, 32), (4 * 128, 32), (128, 32), (4,))
    ],
    ("blk.0.attn_k_b.weight", np.zeros((4, 128, 32), np.int32), "I32"),
    *[
        ("blk.2.attn_v_b.weight", np.zeros(shape, np.float32), f"{list(shape[::-1])}")
        for shape in ((4, 128, 40), (4, 41, 128), (1, 40, 128))
    ],
    ("blk.0.attn_kv_a_norm.weight", np.ones(136, np.float32), "ask for [128]"),
    ("blk.0.attn_kv_a_mqa.weight", np.zeros((128, 64), np.float32), "ask for [64, 136]"),
    ("blk.0.attn_q.weight", np.zeros((160, 64), np.float32), "no part of deepseek2"),
    ("blk.0.attn_kv_b.weight", np.zeros((288, 128), np.float32), "no part of deepseek2"),
    ("blk.0.indexer.attn_q_b.weight", np.zeros((64, 64), np.float32), "no part of deepseek2"),
]

UNSUPPORTED_KEYS = (
    "rope.scaling.type", "attention.value_length", "attention.value_length_swa", "rope.scaling.alpha",
    "moe_latent_size",
)  # fmt: skip
UNSUPPORTED_WORDS = (
    "no part of llama", "no part of deepseek2", "not computed for deepseek2", "not computed for llama",
    "Q8_0", "I32", "F64", "differs between layers", "without routed experts", "supported are 1 (softmax)",
    "not computed for qwen3moe", "not computed for glm4", "not supported",
)  # fmt: skip

# What the tensors do not bear out: architecture, keys, words
MISFITS: list[tuple[str, dict[str, Any], str]] = [
    *[("llama", {"block_count": n}, "tensor ") for n in (3, 1024)],
    *[("llama", {"embedding_length": n}, "tensor ") for n in (128, 2**20)],
    ("llama", {"feed_forward_length": 2**20}, "tensor "),
    ("llama", {"attention.key_length": 4096, "attention.value_length": 4096}, "tensor "),
    ("llama", {"attention.head_count": 2**10, "attention.head_count_kv": 2**10}, ""),
    ("llama", {"attention.head_count": 2}, ""),
    ("deci", {"feed_forward_length": 96}, "tensor blk."),
    ("deci", {"feed_forward_length": 2**20}, "tensor blk."),
    ("deci", {"attention.key_length": 32, "attention.value_length": 32}, "tensor blk."),
    ("deci", {"attention.head_count": DECI["n_head_kv"]}, "tensor blk."),
    ("deci", {"attention.head_count_kv": [1, 0, 3, 1, 3, 0, 2, 0, 1]}, "tensor blk."),
    ("deci", {"attention.head_count": [4] * 9, "attention.head_count_kv": [4] * 9}, "tensor blk."),
    (
        "deci",
        {"attention.head_count": 4, "attention.head_count_kv": 2, "feed_forward_length": 96, "block_count": 1024},
        "tensor blk.",
    ),
    (
        "deci",
        {"attention.head_count": 0, "attention.head_count_kv": 0, "feed_forward_length": 0},
        "head_count_kv is 0 in every layer",
    ),
    (
        "llama",
        {"attention.head_count": 2**19, "attention.key_length": 4096, "attention.value_length": 4096},
        "1048576",
    ),
    ("qwen2", {"rope.scaling.type": "longrope"}, "tensor rope_factors_short.weight is missing"),
    *[("qwen3moe", {"expert_count": n}, "tensor blk.0.ffn_gate_exps.weight has shape") for n in (6, 8, 2**16)],
    *[("qwen3moe", {"expert_feed_forward_length": n}, "tensor blk.0.ffn_gate_exps.weight") for n in (1, 33)],
    ("qwen3moe", {"expert_count": 1, "expert_used_count": 1}, "tensor blk.0.ffn_gate_exps.weight has shape"),
    ("qwen3moe", {"expert_count": 2**16, "expert_used_count": 2**10 + 1}, "1 to 1024"),
    ("qwen2moe", {"expert_shared_feed_forward_length": 63}, "tensor blk.0.ffn_gate_shexp.weight has shape"),
    ("qwen2moe", {"expert_shared_feed_forward_length": 0}, "tensor blk.0.ffn_gate_shexp.weight has shape"),
    *[("ernie4_5-moe", {"leading_dense_block_count": n}, "tensor blk.1.ffn_up.weight is missing") for n in (2, 2**31)],
    ("ernie4_5-moe", {"leading_dense_block_count": 0}, "tensor blk.0.ffn_gate_exps.weight is missing"),
    ("ernie4_5-moe", {"interleave_moe_layer_step": 2**32 - 1}, "tensor blk.1.ffn_up.weight is missing"),
    ("bailingmoe2", {"expert_group_count": 1}, "'bailingmoe2.expert_group_used_count' is u32 2"),
    ("deepseek2", {"attention.kv_lora_rank": 64, "attention.key_length": 72}, "tensor blk.0.attn_kv_a_mqa.weight has"),
    ("deepseek2", {"attention.q_lora_rank": 0}, "tensor blk.0.attn_q.weight is missing"),
    ("deepseek2", {"attention.q_lora_rank": 97}, "tensor blk.0.attn_q_a.weight has shape"),
    ("deepseek2", {"attention.key_length_mla": 4096, "attention.head_count": 512}, "all together may have 1048576"),
    *[("deepseek2", {"attention.value_length": n}, "1 to 4096") for n in (0, 4097)],
    *[
        ("deepseek2", {"attention.key_length_mla": None, "attention.value_length_mla": None, **keys}, words)
        for keys, words in (
            ({}, "tensor blk.0.attn_q_b.weight has shape"),
            ({"attention.key_length": 8}, "'deepseek2.attention.key_length' is u32 8"),
            ({"attention.key_length": None}, "'deepseek2.attention.key_length' is missing"),
        )
    ],
    ("deepseek2", {"attention.value_length_mla": 41}, "tensor blk.0.attn_v_b.weight has shape"),
    ("deepseek2", {"attention.head_count": 8}, "tensor blk.0.attn_q_b.weight has shape"),
    ("deepseek2", {"rope.dimension_count": 4, "attention.key_length": 132}, "tensor blk.0.attn_kv_a_mqa.weight has"),
    ("llama", {"expert_count": 8}, "'llama.expert_used_count' is missing"),
    ("qwen35", {"ssm.conv_kernel": 3}, "tensor blk.0.ssm_conv1d.weight has shape"),
    ("qwen35", {"ssm.group_count": 3}, "tensor blk.0.attn_qkv.weight has shape"),
    (
        "qwen35",
        {"ssm.state_size": 32, "ssm.time_step_rank": 3, "ssm.group_count": 1},
        "tensor blk.0.ssm_beta.weight has shape",
    ),
    ("qwen35", {"attention.recurrent_layers": [True] * 4}, "tensor blk.2.attn_qkv.weight is missing"),
    ("qwen35", {"attention.recurrent_layers": None}, "tensor blk.2.attn_qkv.weight is missing"),
    ("lfm2", {"shortconv.l_cache": 4}, "tensor blk.0.shortconv.conv.weight has shape"),
    ("lfm2", {"attention.head_count_kv": 2}, "tensor blk.0.attn_q.weight is missing"),
    ("granitehybrid", {"ssm.state_size": 4096, "ssm.group_count": 1}, "tensor blk.0.ssm_in.weight has shape"),
    ("granitehybrid", {"ssm.group_count": 4}, "tensor blk.0.ssm_in.weight has shape"),
    ("nemotron_h", {"feed_forward_length": 96}, "tensor blk.0.ffn_up.weight is missing"),
    ("falcon-h1", {"ssm.time_step_rank": 8}, "tensor blk.0.ssm_in.weight has shape"),
    ("llama", {"expert_count": 8, "expert_used_count": 2}, "tensor blk.0.ffn_gate_exps.weight is missing"),
]

NO_HEADS_FIRST = {**DECI, "n_head": [0, *DECI["n_head"][1:]], "n_head_kv": [0, *DECI["n_head_kv"][1:]]}
MANY_EXPERTS = {**SHAPES["qwen3moe"], "n_layer": 1, "n_embd": 8, "n_expert": 2**16, "n_used": 8, "n_ff_exp": 1}
SINGLE_EXPERTS: dict[str, Any] = {
    **{f"blk.0.ffn_{name}_exps.weight": None for name in ("gate", "up", "down")},
    **{f"blk.0.ffn_{name}.{i}.weight": np.zeros((32, 64), np.float32) for name in ("gate", "up") for i in range(7)},
    **{f"blk.0.ffn_down.{i}.weight": np.zeros((64, 32), np.float32) for i in range(7)},
}
PARTS = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up")
NO_LAYER_1 = model(shape={**LLAMA, "n_layer": 3}, tensors={f"blk.1.{name}.weight": None for name in PARTS})
NAMES = ("../x", "x" * 10**6, "", "_config", "__init__", "llama\n", "LLAMA", "bert", "clip", "mamba")


def cut_short(n_bytes: int) -> Write:
    """A tiny mixture whose file ends so many bytes too early: its last tensor is a layer's ffn_down_exps."""

    def write(path: Path) -> None:
        write_model(path, shape={**LLAMA, **MOE})
        path.write_bytes(path.read_bytes()[:-n_bytes])

    return write


OTHER = [
    ("a first layer without heads", model("deci", shape=NO_HEADS_FIRST, **{"attention.key_length": None}), FormatError,
     "'deci.attention.key_length' is missing and would be 0"),
    ("a layer that is left out", NO_LAYER_1, FormatError, "tensor blk.1.attn_norm.weight is missing"),
    ("no gate", model(tensors={"blk.0.ffn_gate.weight": None}), FormatError, "tensor blk.0.ffn_gate.weight is missing"),
    *[(f"{n} rows of embeddings", model(n_vocab=n), FormatError, f"[64, {n}]") for n in (1, N_VOCAB - 1, N_VOCAB + 1)],
    *[(f"a tensor {name} that would matter", model(tensors={name: np.zeros(64, np.float32)}), UnsupportedError,
       f"tensor {name} is no part of llama")
      for name in ("blk.1.attn_sub_norm.weight", "blk.0.nextn.eh_proj.weight", "output_norm.bias")],
    ("a tensor of no layer", model(tensors={"blk.2.attn_q.weight": np.zeros(64, np.float32)}), None),
    ("a context of 4 billion", model(context_length=2**32 - 1), None),
    *[(f"a window of {n}", model("gemma3", **{"attention.sliding_window": n}), None) for n in (0, 1, 2, 2**32 - 1)],
    ("a norm of zeros", model(tensors={"output_norm.weight": np.zeros(64, np.float32)}), None),
    ("a matrix of zeros", model(tensors={"blk.0.attn_q.weight": np.zeros((64, 64), np.float32)}), None),
    ("no architecture", metadata({"general.architecture": None}), FormatError, "general.architecture"),
    ("an architecture that is a number", metadata({"general.architecture": 7}), FormatError, "general.architecture"),
    *[(f"architecture {name[:9]!r}", metadata({"general.architecture": name}), UnsupportedError, "gemma3, gemma4")
      for name in NAMES],
    ("block_count as u64", metadata({"llama.block_count": (U64, 2)}), None),
    ("block_count as u8", metadata({"llama.block_count": (U8, 2)}), None),
    ("block_count as i32 -1", metadata({"llama.block_count": (I32, -1)}), FormatError, "llama.block_count"),
    ("block_count as bool", metadata({"llama.block_count": (BOOL, True)}), FormatError, "llama.block_count"),
    ("block_count of 2^63", metadata({"llama.block_count": (U64, 2**63)}), FormatError, "llama.block_count"),
    ("block_count as an array", metadata({"llama.block_count": [2, 2]}), FormatError, "llama.block_count"),
    ("eps as f64", metadata({f"llama.{EPS}": (F64, 1e-5)}), None),
    ("eps as text", metadata({f"llama.{EPS}": "1e-5"}), FormatError, EPS),
    ("eps as an array", metadata({f"llama.{EPS}": [1e-5]}), FormatError, EPS),
    ("eps missing", metadata({f"llama.{EPS}": None}), FormatError, EPS),
    ("freq_base as text", metadata({f"llama.{BASE}": "big"}), FormatError, BASE),
    ("freq_base of 1e38", metadata({f"llama.{BASE}": (F32, 1e38)}), None),
    ("keys of another architecture", metadata({"general.architecture": "qwen3"}), FormatError, "qwen3."),
    ("a tensor for each expert", model("qwen3moe", tensors=SINGLE_EXPERTS), UnsupportedError,
     "tensor blk.0.ffn_gate.0.weight", "files of before April 2024", "convert the model again"),
    ("no key of groups but of those used", metadata({"bailingmoe2.expert_group_count": None}, "bailingmoe2"),
     FormatError, "bailingmoe2.expert_group_used_count"),
    ("experts whose last byte is missing", cut_short(1), FormatError, "blk.1.ffn_down_exps.weight"),
    ("experts cut in the middle", cut_short(2 * 64 * 32 * 4), FormatError, "blk.1.ffn_down_exps.weight"),
    *[(f"a mixture's window of {n}", model("gpt-oss", **{"attention.sliding_window": n}), None)
      for n in (0, 1, 2**32 - 1)],
    *[(f"{key} 0", model("glm4moe", **{key: value}), None)
      for key, value in (("expert_gating_func", 0), ("expert_weights_scale", 0.0), ("expert_group_count", 0))],
    *[(what, model("qwen3moe", tensors={f"blk.0.{name}.weight": np.ones(shape, np.float32)}), UnsupportedError,
       f"tensor blk.0.{unread}.weight is no part of qwen3moe")
      for what, name, shape, unread in (
          ("experts fused and apart", "ffn_gate_up_exps", (7, 64, 64), "ffn_gate_exps"),
          ("experts beside a dense network", "ffn_down", (64, 96), "ffn_down"),
      )],
    *[(f"{len(sinks)} sinks of {sinks[0]}", model("gpt-oss", tensors={"blk.1.attn_sinks.weight": sinks}), error, says)
      for sinks, error, says in (
          (np.ones(5, np.float32), FormatError, "ask for [4]"),
          (np.full(4, NAN, np.float32), NumericError, "not finite"),
          (np.full(4, INF, np.float32), NumericError, "not finite"),
      )],
    ("as many experts as there may be", model("qwen3moe", shape=MANY_EXPERTS), None),
    ("keys of a layer with fewer heads", model("gemma4", **{"attention.head_count_kv": [2, 2, 1, 2, 4, 1]}),
     FormatError, "as many KV heads before them has keys for layer 4"),
    *[(f"a layer's output times {x}", model("gemma4", tensors={"blk.3.layer_output_scale.weight": np.float32([x])}),
       NumericError, "not finite") for x in (NAN, INF)],
    ("a layer's output times 0", model("gemma4", tensors={"blk.3.layer_output_scale.weight": np.float32([0])}), None),
    ("frequencies divided by 1e30", model("gemma4", tensors={"rope_freqs.weight": np.float32([1] * 4 + [1e30] * 12)}),
     None),
    *[(f"a mixture beside a dense network without {name}",
       model("gemma4", shape=GEMMA4_EXPERTS, tensors={f"blk.1.{name}": None}), FormatError, f"blk.1.{name} is missing")
      for name in ("ffn_gate_inp.weight", "ffn_gate_inp.scale", "post_ffw_norm_1.weight", "post_ffw_norm_2.weight",
                   "pre_ffw_norm_2.weight", "ffn_down.weight", "ffn_down_exps.weight")],
    ("a router's scale of another length",
     model("gemma4", shape=GEMMA4_EXPERTS, tensors={"blk.1.ffn_gate_inp.scale": np.ones(7, np.float32)}), FormatError,
     "ask for [64]"),
    ("inputs of a delta net in one matrix",
     model("qwen3next", tensors={"blk.0.ssm_in.weight": np.zeros((320, 64), np.float32)}),
     UnsupportedError, "tensor blk.0.ssm_in.weight", "files of 2025", "convert the model again"),
]  # fmt: skip


def _name(value: Any) -> str:
    return str(value)[:12]


def _tensor(arch: str, name: str, tensor: Any, words: str) -> tuple[Any, ...]:
    what = f"{arch}: {name} {'left out' if tensor is None else words}"
    return what, model(arch, tensors={name: tensor}), _error(words), words


def _error(words: str, key: str = "") -> type[SubbyteError]:
    return UnsupportedError if key in UNSUPPORTED_KEYS or words in UNSUPPORTED_WORDS else FormatError


CASES = [
    *section("G", [
        (f"{arch}.{key} = {_name(value)}", model(arch, **{key: value}), _error(words, key), f"{arch}.{key}", words)
        for arch, key, value, words in KEYS
    ]),
    *section("H", [
        (", ".join(f"{arch}.{key} = {_name(value)}" for key, value in changes.items())[:70], model(arch, **changes),
         FormatError, words)
        for arch, changes, words in MISFITS
    ]),
    *section("I", [
        *[_tensor("llama", *case) for case in TENSORS],
        *[_tensor("phi3", *case) for case in PHI3_TENSORS],
        *[_tensor("qwen2moe", *case) for case in MIXTURE_TENSORS],
        *[_tensor("deepseek2", *case) for case in LATENT_TENSORS],
        *[_tensor("qwen3moe", f"blk.0.{name}.weight", None, "missing") for name in ("attn_q_norm", "attn_k_norm")],
        *[_tensor("gemma4", *case) for case in GEMMA4_TENSORS],
        _tensor("llama", "blk.0.attn_q_norm.weight", np.ones(16, np.float32), "no part of llama"),
    ]),
    *section("J", OTHER),
]  # fmt: skip
