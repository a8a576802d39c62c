"""The vendors' recommended sampling parameters: offered by name, never applied unasked.

Only recommendations that were read at the source named are here. A model is taken for one of a family if its
architecture, its name and its chat template all say so; a model that is not recognized has no presets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from subbyte.runtime.chat.reasoning import ReasoningFormat
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class Preset(Record):
    """A vendor's advice. `sampling` has fields of `Sampling`; those the vendor does not name keep its defaults.

    `thinking` is what `Model.chat` takes by that name; `source` is where the vendor says so.
    """

    name: str
    sampling: Mapping[str, float]
    thinking: bool | None
    source: str


@dataclass(frozen=True)
class _Family:
    """Models that follow the same advice: of one of these architectures, with a name that begins with this expression
    (lower case, hyphens between words), and with this text in their template. advice: sampling and thinking by name."""

    architectures: tuple[str, ...]
    name: str
    template: str
    source: str
    advice: Mapping[str, tuple[Mapping[str, float], bool | None]]


_QWEN3_THINKS = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0}
_QWEN3_ANSWERS = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.0}
_QWEN3 = ("qwen3", "qwen3moe")
_QWEN3_SOURCE = "https://github.com/QwenLM/Qwen3, docs/source/getting_started/quickstart.md"
_QWEN3_NEXT_SOURCE = "Qwen, quoted at https://unsloth.ai/docs for Qwen3-Next"
_HUNYUAN = {"vendor": ({"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repeat_penalty": 1.05}, None)}

_FAMILIES = (
    _Family(
        ("exaone",), "exaone-deep", "<thought>", "https://github.com/LG-AI-EXAONE/EXAONE-Deep, Usage Guideline",
        {"thinking": ({"temperature": 0.6, "top_p": 0.95, "repeat_penalty": 1.0}, None)},
    ),
    _Family(
        ("exaone4",), "exaone-4", "<think>", "https://github.com/LG-AI-EXAONE/EXAONE-4.0, Usage Guideline",
        {"thinking": ({"temperature": 0.6, "top_p": 0.95}, True), "non-thinking": ({"temperature": 0.0}, False)},
    ),
    _Family(
        ("exaone-moe",), "k-exaone", "<think>", "https://github.com/LG-AI-EXAONE/K-EXAONE, Usage Guideline",
        {"vendor": ({"temperature": 1.0, "top_p": 0.95, "presence_penalty": 0.0}, None)},
    ),
    _Family(
        _QWEN3, r"qwen3-[\d.]+b(?!.*2507)", "enable_thinking", _QWEN3_SOURCE,
        {"thinking": (_QWEN3_THINKS, True), "non-thinking": (_QWEN3_ANSWERS, False)},
    ),
    _Family(
        _QWEN3, r"qwen3-[\d.]+b(-a[\d.]+b)?-thinking-2507", "<think>", _QWEN3_SOURCE,
        {"thinking": (_QWEN3_THINKS, None)},
    ),
    _Family(
        _QWEN3, r"qwen3-[\d.]+b(-a[\d.]+b)?-instruct-2507", "<|im_start|>", _QWEN3_SOURCE,
        {"non-thinking": (_QWEN3_ANSWERS, None)},
    ),
    _Family(
        ("qwen3next",), "qwen3-next-80b-a3b-thinking", "<think>", _QWEN3_NEXT_SOURCE,
        {"thinking": ({"temperature": 0.6, "top_p": 0.95}, None)},
    ),
    _Family(
        ("qwen3next",), "qwen3-next-80b-a3b-instruct", "<|im_start|>", _QWEN3_NEXT_SOURCE,
        {"non-thinking": ({"temperature": 0.7, "top_p": 0.8}, None)},
    ),
    _Family(
        ("qwen35moe",), r"qwen3\.5-35b-a3b", "enable_thinking",
        "the model card of Qwen3.5-35B-A3B, quoted at https://fakoli.github.io/anvil-serving/MODEL-SETTINGS-EXAMPLE",
        {
            "thinking": (
                {"temperature": 1.0, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "presence_penalty": 1.5}, True,
            ),
            "non-thinking": (
                {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.0, "presence_penalty": 1.5}, False,
            ),
        },
    ),
    _Family(
        ("deepseek2",), r"glm-4\.7-flash", "[gMASK]", "Z.ai, quoted at https://unsloth.ai/docs for GLM-4.7-Flash",
        {"vendor": ({"temperature": 1.0, "top_p": 0.95, "repeat_penalty": 1.0}, None)},
    ),
    _Family(
        ("nemotron_h_moe",), "(nvidia-)?nemotron-3-nano-30b-a3b", "enable_thinking",
        "https://github.com/NVIDIA-NeMo/Nemotron, usage-cookbook/Nemotron-3-Nano/vllm_cookbook.ipynb",
        {"thinking": ({"temperature": 1.0}, True), "non-thinking": ({"temperature": 0.0}, False)},
    ),
    _Family(
        ("lfm2",), r"lfm2\.5-1\.2b-instruct", "<|im_start|>",
        "https://github.com/Liquid4All/cookbook, finetuning/notebooks/sft_with_unsloth.ipynb",
        {"vendor": ({"temperature": 0.1, "top_k": 50, "top_p": 0.1, "repeat_penalty": 1.05}, None)},
    ),
    _Family(
        ("falcon-h1",), r"falcon-h1-[\d.]+b(-deep)?-instruct", "<|im_start|>",
        "https://github.com/tiiuae/Falcon-H1, docs/deployment.md", {"vendor": ({"temperature": 0.1}, None)},
    ),
    _Family(
        ("gpt-oss",), "gpt-oss", "<|channel|>", "https://github.com/openai/gpt-oss, Recommended Sampling Parameters",
        {"vendor": ({"temperature": 1.0, "top_p": 1.0}, None)},
    ),
    _Family(
        ("minimax-m2",), "minimax-m2", "]~b]", "https://github.com/MiniMax-AI/MiniMax-M2, Inference Parameters",
        {"vendor": ({"temperature": 1.0, "top_p": 0.95, "top_k": 40}, None)},
    ),
    _Family(
        ("seed_oss",), "seed-oss", "<seed:think>", "https://github.com/ByteDance-Seed/seed-oss, Seed-OSS-36B-Instruct",
        {"vendor": ({"temperature": 1.1, "top_p": 0.95}, None)},
    ),
    _Family(
        ("hunyuan-moe",), "hunyuan-a13b-instruct", "<|extra_0|>",
        "https://github.com/Tencent-Hunyuan/Hunyuan-A13B, models/generation_config.json", _HUNYUAN,
    ),
    _Family(
        ("hunyuan-dense",), r"hunyuan-[\d.]+b-instruct", "hy_User",
        "https://github.com/Tencent-Hunyuan/Hunyuan-7B, Use with transformers", _HUNYUAN,
    ),
    _Family(
        ("bailingmoe2",), r"ling-(mini|flash)-2\.0", "<role>",
        "https://github.com/inclusionAI/Ling-V2, Offline Inference",
        {"vendor": ({"temperature": 0.7, "top_p": 0.8, "repeat_penalty": 1.05}, None)},
    ),
    _Family(
        ("smollm3",), "smollm3", "<|im_start|>", "https://huggingface.co/HuggingFaceTB/SmolLM3-3B, How to use",
        {"vendor": ({"temperature": 0.6, "top_p": 0.95}, None)},
    ),
    _Family(
        ("llama", "mistral3"), r"mistral-small-3\.2", "[SYSTEM_PROMPT]",
        "https://huggingface.co/mistralai/Mistral-Small-3.2-24B-Instruct-2506, Usage",
        {"vendor": ({"temperature": 0.15}, None)},
    ),
    _Family(
        ("arcee",), r"afm-4\.5b", "assistant", "https://docs.arcee.ai/arcee-foundation-models/afm-4.5b",
        {"vendor": ({"temperature": 0.5, "top_k": 50, "top_p": 0.95, "repeat_penalty": 1.1}, None)},
    ),
    _Family(
        ("llama", "minicpm"), "minicpm5", "enable_thinking", "https://github.com/OpenBMB/MiniCPM, Quickstart",
        {
            "thinking": ({"temperature": 0.9, "top_p": 0.95}, True),
            "non-thinking": ({"temperature": 0.7, "top_p": 0.95}, False),
        },
    ),
    _Family(
        ("deci", "llama"), r"llama-3[.-]\d-nemotron-(nano|super|ultra)(?!.*v1[.-]5)", "</think>",
        "https://docs.nvidia.com/nim/large-language-models/latest/reasoning-model.html",
        {"thinking": ({"temperature": 0.6, "top_p": 0.95}, True), "non-thinking": ({"temperature": 0.0}, False)},
    ),
    _Family(
        ("llama", "qwen2"), "deepseek-r1-distill", "</think>",
        "https://github.com/deepseek-ai/DeepSeek-R1, Usage Recommendations",
        {"thinking": ({"temperature": 0.6}, None)},
    ),
    _Family(
        ("llama",), r"(meta-)?llama-3(\.\d)?-\d+b-instruct", "<|start_header_id|>",
        "https://github.com/meta-llama/llama-models, models/llama3/scripts/chat_completion.py",
        {"vendor": ({"temperature": 0.6, "top_p": 0.9}, None)},
    ),
    _Family(
        ("llama",), "mistral-nemo-instruct", "[INST]", "https://huggingface.co/mistralai/Mistral-Nemo-Instruct-2407",
        {"vendor": ({"temperature": 0.3}, None)},
    ),
    _Family(
        ("llama",), "smollm2", "<|im_start|>", "https://huggingface.co/HuggingFaceTB/SmolLM2-1.7B-Instruct, How to use",
        {"vendor": ({"temperature": 0.2, "top_p": 0.9}, None)},
    ),
    _Family(
        ("gemma3",), "gemma-3", "<start_of_turn>", "the Gemma team, quoted at https://lmstudio.ai for Gemma 3",
        {"vendor": ({"temperature": 1.0, "top_k": 64, "top_p": 0.95, "min_p": 0.0}, None)},
    ),
    _Family(
        ("phi3",), "phi-3-mini", "<|assistant|>", "https://huggingface.co/microsoft/Phi-3-mini-4k-instruct, inference",
        {"vendor": ({"temperature": 0.0}, None)},
    ),
)  # fmt: skip


def presets_for(metadata: Metadata, reasoning_format: ReasoningFormat) -> Mapping[str, Preset]:
    """The presets, by name, of the model with this metadata and reasoning format."""
    architecture = metadata.str("general.architecture", "")
    template = metadata.str("tokenizer.chat_template", "")
    names = [_hyphenated(metadata.str(f"general.{key}", "")) for key in ("name", "basename")]
    for family in _FAMILIES:
        if architecture not in family.architectures or family.template not in template:
            continue
        if any(re.match(family.name, name) for name in names):
            return MappingProxyType({
                name: Preset(name, dict(sampling), thinking, family.source)
                for name, (sampling, thinking) in family.advice.items()
                if thinking is None or reasoning_format.switch is not None
            })  # fmt: skip
    return MappingProxyType({})


def _hyphenated(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())
