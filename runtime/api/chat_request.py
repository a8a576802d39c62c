"""Requests for an answer in a conversation, from any of the chat APIs, in the library's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.sampling_fields import sampling_of
from subbyte.runtime.api.serving import Serving, Start
from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.reasoning import TemplateVariable
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.generation.options import LogitsFunction
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.model import Model
from subbyte.runtime.tools.tool import Tool

MAX_CHOICES = 16


@dataclass(frozen=True)
class ChatRequest:
    """What a request asks for. model: its name there, "" for none.

    messages: from the system text to what is to be answered; where the last one is the assistant's, it is the beginning
    of the answer. sampling: the parameters that are given, the model's own hold for the others. thinking: whether the
    model is to reason, where it can be told; effort: how much, a variable of some templates. variables: for the chat
    template. one_call: the answer ends with its first call. logprobs: how many likely tokens are told with each token.
    processors: a program's own, as `Model.chat` takes them. n: how many answers. stream: as they come; with_usage,
    with_progress: what streams tell besides.
    """

    model: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    tool_choice: str = "auto"
    one_call: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    constraint: Constraint | None = None
    thinking: bool | None = None
    effort: str | None = None
    reasoning_budget: int | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    logprobs: int | None = None
    processors: Sequence[LogitsFunction] = ()
    n: int = 1
    stream: bool = False
    with_usage: bool = False
    with_progress: bool = False

    def starts(self, serving: Serving) -> list[Start]:
        """What begins the answers, n of them; they raise what `Model.chat` and `Chat.stream_reply` raise."""
        return [partial(self._begin, serving, choice) for choice in range(self.n)]

    def chat(self, serving: Serving, choice: int = 0) -> Chat:
        """The conversation up to what is to be answered. choice: which of n answers it is for."""
        model = serving.model
        messages, _ = self._split()
        return model.chat(
            messages=messages, tools=self.tools, tool_choice=self.tool_choice,
            sampling=sampling_of(self.sampling, Sampling(**model.recommended.sampling), choice),
            max_tokens=self.max_tokens, stop=self.stop, thinking=self._thinking(model),
            reasoning_budget=self.reasoning_budget, variables=self._variables(model), logprobs=self.logprobs,
            processors=self.processors, scheduler=serving.scheduler, timeout=serving.timeout,
        )  # fmt: skip

    def prompt(self, serving: Serving) -> list[int]:
        """The token ids that the answer would follow."""
        _, begun = self._split()
        return self.chat(serving).prompt(prefill=begun)

    def _begin(self, serving: Serving, choice: int) -> Generation:
        _, begun = self._split()
        return self.chat(serving, choice).stream_reply(prefill=begun, constraint=self.constraint)

    def _split(self) -> tuple[Sequence[Message], str]:
        """The messages, leading system texts as one, and how the answer begins."""
        messages = _with_one_system_text(self.messages)
        if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
            return messages[:-1], messages[-1].content
        return messages, ""

    def _thinking(self, model: Model) -> bool | None:
        """What the model can be told; one that can't be told reasons, or not, as it was trained to."""
        if model.reasoning_format.switch is None:
            return None
        if self.thinking is None and self.effort in ("none", "minimal"):
            return False
        return self.thinking

    def _variables(self, model: Model) -> Mapping[str, Any]:
        switch = model.reasoning_format.switch
        levels = isinstance(switch, TemplateVariable) and switch.name == "reasoning_effort"
        if self.effort is None or not levels or self.effort in ("none", "minimal"):
            return self.variables
        effort = "high" if self.effort in ("xhigh", "max") else self.effort  # templates know no more
        return {"reasoning_effort": effort, **self.variables}


def _with_one_system_text(messages: Sequence[Message]) -> Sequence[Message]:
    """Several messages of system or developer at the beginning as one, which is what templates know."""
    n = next((i for i, message in enumerate(messages) if message.role not in ("system", "developer")), len(messages))
    if n < 2:
        return messages
    return (replace(messages[0], content="\n\n".join(message.content for message in messages[:n])), *messages[n:])


def begun_variables(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Variables for the chat template that a request gives. Raises ApiError for what is not a request's to say."""
    if taken := values.keys() & {"chat_template", "messages", "tools", "documents", "add_generation_prompt", "now"}:
        name = f"chat_template_kwargs.{min(taken)}"
        raise ApiError(400, f"{name}: a request can't set that; leave it out", param=name)
    return values
