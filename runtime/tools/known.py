"""Which format a model has: found by rendering its template, or known where a template does not show calls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from subbyte.errors import TemplateError
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.tools.format import Syntax, ToolFormat
from subbyte.runtime.tools.json_calls import NamedCalls, ObjectCalls
from subbyte.runtime.tools.literal_calls import PythonCalls
from subbyte.runtime.tools.probe import Render, probe, result_role, shows_tools

_LFM2 = PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")
_GRANITE_3 = ObjectCalls("<|tool_call|>", listed=True)
_PHI_4 = ObjectCalls("<|tool_call|>", "<|/tool_call|>", listed=True)

CHANNELS: Mapping[str, ToolFormat] = {
    # gpt-oss: `to=functions.NAME` in the header of a message, whose recipient the parser of channels puts in front
    "<|channel|>commentary": ToolFormat((NamedCalls("to=functions.", " "),), in_channels=True),
    # Solar-Open: calls are a message of their own
    "<|tool_call:begin|>": ToolFormat((
        NamedCalls("<|tool_call:begin|>", "<|tool_call:args|>", "<|tool_call:end|>", name="<|tool_call:name|>"),
    ), in_channels=True),
}  # fmt: skip
"""Formats within messages of channels, whose headers are not part of the answer, by a text of the template."""

UNSHOWN: Mapping[str, ToolFormat] = {
    "<|tool_call_start|>": ToolFormat((_LFM2,), _LFM2),  # LFM2
    "<|/tool|>": ToolFormat((_PHI_4, ObjectCalls("functools", listed=True)), _PHI_4, in_system=True),  # Phi-4-mini
    "<|tool_call|>": ToolFormat((_GRANITE_3,), _GRANITE_3),  # Granite 3
}
"""Formats that templates tell of, or vocabularies have a token for, while calls in messages are not shown."""

BESIDES: Mapping[str, Sequence[Syntax]] = {
    # Llama 3.1 writes this mark before calls of any tool; 3.2 was trained with Python's syntax, too
    "ipython": (ObjectCalls("<|python_tag|>", arguments="parameters"), PythonCalls()),
}
"""What models write besides what their templates show, by a text of the template."""


def find_format(
    template: ChatTemplate, tokenizer: Tokenizer, *, reasoning_end: str, channels: bool
) -> ToolFormat | None:
    """The format of a model's calls; None where the template does not tell the model of tools, or no format is known.

    reasoning_end: what closes the model's reasoning. channels: it answers in channels. Takes eight renderings at most.
    """
    now, source = datetime.now(), template.source

    def render(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None) -> str | None:
        try:
            return template.render(messages, tools=tools, add_generation_prompt=False, now=now)
        except TemplateError:
            return None

    if channels:
        return next((format for tell, format in CHANNELS.items() if tell in source), None)
    format = _format(source, tokenizer, render, reasoning_end)
    role = result_role(render) if format is not None else None
    return replace(format, result_role=role) if format is not None and role is not None else None


def _format(source: str, tokenizer: Tokenizer, render: Render, reasoning_end: str) -> ToolFormat | None:
    unshown = [f for t, f in UNSHOWN.items() if t in source or (tokenizer.id(t) is not None and not f.in_system)]
    if not shows_tools(render):
        return next((format for format in unshown if format.in_system), None)
    syntax = probe(render, reasoning_end, [tokenizer.text(id) for id in tokenizer.eog])
    if syntax is None:
        return next(iter(unshown), None)
    besides = [other for tell, others in BESIDES.items() if tell in source for other in others]
    return ToolFormat((syntax, *besides))
