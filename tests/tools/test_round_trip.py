"""A call and its result in each vendor's template: given as transformers wants them, and read back as they were."""

from pathlib import Path
from typing import Any

import pytest
from template_conversations import CONVERSATIONS, NOW, source
from tool_formats import CALLS, FORMATS, TOOLS
from vendor_tokenizers import tokenizer

from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.chat.prompt_rows import PromptRows
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.tools.call import ToolCall, call_id
from subbyte.runtime.tools.parser import ToolParser

NAMES = [name for name, format in FORMATS.items() if format is not None]
QUESTION = Message("user", "How warm?")
BEHIND = {"llama": "<|end_header_id|>\n\n", "gpt-oss": "assistant "}  # what is before the call in the prompt
CONVERSATION = ["a result of a call", "results of two calls"]


@pytest.mark.parametrize("conversation", CONVERSATION)
@pytest.mark.parametrize("name", ["qwen3", "mistral-small-3.2", "gpt-oss"])
def test_rows_are_those_that_are_compared_with_transformers(name: str, conversation: str, tmp_path: Path) -> None:
    """`tests/template/test_hf_templates.py` compares the prompts for these conversations, of every template."""
    template = ChatTemplate(source(name), tokenizer(name, tmp_path / "v.gguf"))
    rows = PromptRows(template, FORMATS[name], TOOLS.values())
    given: list[dict[str, Any]] = CONVERSATIONS[conversation]
    assert rows.rows(None, checked_messages(given)) == given
    assert rows.variables == {"tools": [tool.to_template() for tool in TOOLS.values()]}


@pytest.mark.parametrize("name", NAMES)
def test_calls_are_read_back_from_the_prompt(name: str, tmp_path: Path) -> None:
    vocabulary = tokenizer(name, tmp_path / "v.gguf")
    template, format = ChatTemplate(source(name), vocabulary), FORMATS[name]
    assert format is not None
    rows = PromptRows(template, format, TOOLS.values())
    wanted = CALLS[:1] if name.startswith(("llama", "gigachat", "gpt-oss")) else CALLS
    calls = tuple(ToolCall(call_id(i), tool, values) for i, (tool, values) in enumerate(wanted))
    results = [Message("tool", f"result {i}", tool_call_id=call.id, name=call.name) for i, call in enumerate(calls)]
    messages = [QUESTION, Message("assistant", "", tool_calls=calls), *results]
    prompt = template.render(rows.rows(None, messages), now=NOW, **rows.variables)
    written = prompt.rpartition("How warm?")[2]
    assert all(f"result {i}" in written for i in range(len(calls)))
    begins = next((text for start, text in BEHIND.items() if name.startswith(start)), "")
    answer = written.partition(begins)[2] if begins else written
    answer = answer.replace("<|channel|>commentary json<|message|>", " ")  # a header: `Channels` reads it
    found = [piece for piece in ToolParser(format, TOOLS).feed(answer) if isinstance(piece, ToolCall)]
    assert [(call.name, call.arguments) for call in found] == wanted


@pytest.mark.parametrize("name", ["lfm2", "granite-3.3", "phi-4-mini"])
def test_calls_that_a_template_does_not_show_are_written_with_control_tokens(name: str, tmp_path: Path) -> None:
    vocabulary = tokenizer(name, tmp_path / "v.gguf")
    template, format = ChatTemplate(source(name), vocabulary), FORMATS[name]
    assert format is not None and format.writer is not None
    rows = PromptRows(template, format, TOOLS.values())
    mark = format.writer.open
    calls = (ToolCall("1", "note", {"text": f"{mark} is text"}),)
    ids = template.encode(rows.rows("Be kind.", [QUESTION, Message("assistant", "Well.", tool_calls=calls)]), now=NOW)
    assert ids.count(vocabulary.id(mark)) == (vocabulary.id(mark) is not None)
    assert vocabulary.decode(ids, special=True).count(mark) == 2
