"""Which format each vendor's template has; a conversation with calls and results, as the template shows it."""

from pathlib import Path

import pytest
from template_conversations import FAMILIES, source
from tool_formats import FORMATS
from vendor_tokenizers import tokenizer

from subbyte.runtime.chat.reasoning import detect_reasoning_format
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.tools.known import find_format


def test_every_template_has_a_row() -> None:
    assert FORMATS.keys() == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_format_is_found(name: str, tmp_path: Path) -> None:
    vocabulary = tokenizer(name, tmp_path / "v.gguf")
    template = ChatTemplate(source(name), vocabulary)
    reasoning = detect_reasoning_format(template, vocabulary)
    found = find_format(template, vocabulary, reasoning_end=reasoning.end, channels=reasoning.in_channels)
    assert found == FORMATS[name]
