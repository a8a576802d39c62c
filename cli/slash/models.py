"""Models in the chat: /model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.terminal.console import human_count, human_size

if TYPE_CHECKING:
    from subbyte.runtime.model import Model


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
    context.keeper.hold_with(name, str(model.path))
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

    context.entry("now: ", context.details)
    for model in catalog():
        unfit = [] if model.fits else ["larger than the free memory"]
        unfit += ["not run here"] if model.supported is False else []
        unfit += ["damaged"] if model.problem else []
        unfit += ["a base model"] if model.facts and model.facts.base_model else []
        context.entry(f"/model {model.name}  ", ", ".join([human_size(model.size), *unfit]))
    for other in available():
        context.entry(f"/model {other.name}  ", f"to download, {human_size(other.size)}")
