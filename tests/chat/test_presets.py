"""Vendors' advice: found for the models it was given for, and for no others."""

from pathlib import Path

import pytest
from reasoning_templates import (
    EXAONE4,
    EXAONE_DEEP,
    GLM_4_7,
    GPT_OSS,
    LFM2_5,
    NEMOTRON,
    NEMOTRON_3,
    QWEN3,
    QWEN3_5,
    SEED_OSS,
)
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.chat.presets import _FAMILIES, presets_for
from subbyte.runtime.chat.reasoning import VARIABLES, ReasoningFormat
from subbyte.runtime.generation.reasoning_parser import Tags

HYBRID = ReasoningFormat(Tags("<think>", "</think>"), VARIABLES[0])


class FakeMetadata:
    def __init__(self, architecture: str, name: str, template: str) -> None:
        self.values = {
            "general.architecture": architecture, "general.name": name, "tokenizer.chat_template": template,
        }  # fmt: skip

    def str(self, key: str, default: str) -> str:
        return self.values.get(key, default)


def names(architecture: str, name: str, template: str, format: ReasoningFormat = HYBRID) -> list[str]:
    return list(presets_for(FakeMetadata(architecture, name, template), format))  # type: ignore[arg-type]


def test_all_advice_is_possible_and_its_source_is_named() -> None:
    for family in _FAMILIES:
        for sampling, _ in family.advice.values():
            sb.Sampling(**sampling)  # type: ignore[arg-type]
        assert "http" in family.source


@pytest.mark.parametrize(
    ("architecture", "name", "template", "expected"),
    [
        ("qwen3", "Qwen3 14B", QWEN3, ["thinking", "non-thinking"]),
        ("qwen3", "Qwen3-0.6B", QWEN3, ["thinking", "non-thinking"]),
        ("qwen3", "Qwen3 4B Thinking 2507", "<think>", ["thinking"]),
        ("qwen3", "Qwen3-4B-Instruct-2507", "<|im_start|>", ["non-thinking"]),
        ("exaone", "EXAONE Deep 7.8B", EXAONE_DEEP, ["thinking"]),
        ("exaone4", "EXAONE 4.0 1.2B", EXAONE4, ["thinking", "non-thinking"]),
        ("deci", "Llama_3_3_Nemotron_Super_49B_v1", NEMOTRON, ["thinking", "non-thinking"]),
        ("llama", "Llama 3.1 Nemotron Nano 8B v1", NEMOTRON, ["thinking", "non-thinking"]),
        ("llama", "Meta-Llama-3-8B-Instruct", "<|start_header_id|>", ["vendor"]),
        ("llama", "Llama 3.2 1B Instruct", "<|start_header_id|>", ["vendor"]),
        ("llama", "Mistral Nemo Instruct 2407", "[INST]", ["vendor"]),
        ("qwen2", "DeepSeek R1 Distill Qwen 7B", "</think>", ["thinking"]),
        ("gemma3", "Gemma 3 4b It", "<start_of_turn>", ["vendor"]),
        ("phi3", "Phi 3 Mini 4k Instruct", "<|assistant|>", ["vendor"]),
        ("llama", "Smollm2 135M 8k Lc100K Mix1 Ep2", "<|im_start|>", ["vendor"]),
        ("qwen3moe", "Qwen3 30B A3B", QWEN3, ["thinking", "non-thinking"]),
        ("qwen3moe", "Qwen3 30B A3B Thinking 2507", "<think>", ["thinking"]),
        ("qwen3moe", "Qwen3-30B-A3B-Instruct-2507", "<|im_start|>", ["non-thinking"]),
        ("gpt-oss", "Gpt Oss 20B", GPT_OSS, ["vendor"]),
        ("exaone-moe", "K EXAONE 236B A23B", "<think>", ["vendor"]),
        ("minimax-m2", "MiniMax M2", "]~b]ai", ["vendor"]),
        ("seed_oss", "Seed OSS 36B Instruct", SEED_OSS, ["vendor"]),
        ("hunyuan-moe", "Hunyuan A13B Instruct", "<|extra_0|>", ["vendor"]),
        ("hunyuan-dense", "Hunyuan 1.8B Instruct", "<\uff5chy_User\uff5c>", ["vendor"]),
        ("bailingmoe2", "Ling Mini 2.0", "<role>", ["vendor"]),
        ("deepseek2", "Glm-4.7-Flash", "[gMASK]<sop>", ["vendor"]),
        ("smollm3", "SmolLM3 3B", "<|im_start|>", ["vendor"]),
        ("mistral3", "Mistral Small 3.2 24B Instruct 2506", "[SYSTEM_PROMPT]", ["vendor"]),
        ("arcee", "AFM 4.5B", "assistant", ["vendor"]),
        ("llama", "MiniCPM5 1B", "enable_thinking", ["thinking", "non-thinking"]),
        ("qwen3next", "Qwen3 Next 80B A3B Thinking", "<think>", ["thinking"]),
        ("qwen3next", "Qwen3 Next 80B A3B Instruct", "<|im_start|>", ["non-thinking"]),
        ("qwen35moe", "Qwen3.5 35B A3B", QWEN3_5, ["thinking", "non-thinking"]),
        ("deepseek2", "GLM 4.7 Flash", GLM_4_7, ["vendor"]),
        ("nemotron_h_moe", "NVIDIA Nemotron 3 Nano 30B A3B BF16", NEMOTRON_3, ["thinking", "non-thinking"]),
        ("lfm2", "LFM2.5 1.2B Instruct", LFM2_5, ["vendor"]),
        ("falcon-h1", "Falcon H1 1.5B Deep Instruct", "<|im_start|>", ["vendor"]),
        # Not what the advice was given for: another architecture, name or template.
        ("llama", "Qwen3 14B", QWEN3, []),
        ("qwen3", "A tune of Qwen3 14B", QWEN3, []),
        ("qwen3", "Qwen3 14B", "<|im_start|>", []),
        ("qwen3", "Qwen3 Embedding 4B", QWEN3, []),
        ("deci", "Llama_3_3_Nemotron_Super_49B_v1_5", NEMOTRON, []),
        ("llama", "Llama 3.1 Nemotron 70B Instruct", "<|start_header_id|>", []),
        ("exaone", "EXAONE 3.5 7.8B Instruct", EXAONE_DEEP, []),
        ("phi3", "Phi 3.5 Mini Instruct", "<|assistant|>", []),
        ("gemma3", "Gemma 3 270m", "", []),
        ("llama", "", "<|im_start|>", []),
        ("qwen3moe", "Qwen3 Coder 30B A3B Instruct", "<|im_start|>", []),
        ("deepseek2", "GigaChat3 10B A1.8B", "<|role_sep|>", []),
        ("hunyuan-dense", "Hunyuan MT 7B", "<\uff5chy_User\uff5c>", []),
        ("qwen35", "Qwen3.5 0.8B", QWEN3_5, []),
        ("lfm2", "LFM2 1.2B", "<|im_start|>", []),
    ],
)
def test_who_is_meant(architecture: str, name: str, template: str, expected: list[str]) -> None:
    assert names(architecture, name, template) == expected


def test_a_preset_that_needs_a_switch_is_for_models_that_have_one() -> None:
    assert names("qwen3", "Qwen3 14B", QWEN3, ReasoningFormat(HYBRID.tags)) == []


def test_the_presets_of_a_file_fit_its_chat(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_model(path, "qwen3", strings={"tokenizer.chat_template": QWEN3, "general.name": "Qwen3 0.001B"})
    with sb.load(path) as model:
        assert model.presets.keys() == {"thinking", "non-thinking"}
        for preset in model.presets.values():
            sampling = sb.Sampling(**preset.sampling, seed=1)  # type: ignore[arg-type]
            with model.chat(sampling=sampling, thinking=preset.thinking, max_tokens=2) as chat:
                assert chat.thinking is preset.thinking and chat.send("?").usage.completion <= 2
            assert preset.to_dict()["sampling"] == preset.sampling
        with pytest.raises(TypeError):
            model.presets["mine"] = preset  # type: ignore[index]


def test_a_template_of_the_caller_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, "qwen3", strings={"tokenizer.chat_template": "{{ raise_exception('no') }}"})
    shout = "{% for m in messages %}{{ m.content | upper }}{% endfor %}{{ '<think>' if enable_thinking }}"
    with sb.load(path) as model:
        with model.chat(template=shout, max_tokens=1, thinking=True) as chat:
            assert chat.template.render([{"role": "user", "content": "hi"}]) == "HI"
            chat.send("hi")
            assert model.detokenize(chat.session.tokens).startswith("HI<think>")
        for bad, error in (("", ValueError), ("{% if %}", sb.TemplateError)):
            with pytest.raises(error):
                model.chat(template=bad)
