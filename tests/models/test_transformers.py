"""Logits of small random models against Hugging Face transformers: `make reference` fetches it and runs these."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hf_convert import LAYER_SCALE, SELECTION_BIAS, convert
from recurrent_oracle import DELTA_NETS
from tiny_models import N_VOCAB

import subbyte as sb

HOW = "torch or transformers is missing: `make reference` fetches both (300 MB) and compares"
torch = pytest.importorskip("torch", reason=HOW)
transformers = pytest.importorskip("transformers", reason=HOW)

TOKENS = [int(t) for t in np.random.default_rng(5).integers(0, N_VOCAB, 96)]
BOUND = 1e-4  # logits of standard deviation 1; measured: at most 1.4e-5
DELTA_BOUND = 5e-4  # short queries and keys are brought to length 1, with their rounding; transformers' own is 8e-5

SHAPE: dict[str, Any] = {
    "vocab_size": N_VOCAB, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "bos_token_id": 266, "eos_token_id": 267, "pad_token_id": None,
}  # fmt: skip

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,  # so that of 8 pairs one is kept, one blended, the others stretched
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}


def longrope(n_ctx_orig: int, n_rot: int) -> dict[str, Any]:
    """Factors for short contexts, up to n_ctx_orig positions, and for longer ones."""
    pairs = range(n_rot // 2)
    rope = {
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": n_rot / 16,
        "short_factor": [1 + 0.05 * p for p in pairs], "long_factor": [1.5 + p for p in pairs],
    }  # fmt: skip
    return {"original_max_position_embeddings": n_ctx_orig, "rope_parameters": rope}


GEMMA3: dict[str, Any] = {
    "num_hidden_layers": 7, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16,
    "rope_parameters": {"full_attention": {**ROPE, "rope_theta": 1e6}, "sliding_attention": ROPE},
}  # fmt: skip
STRETCHED = {"full_attention": {**LINEAR, "rope_theta": 1e6}, "sliding_attention": ROPE}


GRANITE = {
    "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.1, "logits_scaling": 1.6,
}  # fmt: skip
MOE = {
    "num_local_experts": 8, "num_experts": 8, "n_routed_experts": 8, "num_experts_per_tok": 3,
    "moe_intermediate_size": 48,
}  # fmt: skip
DELTA_NET = {
    "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 24,
    "linear_value_head_dim": 24, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.25},
}  # fmt: skip
MAMBA2 = {"mamba_n_heads": 6, "mamba_d_head": 32, "mamba_n_groups": 3, "mamba_d_state": 24}
FALCON = {
    **MAMBA2, "mamba_d_ssm": 192, "head_dim": 32, "embedding_multiplier": 2.0, "lm_head_multiplier": 0.5,
    "mlp_multipliers": [0.7, 1.3], "key_multiplier": 0.8, "attention_out_multiplier": 0.9,
    "attention_in_multiplier": 1.1, "ssm_multipliers": [0.9, 1.2, 0.8, 1.1, 0.7], "ssm_in_multiplier": 1.2,
    "ssm_out_multiplier": 0.6,
}  # fmt: skip

LATENT = {
    "num_key_value_heads": 6, "q_lora_rank": 40, "kv_lora_rank": 56, "qk_nope_head_dim": 24, "qk_rope_head_dim": 16,
    "v_head_dim": 20, "rms_norm_eps": 1e-6,  # which transformers takes for some norms whatever is asked for
}  # fmt: skip


GEMMA4: dict[str, Any] = {
    "num_hidden_layers": 6, "head_dim": 16, "global_head_dim": 32, "sliding_window": 16,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2, "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": N_VOCAB, "final_logit_softcapping": 30.0,
    "rope_parameters": {
        "sliding_attention": ROPE, "full_attention": {
            "rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6,
        },
    },
}  # fmt: skip


class Case(NamedTuple):
    """A GGUF architecture, the model_type that transformers has for it, and what its configuration changes of SHAPE."""

    arch: str
    model_type: str
    changes: dict[str, Any]


CASES = {
    "llama": Case("llama", "llama", {}),
    "llama3, tied": Case("llama", "llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama, biases": Case("llama", "llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, linear": Case("llama", "llama", {"rope_parameters": LINEAR}),
    "llama, yarn": Case("llama", "llama", {"rope_parameters": YARN}),
    "mistral, wide heads": Case("llama", "mistral", {"head_dim": 32, "sliding_window": None}),
    "qwen2": Case("qwen2", "qwen2", {}),
    "qwen2, tied": Case("qwen2", "qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
    "qwen2, yarn": Case("qwen2", "qwen2", {"rope_parameters": YARN}),
    "qwen3": Case("qwen3", "qwen3", {"head_dim": 24}),
    "qwen3, yarn": Case("qwen3", "qwen3", {"head_dim": 32, "rope_parameters": YARN}),
    "gemma3": Case("gemma3", "gemma3_text", GEMMA3),
    "gemma3, linear": Case("gemma3", "gemma3_text", {**GEMMA3, "rope_parameters": STRETCHED}),
    "gemma3, softcap": Case("gemma3", "gemma3_text", {**GEMMA3, "final_logit_softcapping": 5.0}),
    "gemma3, as 27B": Case("gemma3", "gemma3_text", {  # alone in scaling by n_embd / n_head
        **GEMMA3, "num_hidden_layers": 62, "query_pre_attn_scalar": 96 // 6,
    }),
    "phi3": Case("phi3", "phi3", {}),
    "phi3, partial rope": Case("phi3", "phi3", {"rope_parameters": {**ROPE, "partial_rotary_factor": 0.75}}),
    "phi3, short factors": Case("phi3", "phi3", longrope(128, 16)),
    "phi3, long factors": Case("phi3", "phi3", longrope(64, 16)),
    "phi3, long factors of a part": Case("phi3", "phi3", longrope(64, 12)),
    "exaone4": Case("exaone4", "exaone4", {
        "sliding_window": None, "layer_types": ["full_attention"] * 3, "rope_parameters": LLAMA3,
    }),
    "exaone4, windows": Case("exaone4", "exaone4", {
        "num_hidden_layers": 8, "sliding_window": 16, "sliding_window_pattern": 4, "rope_parameters": LLAMA3,
    }),
    "arcee": Case("arcee", "arcee", {}),
    "ernie4_5": Case("ernie4_5", "ernie4_5", {"head_dim": 32}),
    "gemma": Case("gemma", "gemma", {"head_dim": 32}),
    "gemma2": Case("gemma2", "gemma2", {
        "num_hidden_layers": 4, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16,
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0,
    }),
    "glm4": Case("glm4", "glm4", {
        "head_dim": 32, "attention_bias": True, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
    }),
    "granite": Case("granite", "granite", GRANITE),
    "hunyuan-dense": Case("hunyuan-dense", "hunyuan_v1_dense", {"head_dim": 32, "tie_word_embeddings": True}),
    "mistral3": Case("mistral3", "ministral3", {"head_dim": 32, "rope_parameters": {
        **YARN, "beta_fast": 0.5, "beta_slow": 0.02, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 32, "llama_4_scaling_beta": 0.3,
    }}),
    "olmo2": Case("olmo2", "olmo2", {}),
    "olmo3, yarn": Case("olmo2", "olmo3", {
        "num_hidden_layers": 8, "sliding_window": 16, "rope_parameters": {**YARN, "attention_factor": 1.2},
    }),
    "seed_oss": Case("seed_oss", "seed_oss", {"head_dim": 32, "attention_bias": True, "attention_out_bias": False}),
    "smollm3": Case("smollm3", "smollm3", {"num_hidden_layers": 5}),
    "mixtral": Case("llama", "mixtral", MOE),
    "qwen3moe": Case("qwen3moe", "qwen3_moe", {**MOE, "head_dim": 24, "norm_topk_prob": True}),
    "qwen2moe": Case("qwen2moe", "qwen2_moe", {**MOE, "shared_expert_intermediate_size": 64}),
    "olmoe": Case("olmoe", "olmoe", MOE),
    "gpt-oss": Case("gpt-oss", "gpt_oss", {
        **MOE, "num_hidden_layers": 4, "head_dim": 32, "sliding_window": 16, "rope_parameters": ROPE,
    }),
    "gpt-oss, yarn": Case("gpt-oss", "gpt_oss", {**MOE, "head_dim": 32, "rope_parameters": {**YARN, "truncate": True}}),
    "granitemoe": Case("granitemoe", "granitemoe", {**MOE, **GRANITE}),
    "granitemoe, shared": Case("granitemoe", "granitemoeshared", {**MOE, **GRANITE, "shared_intermediate_size": 64}),
    "glm4moe": Case("glm4moe", "glm4_moe", {
        **MOE, "head_dim": 32, "attention_bias": True, "use_qk_norm": True, "routed_scaling_factor": 1.5,
        "n_shared_experts": 2, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
    }),
    "ernie4_5-moe": Case("ernie4_5-moe", "ernie4_5_moe", {
        **MOE, "moe_num_experts": 8, "moe_k": 3, "moe_num_shared_experts": 2, "moe_layer_start_index": 1,
    }),
    "hunyuan-moe": Case("hunyuan-moe", "hunyuan_v1_moe", {**MOE, "moe_topk": 3, "head_dim": 16}),
    "exaone-moe": Case("exaone-moe", "exaone_moe", {
        **MOE, "num_hidden_layers": 8, "head_dim": 16, "sliding_window": 16, "sliding_window_pattern": 4,
        "rope_parameters": LLAMA3,
    }),
    "minimax-m2": Case("minimax-m2", "minimax_m2", {
        **MOE, "head_dim": 32, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
    }),
    "mellum": Case("mellum", "mellum", {
        **MOE, "num_hidden_layers": 4, "head_dim": 32, "sliding_window": 16,
        "layer_types": [*["sliding_attention"] * 3, "full_attention"], "mlp_layer_types": ["sparse"] * 4,
        "rope_parameters": {"full_attention": YARN, "sliding_attention": ROPE},
    }),
    "gemma4": Case("gemma4", "gemma4_text", {
        **GEMMA4, "num_kv_shared_layers": 3, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 24,
    }),
    "gemma4, keys as values": Case("gemma4", "gemma4_text", {
        **GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 1, "final_logit_softcapping": 5.0,
    }),
    "gemma4, experts": Case("gemma4", "gemma4_text", {
        **GEMMA4, **MOE, "enable_moe_block": True, "top_k_experts": 3, "num_hidden_layers": 3,
        "layer_types": GEMMA4["layer_types"][:3],
    }),
    "deepseek2, as V2-Lite": Case("deepseek2", "deepseek_v2", {
        **MOE, **LATENT, "q_lora_rank": None, "n_shared_experts": 2, "first_k_dense_replace": 1,
    }),
    "deepseek2, as V3": Case("deepseek2", "deepseek_v3", {
        **MOE, **LATENT, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1, "num_mtp_layers": 0,
        "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
    }),
    "deepseek2, as GLM-4.7-Flash": Case("deepseek2", "glm4_moe_lite", {**MOE, **LATENT}),
    "qwen35": Case("qwen35", "qwen3_5_text", {**DELTA_NET, "head_dim": 32}),
    "qwen35, tied": Case("qwen35", "qwen3_5_text", {**DELTA_NET, "head_dim": 32, "tie_word_embeddings": True,
                                                    "linear_num_key_heads": 1}),
    "qwen35moe": Case("qwen35moe", "qwen3_5_moe_text", {
        **DELTA_NET, **MOE, "head_dim": 32, "shared_expert_intermediate_size": 64,
    }),
    "qwen3next": Case("qwen3next", "qwen3_next", {
        **DELTA_NET, **MOE, "head_dim": 32, "shared_expert_intermediate_size": 64,
    }),
    "lfm2": Case("lfm2", "lfm2", {
        "norm_eps": 1e-5, "block_auto_adjust_ff_dim": False, "tie_word_embeddings": True,
        "layer_types": ["conv", "full_attention", "conv"],
    }),
    "lfm2, wide": Case("lfm2", "lfm2", {
        "norm_eps": 1e-5, "block_auto_adjust_ff_dim": False, "conv_L_cache": 5, "tie_word_embeddings": True,
        "layer_types": ["full_attention", "conv", "conv"],
    }),
    "lfm2moe": Case("lfm2moe", "lfm2_moe", {
        **MOE, "norm_eps": 1e-5, "num_dense_layers": 1, "tie_word_embeddings": True,
        "layer_types": ["conv", "full_attention", "conv"],
    }),
    "granitehybrid": Case("granitehybrid", "granitemoehybrid", {
        **MOE, **GRANITE, **MAMBA2, "shared_intermediate_size": 64, "position_embedding_type": "rope",
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    }),
    "nemotron_h": Case("nemotron_h", "nemotron_h", {
        "layers_block_type": ["linear_attention", "mlp", "full_attention"], "head_dim": 32, "layer_norm_epsilon": 1e-5,
        "mamba_num_heads": 6, "mamba_head_dim": 20, "n_groups": 3, "ssm_state_size": 24,
        "time_step_min": 1e-30,  # transformers makes dt at least that; llama.cpp's files don't say it
    }),
    "falcon-h1": Case("falcon-h1", "falcon_h1", {**FALCON, "mamba_rms_norm": False}),
    "falcon-h1, norm": Case("falcon-h1", "falcon_h1", {
        **FALCON, "mamba_rms_norm": True, "mamba_norm_before_gate": False,
    }),
    # transformers has none of its own for these two: EXAONE 3 is a Llama, and so is a deci whose layers are all alike.
    "exaone": Case("exaone", "llama", {"rope_parameters": LLAMA3}),
    "deci": Case("deci", "llama", {"rope_parameters": LLAMA3}),
}  # fmt: skip


def random_model(case: Case) -> Any:
    """With norms, biases and matrices all random: transformers starts norms and biases with one value."""
    config = transformers.AutoConfig.for_model(case.model_type, **{**SHAPE, **case.changes})
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a model gains nothing from more, and loses much where the machine is busy
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for p in model.parameters():
        noise = torch.randn(p.shape)
        p.data = noise / p.shape[-1] ** 0.5 if p.ndim > 1 else p.data + 0.1 * noise
    for name, x in model.named_buffers():
        if name.endswith((SELECTION_BIAS, LAYER_SCALE)):
            x += 0.1 * torch.randn(x.shape)
    return model


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = random_model(case)
    with torch.no_grad():
        expected = model(torch.tensor([TOKENS])).logits[0].numpy()
    convert(model, case.arch, tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as ours, ours.session(len(TOKENS), "f32") as session:
        found = session.eval(TOKENS, "all")
    assert np.abs(found - expected).max() < (DELTA_BOUND if case.arch in DELTA_NETS else BOUND)
