"""The open model of a chat, in whose place another one is put in the middle of the conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from subbyte.cli.chat.keeper import everything

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.generation.sampling import Sampling
    from subbyte.runtime.model import Model


@dataclass
class ModelSwitch:
    """The open model of a chat, and what opens another one.

    options: arguments of `Model.chat` that the command line gave and that any model takes. start: the sampling that the
    model began with, its own or a preset's, from which changed settings are told. for_first: what the command line gave
    for the model that it named alone, as `--draft`.
    """

    open: Callable[[str], Model]
    model: Model
    start: Sampling
    options: Mapping[str, Any] = field(default_factory=dict)
    for_first: Sequence[str] = ()

    def to(self, name: str, chat: Chat) -> tuple[Chat, list[str]]:
        """Goes on with a conversation on another model; the new conversation, and what it could not take over.

        Model and conversation of before are closed when those of now are open. Their files stay in the page cache, so
        that going back is fast; kept open, their KV cache would take the new one's memory. Raises what opening a model
        raises, with all as before.
        """
        with ExitStack() as opened:
            model = opened.enter_context(self.open(name))
            start = _recommended(model)
            other, lost = self._converse(model, chat, _taken_over(chat.sampling, self.start, start))
            opened.pop_all()
        chat.close()
        self.model.close()
        self.model, self.start = model, start
        if self.for_first:
            lost.append(f"not taken along: {', '.join(self.for_first)}")
        self.for_first = ()
        return other, lost

    def _converse(self, model: Model, chat: Chat, sampling: Sampling) -> tuple[Chat, list[str]]:
        lost = []
        if chat.thinking is not None and not model.reasoning_format.switch:
            lost.append(f"its reasoning can't be switched {'on' if chat.thinking else 'off'}")
        if chat.tools and model.tool_format is None:
            lost.append("it can't be given tools")
        other = model.chat(
            **self.options, system=chat.system, messages=everything(chat), sampling=sampling,
            thinking=None if model.reasoning_format.switch is None else chat.thinking,
            reasoning_budget=chat.reasoning_budget, max_tokens=chat.max_tokens,
            tools=() if model.tool_format is None else chat.tools.values(),
        )  # fmt: skip
        return other, lost


def _recommended(model: Model) -> Sampling:
    from subbyte.runtime.generation.sampling import Sampling

    return Sampling(**model.recommended.sampling)


def _taken_over(now: Sampling, start: Sampling, other: Sampling) -> Sampling:
    """The sampling another model starts with, but for what was changed of the one before."""
    names = type(now).__dataclass_fields__
    changed = {name: getattr(now, name) for name in names if getattr(now, name) != getattr(start, name)}
    return replace(other, **changed)
