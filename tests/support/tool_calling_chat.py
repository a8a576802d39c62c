"""A conversation with two tools whose answers are a script."""

from collections.abc import Iterable
from typing import Any

from fake_engine import FakeTokenizer, PositionedSession
from template_conversations import source

from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import begin_with
from subbyte.runtime.chat.reasoning import detect_reasoning_format
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.known import find_format
from subbyte.runtime.tools.tool import tools_by_name

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
OSLO = ToolCall("call00000", "weather", {"city": "Oslo"})


def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather of the next days."""
    return {"city": city, "degrees": [12] * days}


def clock() -> str:
    """The time."""
    return "12:30"


def make(
    *answers: str, name: str = "qwen3", end: str = "<|im_end|>", stop: Iterable[str] = (), messages: Any = (),
    max_tokens: int | None = None, strict_tools: bool = True,
) -> Chat:  # fmt: skip
    vocabulary = FakeTokenizer(eog=[end])
    session = PositionedSession(vocabulary.n_vocab, 8000)
    for text in answers:
        session.script += [*vocabulary.encode(text, special=True), vocabulary.ids[end]]
    template = ChatTemplate(source(name), vocabulary)
    reasoning = detect_reasoning_format(template, vocabulary)
    format = find_format(template, vocabulary, reasoning_end=reasoning.end, channels=reasoning.in_channels)
    options = GenerationOptions(Sampling(temperature=0), max_tokens, stop)
    system, history = begin_with(None, messages)
    return Chat(
        session, vocabulary, template, reasoning_format=reasoning, options=options, system=system, messages=history,
        tools=tools_by_name([weather, clock]), tool_format=format, strict_tools=strict_tools,
    )  # fmt: skip
