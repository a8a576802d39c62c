"""How a model delimits its reasoning, and how reasoning is switched on and off.

No metadata key says so. The tags are those that the chat template writes or cuts out of earlier answers; the switch is
a variable of the template (`enable_thinking` of Qwen3, `reasoning_effort` of gpt-oss), or a line of system text (the
first Llama-Nemotron models, Nemotron Nano 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from subbyte.errors import TemplateError
from subbyte.runtime import arguments
from subbyte.runtime.generation.channels import HARMONY, SOLAR, Channels
from subbyte.runtime.generation.reasoning_parser import KNOWN_TAGS, Tags
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.template.abilities import Message
from subbyte.runtime.template.chat_template import QUESTION, ChatTemplate

ReasoningStart: TypeAlias = Literal["auto", "open"]
"""Whether an answer begins with reasoning: prompt and answer tell, or it always does, without an open tag."""


@dataclass(frozen=True, slots=True)
class TemplateVariable:
    """A variable of the chat template that switches reasoning: its name, and its values for on and off.

    budget: whether it takes a number of tokens, too, which the model is told to reason in.
    """

    name: str
    on: bool | int | str
    off: bool | int | str
    budget: bool = False


VARIABLES = (
    TemplateVariable("enable_thinking", True, False),  # Qwen3 to 3.5, Gemma 4, GLM 4.5 to 4.7, Nemotron 3, EXAONE 4 …
    TemplateVariable("thinking_budget", -1, 0, budget=True),  # Seed-OSS
    TemplateVariable("reasoning_effort", "high", "low"),  # gpt-oss, which reasons a little all the same; Solar-Open
    TemplateVariable("thinking", True, False),  # Granite 3.3
)


@dataclass(frozen=True, slots=True)
class SystemLine:
    """A line of system text that switches reasoning."""

    on: str
    off: str


DETAILED = SystemLine("detailed thinking on", "detailed thinking off")  # the first Llama-Nemotron models
SLASH = SystemLine("/think", "/no_think")  # Nemotron Nano 2, whose template takes it out again


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """How one model reasons. tags: None if it does not. switch: what turns reasoning on and off; None: nothing."""

    tags: Tags | Channels | None = None
    switch: TemplateVariable | SystemLine | None = None

    @property
    def in_channels(self) -> bool:
        """Whether an answer is messages in channels."""
        return isinstance(self.tags, Channels)

    @property
    def end(self) -> str:
        """What closes reasoning; "" if there is none."""
        return "" if self.tags is None else self.tags.close

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

    def opened(
        self, template: ChatTemplate, variables: Mapping[str, Any], messages: Sequence[Message] = QUESTION
    ) -> str | None:
        """The text behind the open tag, if the template begins an answer inside of it; found by rendering.

        messages: what is answered; they matter where `by_text`.
        """
        return None if self.tags is None else self.tags.within(template.generation_prompt(messages, **variables))

    @property
    def by_text(self) -> bool:
        """Whether reasoning is switched by what a conversation says."""
        return isinstance(self.switch, SystemLine)

    def variables(self, thinking: bool | None, budget: int | None = None) -> Mapping[str, bool | int | str]:
        """The template's variables for `thinking` and a budget of tokens for it."""
        if not isinstance(self.switch, TemplateVariable):
            return {}
        if self.switch.budget and budget is not None and thinking is not False:
            return {self.switch.name: budget}
        return {} if thinking is None else {self.switch.name: self.switch.on if thinking else self.switch.off}

    def system(self, text: str | None, thinking: bool | None) -> str | None:
        """The system text to send: the line that switches reasoning, then the user's own text."""
        if not isinstance(self.switch, SystemLine) or thinking is None:
            return text
        line = self.switch.on if thinking else self.switch.off
        return f"{line}\n\n{text}" if text else line


def detect_reasoning_format(template: ChatTemplate, tokenizer: Tokenizer, name: str = "") -> ReasoningFormat:
    """The reasoning format of the model with this chat template and vocabulary.

    name: the model's name in its metadata; nothing else tells those that a line of system text switches.
    """
    tags = _tags(template.source, tokenizer)
    if tags is None:
        return ReasoningFormat()
    if isinstance(tags, Tags):
        tags = replace(tags, answer=_answer_tags(template.source, name))
    if (variable := _variable(template)) is not None:
        return ReasoningFormat(tags, variable)
    if SLASH.off in template.source:
        return ReasoningFormat(tags, SLASH if _heeds_line(template, SLASH) else None)
    first = "nemotron" in name.lower() and tags.close in template.source
    return ReasoningFormat(tags, DETAILED if first else None)


def _tags(source: str, tokenizer: Tokenizer) -> Tags | Channels | None:
    """The tags that a template's source names, else those that the vocabulary has as tokens."""
    for known in (HARMONY, SOLAR, *KNOWN_TAGS):
        if known.known_to(source, tokenizer):
            return known
    for tags in KNOWN_TAGS:
        if tokenizer.id(tags.open) is not None and tokenizer.id(tags.close) is not None:
            return tags
    return None


def _answer_tags(source: str, name: str) -> tuple[str, str] | None:
    """The tags that a model puts around its answer behind reasoning: Granite 3.3's template asks for them."""
    if "<response></response>" in source:
        return "<response>", "</response>"
    return ("<answer>", "</answer>") if "hunyuan" in name.lower() else None


def _variable(template: ChatTemplate) -> TemplateVariable | None:
    """The variable that changes a prompt: some templates only name one, or set it themselves."""
    for variable in VARIABLES:
        if variable.name not in template.source:
            continue
        on, off = ({variable.name: value} for value in (variable.on, variable.off))
        prompts = {_prompt(template, on), _prompt(template, off)}
        if len(prompts) == 2 and "" not in prompts:
            return variable
    return None


def _heeds_line(template: ChatTemplate, line: SystemLine) -> bool:
    """Whether a prompt changes with the line beyond showing it."""
    on, off = (_prompt(template, {}, system=text).replace(text, "") for text in (line.on, line.off))
    return on != off and "" not in (on, off)


def _prompt(template: ChatTemplate, variables: Mapping[str, Any], system: str | None = None) -> str:
    """The prompt for a question, "" where the template refuses the variables or the system text."""
    rows = [] if system is None else [{"role": "system", "content": system}]
    try:
        return template.render([*rows, {"role": "user", "content": "?"}], **variables)
    except TemplateError:
        return ""
