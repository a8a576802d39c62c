"""Another model in the middle of a chat: /model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subbyte.cli.repl.context import ReplContext
from subbyte.cli.terminal.console import human_count, human_size

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.generation.sampling import Sampling
    from subbyte.runtime.model import Model


@dataclass
class ModelSwitch:
    """The open model of a chat, and what opens another one.

    options: arguments of `Model.chat` that the command line gave and that any model takes. start: the sampling that the
    model began with, its own or a preset's, from which changed settings are told.
    """

    open: Callable[[str], Model]
    model: Model
    start: Sampling
    options: Mapping[str, Any] = field(default_factory=dict)

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
        return other, lost

    def _converse(self, model: Model, chat: Chat, sampling: Sampling) -> tuple[Chat, list[str]]:
        from subbyte.runtime.chat.messages import Message

        waiting = [Message("user", chat.unanswered)] if chat.unanswered is not None else []
        lost = []
        if chat.thinking is not None and not model.reasoning_format.switch:
            lost.append(f"its reasoning can't be switched {'on' if chat.thinking else 'off'}")
        if chat.tools and model.tool_format is None:
            lost.append("it can't be given tools")
        other = model.chat(
            **self.options, system=chat.system, messages=[*chat.messages, *waiting], sampling=sampling,
            thinking=None if model.reasoning_format.switch is None else chat.thinking,
            reasoning_budget=chat.reasoning_budget, max_tokens=chat.max_tokens,
            tools=() if model.tool_format is None else chat.tools.values(),
        )  # fmt: skip
        return other, lost


def describe_model(model: Model) -> str:
    """Architecture and size in a few words."""
    info = model.info
    return f"{info.architecture}, {human_count(info.n_params)} weights at {info.bits_per_weight:.2f} bits"


def short_name(name: str) -> str:
    """A path's file without suffix, a name without what stands before its last /."""
    return Path(name).stem if name.endswith(".gguf") else name.rpartition("/")[2]


def switch_model(context: ReplContext, name: str) -> None:
    """`/model NAME`; without a name the models that are here."""
    if not name:
        _list(context)
        return
    if context.models is None:
        raise ValueError("this chat has no other models")
    context.chat, lost = context.models.to(name, context.chat)
    model = context.models.model
    about = describe_model(model)
    context.model, context.details, context.presets = short_name(name), f"{name} ({about})", model.presets
    context.say(f"{context.model} ({about}), context {context.chat.n_ctx} tokens; {_kept(context)}")
    for what in lost:
        context.say(f"note: {what}")


def _kept(context: ReplContext) -> str:
    n = len(context.chat.messages)
    return f"the conversation of {n} messages goes on" if n else "nothing was said yet"


def _list(context: ReplContext) -> None:
    from subbyte.runtime.catalog.catalog import catalog
    from subbyte.runtime.store.resolve import available

    context.line(f"now: {context.details}")
    for model in catalog():
        unfit = [] if model.fits else ["larger than the free memory"]
        unfit += ["not run here"] if model.supported is False else []
        unfit += ["damaged"] if model.problem else []
        unfit += ["a base model"] if model.facts and model.facts.base_model else []
        context.entry(f"/model {model.name}  ", ", ".join([human_size(model.size), *unfit]))
    for other in available():
        context.entry(f"/model {other.name}  ", f"to download, {human_size(other.size)}")


def _recommended(model: Model) -> Sampling:
    from subbyte.runtime.generation.sampling import Sampling

    return Sampling(**model.recommended.sampling)


def _taken_over(now: Sampling, start: Sampling, other: Sampling) -> Sampling:
    """The sampling another model starts with, but for what was changed of the one before."""
    names = type(now).__dataclass_fields__
    changed = {name: getattr(now, name) for name in names if getattr(now, name) != getattr(start, name)}
    return replace(other, **changed)
