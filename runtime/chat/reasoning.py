"""How a model delimits its reasoning, and how reasoning is switched on and off.

No metadata key says so. The tags are those that the chat template writes or cuts out of earlier answers; the switch is
the template's variable `enable_thinking` (Qwen3, EXAONE 4), or a line of system text (the first Llama-Nemotron models).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from subbyte.errors import TemplateError
from subbyte.runtime import arguments
from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS, Tags
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template.chat_template import ChatTemplate

ReasoningStart: TypeAlias = Literal["auto", "open"]
"""Whether an answer begins with reasoning: prompt and answer tell, or it always does, without an open tag."""


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """How one model reasons. tags: None if it does not. switch: what turns reasoning on and off; None: nothing."""

    tags: Tags | None = None
    switch: Literal["variable", "system text"] | None = None

    def check(self, thinking: bool | None) -> None:
        """Raises ValueError, with what can be done instead, if thinking can't be set to that."""
        if thinking is None:
            return
        arguments.flag("thinking", thinking)
        if self.switch is not None:
            return
        if self.tags is None:
            raise ValueError("this model can't be told to think or not to think: its chat template knows no reasoning")
        raise ValueError(
            "this model thinks as it was trained to, its chat template has no switch; "
            "a reasoning budget of 0 ends its reasoning at once"
        )

    def opened(self, template: ChatTemplate, variables: Mapping[str, Any]) -> str | None:
        """The text behind the open tag, if the template begins an answer inside of it; found by rendering."""
        if self.tags is None:
            return None
        _, tag, text = template.generation_prompt(**variables).rpartition(self.tags.open)
        return text if tag and self.tags.close not in text else None

    def variables(self, thinking: bool | None) -> Mapping[str, bool]:
        """The template's variables for `thinking`."""
        return {"enable_thinking": thinking} if self.switch == "variable" and thinking is not None else {}

    def system(self, text: str | None, thinking: bool | None) -> str | None:
        """The system text to send: the line that switches reasoning, then the user's own text."""
        if self.switch != "system text" or thinking is None:
            return text
        line = f"detailed thinking {'on' if thinking else 'off'}"
        return f"{line}\n\n{text}" if text else line


def detect_reasoning_format(template: ChatTemplate, tokenizer: Tokenizer, name: str = "") -> ReasoningFormat:
    """The reasoning format of the model with this chat template and vocabulary.

    name: the model's name in its metadata; nothing else tells those that a line of system text switches.
    """
    tags = _tags(template.source, tokenizer)
    if tags is None:
        return ReasoningFormat()
    if _heeds_variable(template):
        return ReasoningFormat(tags, "variable")
    # Later ones (v1.5 and up) listen to /no_think instead, which their templates name.
    first = "nemotron" in name.lower() and tags.close in template.source and "no_think" not in template.source
    return ReasoningFormat(tags, "system text" if first else None)


def _tags(source: str, tokenizer: Tokenizer) -> Tags | None:
    """The tags that a template's source names, else those that the vocabulary has as tokens."""
    for tags in KNOWN_TAGS:
        if tags.close in source or tags.open in source:
            return tags
    for tags in KNOWN_TAGS:
        if tokenizer.id(tags.open) is not None and tokenizer.id(tags.close) is not None:
            return tags
    return None


def _heeds_variable(template: ChatTemplate) -> bool:
    """Whether enable_thinking changes a prompt: some templates only name it, or set it themselves."""
    if "enable_thinking" not in template.source:
        return False
    question = [{"role": "user", "content": "?"}]
    try:
        return template.render(question, enable_thinking=True) != template.render(question, enable_thinking=False)
    except TemplateError:
        return False
