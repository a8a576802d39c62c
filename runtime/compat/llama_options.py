"""Arguments of llama-cpp-python's `Llama`: what counts here, what changes nothing, and what can't be done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from subbyte.runtime import arguments
from subbyte.runtime.model import Model
from subbyte.runtime.types import CacheType, SessionOptions

HARMLESS = frozenset(
    "n_gpu_layers split_mode main_gpu tensor_split use_mmap use_mlock n_batch n_ubatch n_threads_batch offload_kqv "
    "flash_attn op_offload swa_full no_perf numa verbose embedding spm_infill vocab_only lora_scale".split()
)
"""Arguments of GPUs, batches, memory and messages, which change no result."""

_NEUTRAL: Mapping[str, tuple[object, ...]] = {  # arguments that would change results, and values with which they don't
    "rope_scaling_type": (None, -1),
    "rope_freq_base": (0.0,),
    "rope_freq_scale": (0.0,),
    "yarn_ext_factor": (-1.0,),
    "yarn_attn_factor": (1.0, -1.0),
    "yarn_beta_fast": (32.0, -1.0),
    "yarn_beta_slow": (1.0, -1.0),
    "yarn_orig_ctx": (0,),
    "attention_type": (-1,),
    "draft_model": (None,),
}
_SAMPLING_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "typical_p": (1.0,),
    "tfs_z": (1.0,),
    "mirostat_mode": (0,),
    "penalize_nl": (True, False),
    "mirostat_tau": (5.0,),
    "mirostat_eta": (0.1,),
}
_REFUSED = ("lora_path", "lora_base", "chat_handler", "tokenizer")
_CACHE_TYPES: Mapping[object, CacheType] = {None: "f16", 1: "f16", 0: "f32", 8: "q8_0"}  # ggml's numbers of types
_RANDOM_SEEDS = (None, -1, 0xFFFFFFFF)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LlamaOptions:
    """What of these arguments counts. n_ctx 0: what the model was trained for."""

    n_ctx: int
    cache_type: CacheType
    seed: int | None
    last_n_tokens: int
    logits_all: bool

    def context(self, model: Model) -> int:
        """Tokens of context."""
        return self.n_ctx or model.config.n_ctx_train

    def session(self, model: Model) -> SessionOptions:
        """What a session of a model is made of."""
        return SessionOptions(self.context(model), self.cache_type, model.recommended.activations)

    def sampling(
        self, *, temperature: float, top_k: int = 40, top_p: float = 0.95, min_p: float = 0.05,
        repeat_penalty: float = 1.0, frequency_penalty: float = 0.0, presence_penalty: float = 0.0,
        seed: int | None = None, logit_bias: Mapping[Any, float] | None = None, **others: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Parameters of `Sampling`, by llama-cpp-python's names and defaults."""
        warn_if_other(others, _SAMPLING_NEUTRAL)
        seed = self.seed if seed is None else seed
        return {
            "temperature": max(temperature, 0.0), "top_k": max(top_k, 0), "top_p": top_p, "min_p": min_p,
            "repeat_penalty": repeat_penalty, "repeat_last_n": self.last_n_tokens,
            "frequency_penalty": frequency_penalty, "presence_penalty": presence_penalty,
            "seed": None if seed in _RANDOM_SEEDS else seed,
            "logit_bias": {int(token): float(bias) for token, bias in (logit_bias or {}).items()},
        }  # fmt: skip


def read_options(
    *, n_ctx: int, seed: int, last_n_tokens_size: int, logits_all: bool, type_k: int | None, type_v: int | None,
    others: Mapping[str, Any],
) -> LlamaOptions:  # fmt: skip
    """The arguments that count. others: all that have no meaning of their own here.

    What would change results, or is not known, is logged as a warning. Raises ValueError for what can't be done.
    """
    for name in _REFUSED:
        if others.get(name) is not None:
            raise ValueError(f"{name} can't be used here: without it the results would be others, so leave it out")
    warn_if_other({name: others[name] for name in others.keys() - HARMLESS - {*_REFUSED}}, _NEUTRAL)
    if type_k not in _CACHE_TYPES or _CACHE_TYPES[type_k] != _CACHE_TYPES.get(type_v):
        found = f"type_k and type_v are {type_k} and {type_v}"
        raise ValueError(f"{found}, but must be the same: 1 (f16), 8 (q8_0), 0 (f32) or None")
    n_ctx = arguments.whole("n_ctx", n_ctx, 0, hint="tokens; 0: what the model was trained for")
    return LlamaOptions(
        n_ctx, _CACHE_TYPES[type_k], None if seed in _RANDOM_SEEDS else seed, last_n_tokens_size, logits_all
    )


def warn_if_other(given: Mapping[str, Any], neutral: Mapping[str, tuple[object, ...]]) -> None:
    """Warns of arguments that are not known, or have another value than one that changes nothing."""
    for name, value in given.items():
        if name not in neutral:
            _log.warning("%s is not known here, and changes nothing", arguments.shown(name))
        elif value not in neutral[name]:
            _log.warning("%s=%s is not done here: results differ from llama-cpp-python's", name, arguments.shown(value))
