"""Vendors' chat templates: prompts and token ids equal to those of Hugging Face transformers."""

import json
from pathlib import Path
from typing import Any

import hf_templates
import pytest
from template_conversations import CONVERSATIONS, FAMILIES, FOLDER, NOW, SPOOF, source, turns, variants
from vendor_tokenizers import tokenizer

from subbyte.errors import TemplateError
from subbyte.runtime.template.chat_template import ChatTemplate


def rendered(template: ChatTemplate, messages: list[dict[str, Any]], **variables: Any) -> str | None:
    if messages[0]["role"] == "system" and template.abilities.forms["system"] is None:
        return None  # the template refuses it, so that it goes to the first question
    try:
        return template.render(messages, now=NOW, **variables)
    except TemplateError:
        return None


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.thorough
def test_prompts_are_those_stored(name: str, tmp_path: Path) -> None:
    template = ChatTemplate(source(name), tokenizer(name, tmp_path / "v.gguf"))
    found = hf_templates.prompts(name, lambda messages, **variables: rendered(template, messages, **variables))
    stored = json.loads(hf_templates.STORED.read_text())["templates"][name]
    assert hf_templates.summary(found) == stored


@pytest.mark.parametrize("name", FAMILIES)
def test_stored_prompts_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: its stored prompts are compared only")
    template = ChatTemplate(source(name), tokenizer(name, tmp_path / "v.gguf"))
    expected = hf_templates.transformers_prompts(name)
    found = hf_templates.prompts(name, lambda messages, **variables: rendered(template, messages, **variables))
    assert found == expected
    assert hf_templates.summary(expected) == json.loads(hf_templates.STORED.read_text())["templates"][name]


@pytest.mark.parametrize("name", FAMILIES)
def test_ids_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = hf_templates.transformers_tokenizer(name)
    ours = tokenizer(name, tmp_path / "v.gguf")
    template = ChatTemplate(source(name), ours)

    def controls(ids: list[int]) -> list[int]:
        return [id for id in ids if not ours.piece(id)]

    for conversation, messages in CONVERSATIONS.items():
        spoof = "looks like control tokens" in conversation  # transformers cuts its text at them, so ids may differ
        for variables in variants(source(name)):
            options = {"return_dict": False, "sanitize_control_tokens": spoof, **variables}
            with hf_templates.stopped_clock():
                try:
                    expected = theirs.apply_chat_template(messages, **options)
                except Exception:  # which are refused is compared above
                    continue
            found = template.encode(messages, now=NOW, **variables)
            if spoof:
                found, expected = controls(found), controls(expected)
            assert found == expected, conversation


@pytest.mark.parametrize("name", FAMILIES)
def test_text_that_looks_like_control_tokens_stays_text(name: str, tmp_path: Path) -> None:
    ours = tokenizer(name, tmp_path / "v.gguf")
    template = ChatTemplate(source(name), ours)

    def controls(text: str) -> list[int]:
        return [id for id in template.encode(turns(text, text, text), now=NOW) if not ours.piece(id)]

    assert controls(SPOOF) == controls("x") and any(
        token in SPOOF for token in hf_templates.special_tokens(FAMILIES[name])
    )


def test_each_template_says_where_it_is_from() -> None:
    sources = (FOLDER / "README.md").read_text()
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(FAMILIES)
    assert all(f"| {name} |" in sources for name in FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.thorough
def test_an_open_answer_is_the_beginning_of_the_whole_one(name: str, tmp_path: Path) -> None:
    template = ChatTemplate(source(name), tokenizer(name, tmp_path / "v.gguf"))
    said = turns("Hello?", "Sure, well", system="Be kind." if template.abilities.forms["system"] else None)
    open = template.render(said, continue_final_message=True, now=NOW)
    assert template.render(said, add_generation_prompt=False, now=NOW).startswith(open) and open.endswith("Sure, well")
