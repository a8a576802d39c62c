"""Hyper-parameters that an architecture's file did not read: refused where they would change the results.

The keys are those of gguf-py's `constants.py`. What no model file here computes is allowed at the value that leaves it
out; a key that is known to change nothing is allowed at any.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from subbyte.errors import UnsupportedError
from subbyte.models._config import BaseConfig

_log = logging.getLogger("subbyte")

OFF: Mapping[str, tuple[float, ...]] = {
    "use_parallel_residual": (0,), "logit_scale": (0, 1), "residual_scale": (0, 1), "embedding_scale": (0, 1),
    "attn_logit_softcapping": (0,), "router_logit_softcapping": (0,), "final_logit_softcapping": (0,),
    "swin_norm": (0,), "rescale_every_n_layers": (0,), "time_mix_extra_dim": (0,), "time_decay_extra_dim": (0,),
    "token_shift_count": (0,), "full_attention_interval": (0, 1), "activation_sparsity_scale": (0,),
    "altup.active_idx": (0,), "altup.num_inputs": (0, 1), "embedding_length_per_layer_input": (0,),
    "swiglu_clamp_exp": (0,), "swiglu_clamp_shexp": (0,), "n_deepstack_layers": (0,), "nextn_predict_layers": (0,),
    "decoder_block_count": (0,),
    "attention.max_alibi_bias": (0,), "attention.clamp_kqv": (0,), "attention.causal": (1,),
    "attention.group_norm_groups": (0,), "attention.q_lora_rank": (0,), "attention.kv_lora_rank": (0,),
    "attention.decay_lora_rank": (0,), "attention.iclr_lora_rank": (0,), "attention.value_residual_mix_lora_rank": (0,),
    "attention.gate_lora_rank": (0,), "attention.relative_buckets_count": (0,), "attention.output_scale": (0, 1),
    "attention.temperature_length": (0,), "attention.temperature_scale": (0,), "attention.key_length_mla": (0,),
    "attention.value_length_mla": (0,), "attention.shared_kv_layers": (0,), "attention.indexer.head_count": (0,),
    "attention.indexer.key_length": (0,), "attention.indexer.top_k": (0,),
    "rope.dimension_sections": (0,), "rope.scaling.alpha": (0, 1), "rope.scaling.yarn_log_multiplier": (0,),
    "ssm.conv_kernel": (0,), "ssm.inner_size": (0,), "ssm.state_size": (0,), "ssm.time_step_rank": (0,),
    "ssm.group_count": (0,), "ssm.dt_b_c_rms": (0,), "shortconv.l_cache": (0,), "attention.recurrent_layers": (0,),
}  # fmt: skip
"""The values that mean "not used"; of an array, each must be one of them."""

NO_MATTER = frozenset((
    "vocab_size", "tensor_data_layout", "pooling_type", "features_length", "decoder_start_token_id",
    "attention.layer_norm_epsilon", "attention.group_norm_epsilon", "attention.sliding_window_pattern",
    "rope.scaling.finetuned", "rope.scaling.factor", "rope.scale_linear",
    # of mixtures of experts, which expert_count makes of a model
    "leading_dense_block_count", "expert_feed_forward_length", "expert_shared_feed_forward_length",
    "expert_chunk_feed_forward_length", "expert_used_count", "expert_shared_count", "expert_group_count",
    "expert_group_used_count", "expert_weights_scale", "expert_weights_norm", "expert_gating_func",
    "expert_group_scale", "experts_per_group", "moe_every_n_layers", "moe_latent_size", "interleave_moe_layer_step",
))  # fmt: skip
"""What changes nothing, or nothing in a model that has got as far as here."""


def check_unread(unread: Mapping[str, Any], c: BaseConfig) -> None:
    """Refuses what would change the results; warns of a sliding window left out, and of keys that are not known.

    unread: keys without the architecture's prefix, and their values. Raises UnsupportedError.
    """
    same: Mapping[str, tuple[float, ...]] = {  # what says the same as another key
        "attention.key_length_swa": (c.head_dim,), "attention.value_length_swa": (c.head_dim,),
        "attention.scale": (0, c.head_dim**-0.5), "embedding_length_out": (0, c.n_embd),
        "rope.dimension_count_swa": (c.rope.n_rot,), "rope.freq_base_swa": (c.rope.freq_base,),
    }  # fmt: skip
    unknown = []
    for name, value in unread.items():
        allowed = OFF.get(name) or same.get(name)
        if allowed is not None:
            if not all(_among(one, allowed) for one in (value if isinstance(value, list) else [value])):
                raise UnsupportedError(
                    f"{c.architecture}.{name} = {str(value)[:40]} is not computed for {c.architecture}, and passing it "
                    f"over would change the results; allowed is {' or '.join(f'{one:g}' for one in allowed)}"
                )
        elif name == "attention.sliding_window":
            if isinstance(value, int) and 0 < value < c.n_ctx_train:
                _log.warning(
                    "%s: every layer sees all positions, no window of %d, as in llama.cpp", c.architecture, value
                )
        elif name not in NO_MATTER:
            unknown.append(name)
    if unknown:
        _log.warning("%s: metadata not known here and passed over: %s", c.architecture, ", ".join(unknown)[:200])


def _among(value: Any, allowed: tuple[float, ...]) -> bool:
    return isinstance(value, int | float) and any(math.isclose(value, one, rel_tol=1e-5) for one in allowed)
