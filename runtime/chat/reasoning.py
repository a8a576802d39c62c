"""How a model reasons before it answers: the tags around its reasoning, and how reasoning is switched on and off.

No file says so by a key. The tags are those that the chat template writes or cuts out of earlier answers, the switch is
the template's variable `enable_thinking` (Qwen3, EXAONE 4), or a line of system text (the first Llama-Nemotron models).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from subbyte.errors import TemplateError
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template.chat_template import ChatTemplate

_TAIL = 16  # tokens at the end of a prompt that may spell an open tag and the newlines after it


@dataclass(frozen=True, slots=True)
class Tags:
    """What a model writes before and after its reasoning."""

    open: str
    close: str

    def opened(self, prompt: Sequence[int], tokenizer: Tokenizer) -> str | None:
        """The white space behind the open tag that the prompt ends with; None if the reply does not begin inside."""
        end = tokenizer.decode(prompt[-_TAIL:], special=True)
        _, tag, space = end.rpartition(self.open)
        return space if tag and not space.strip() else None


KNOWN_TAGS = (
    Tags("<think>", "</think>"),  # Qwen3, DeepSeek-R1, Nemotron, EXAONE 4, Phi-4 reasoning
    Tags("<thought>", "</thought>"),  # EXAONE Deep
    Tags("[THINK]", "[/THINK]"),  # Magistral
)


@dataclass(frozen=True, slots=True)
class Manner:
    """One model's way to reason. tags: None if it does not reason. switch: what turns it on and off; None: nothing."""

    tags: Tags | None = None
    switch: Literal["variable", "system text"] | None = None

    def check(self, thinking: bool | None) -> None:
        """Raises ValueError, with what can be done instead, if thinking can't be set to that."""
        if thinking is None or self.switch is not None:
            return
        if self.tags is None:
            raise ValueError("this model can't be told to think or not to think: its chat template knows no reasoning")
        raise ValueError(
            "this model thinks as it was trained to, its chat template has no switch; "
            "a reasoning budget of 0 ends its reasoning at once"
        )

    def variables(self, thinking: bool | None) -> Mapping[str, bool]:
        """The template's variables for `thinking`."""
        return {"enable_thinking": thinking} if self.switch == "variable" and thinking is not None else {}

    def system(self, text: str | None, thinking: bool | None) -> str | None:
        """The system text to send: the line that switches, then the user's own text."""
        if self.switch != "system text" or thinking is None:
            return text
        line = f"detailed thinking {'on' if thinking else 'off'}"
        return f"{line}\n\n{text}" if text else line


def checked_budget(budget: int | None) -> int | None:
    """`budget`, tokens of reasoning; ValueError if it is no whole number from 0, or None for no limit."""
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 0):
        raise ValueError(f"reasoning_budget is {budget!r}, but must be a whole number from 0 (None: no limit)")
    return budget


def manner_of(template: ChatTemplate, tokenizer: Tokenizer, name: str = "") -> Manner:
    """The manner of the model with this chat template and vocabulary.

    name: what the file calls the model; nothing else tells those that a line of system text switches.
    """
    tags = _tags(template.source, tokenizer)
    if tags is None:
        return Manner()
    if _heeds_variable(template):
        return Manner(tags, "variable")
    # Later ones (v1.5 and up) listen to /no_think instead, which their templates name.
    first = "nemotron" in name.lower() and tags.close in template.source and "no_think" not in template.source
    return Manner(tags, "system text" if first else None)


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
