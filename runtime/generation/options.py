"""Options of a generation, as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import arguments
from subbyte.runtime.generation.channels import Channels
from subbyte.runtime.generation.reasoning_parser import Tags, checked_budget
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.generation.stop_strings import stop_strings
from subbyte.runtime.grammar.constraint import Constraint

if TYPE_CHECKING:
    from subbyte.runtime.tools.parser import ToolUse

LogitsFunction: TypeAlias = Callable[[NDArray[np.float32], Sequence[int]], None]
"""Changes the logits of the next token, float32 [n_vocab], in place, given the tokens so far, oldest first."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The beginning of an answer that is there before it is made: its tokens, and what of it was shown by now."""

    tokens: Sequence[int] = ()
    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How an answer is made. Raises ValueError for a value that makes no sense."""

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None  # None: as many as fit into the context
    stop: Iterable[str] = ()  # strings that end the answer; kept as a tuple
    reasoning_budget: int | None = None  # tokens of reasoning after which its end is forced; None: no limit
    tags: Tags | Channels | None = None  # what surrounds the model's reasoning; None: all it writes is the answer
    opened: str | None = None  # what the prompt has behind the open tag that it begins in; None: its end tells
    lead: str = ""  # text that is left out where the answer begins with it
    constraint: Constraint | None = None  # what the answer's text must be, reasoning apart; None: anything
    tools: ToolUse | None = None  # tools whose calls are told from the answer's text; None: all of it is text
    timeout: float | None = None  # seconds after which the answer ends, from when it was asked for; None: no limit
    logprobs: int | None = None  # how many of the most probable tokens are told with each token; None: not even its own
    prompt_logprobs: int | None = None  # the same for each token of the prompt, before the answer
    prompt_logprobs_from: int = 0  # index of the first of these tokens
    processors: Iterable[LogitsFunction] = ()  # the caller's own, behind all others; kept as a tuple

    def __post_init__(self) -> None:
        arguments.instance("sampling", self.sampling, Sampling)
        if self.max_tokens is not None:
            n = arguments.whole("max_tokens", self.max_tokens, 0, hint="None: as many as fit into the context")
            object.__setattr__(self, "max_tokens", n)
        if self.constraint is not None:
            arguments.instance("constraint", self.constraint, Constraint)
        if self.timeout is not None:
            object.__setattr__(self, "timeout", arguments.number("timeout", self.timeout, 0.0))
        if self.logprobs is not None:
            k = arguments.whole("logprobs", self.logprobs, 0, hint="most probable tokens; None: no log-probabilities")
            object.__setattr__(self, "logprobs", k)
        self._check_prompt_logprobs()
        object.__setattr__(self, "processors", arguments.functions("processors", self.processors))
        checked_budget(self.reasoning_budget)
        object.__setattr__(self, "stop", stop_strings(self.stop))

    def _check_prompt_logprobs(self) -> None:
        k, hint = self.prompt_logprobs, "most probable tokens; None: no log-probabilities of the prompt"
        if k is not None:
            object.__setattr__(self, "prompt_logprobs", arguments.whole("prompt_logprobs", k, 0, hint=hint))
        first = arguments.whole("prompt_logprobs_from", self.prompt_logprobs_from, 0)
        if first and k is None:
            raise ValueError(f"prompt_logprobs_from = {first} without prompt_logprobs; give that as well")
        object.__setattr__(self, "prompt_logprobs_from", first)
