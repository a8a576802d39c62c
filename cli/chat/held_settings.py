"""The settings that a kept conversation was held with, which it goes on with: sampling and reasoning."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from subbyte.cli.chat.settings import BY_NAME

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.generation.sampling import Sampling

REASONING: Mapping[str, type[int]] = {"thinking": bool, "reasoning_budget": int}
OF_A_CONVERSATION = (*BY_NAME, *REASONING)
"""What goes on with a conversation; context, threads and -n belong to the machine and to the command."""


def given_settings(options: Mapping[str, Any], preset: str | None) -> Collection[str]:
    """The settings that a command line gives, by an option of their own or by a preset."""
    return [name for name in OF_A_CONVERSATION if preset is not None or options.get(name) is not None]


def take_up(chat: "Chat", held: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Gives the chat the settings that a conversation was held with, but for those in `given`; what that changed.

    What the store holds that makes no sense here is passed over.
    """
    sampling = chat.sampling
    for name, value in _sampling(held).items():
        if name not in given:
            sampling = _with(sampling, name, value)
    changes = [
        f"{name} {setting.show(getattr(sampling, name))}"
        for name, setting in BY_NAME.items()
        if getattr(sampling, name) != getattr(chat.sampling, name)
    ]
    if changes:
        chat.sampling = sampling
    for name, kind in REASONING.items():
        value = held.get(name)
        fits = value is None or (isinstance(value, kind) and value >= 0)
        if fits and value != getattr(chat, name) and name not in given and (name != "thinking" or chat.can_think):
            setattr(chat, name, value)
            changes.append(_reasoning(name, value))
    return changes


def _sampling(held: Mapping[str, Any]) -> Mapping[str, Any]:
    values = held.get("sampling")
    return {name: value for name, value in values.items() if name in BY_NAME} if isinstance(values, dict) else {}


def _with(sampling: "Sampling", name: str, value: Any) -> "Sampling":
    """The sampling with a value as JSON has it, which has no infinity, and no numbers as keys."""
    try:
        if name == "logit_bias":
            value = {int(token): -math.inf if bias is None else bias for token, bias in value.items()}
        return replace(sampling, **{name: value})
    except (ValueError, TypeError, AttributeError):
        return sampling


def _reasoning(name: str, value: object) -> str:
    if name == "thinking":
        return "reasoning as trained" if value is None else f"reasoning {'on' if value else 'off'}"
    return "no reasoning budget" if value is None else f"reasoning budget {value}"
