"""The sampling parameters: one table for the options of the commands and for /set in the chat."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli.options import usage_errors

if TYPE_CHECKING:
    from subbyte.runtime.generation.sampling import Sampling


@dataclass(frozen=True)
class Setting:
    """One field of `Sampling`: its name, the options that set it, how its text is read, what it does."""

    name: str
    flags: tuple[str, ...]
    type: type[int] | type[float]
    help: str


SETTINGS = (
    Setting("temperature", ("--temp", "--temperature"), float, "Sampling temperature; 0: greedy decoding."),
    Setting("top_k", ("--top-k",), int, "Top-k sampling: keep the K most probable tokens; 0: off."),
    Setting(
        "top_p", ("--top-p",), float,
        "Nucleus sampling: keep the smallest set of tokens with total probability P; 1: off.",
    ),
    Setting("min_p", ("--min-p",), float, "Drop tokens less probable than P times the most probable; 0: off."),
    Setting("repeat_penalty", ("--repeat-penalty",), float, "Penalize tokens that occurred recently; 1: off."),
    Setting("repeat_last_n", ("--repeat-last-n",), int, "Number of tokens that the repeat penalty looks at; -1: all."),
    Setting("seed", ("-s", "--seed"), int, "Random seed; the same seed gives the same answer."),
)  # fmt: skip
RANDOM = "random"  # how the seed None is written
BY_NAME = {setting.name: setting for setting in SETTINGS}


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option for each setting to a command; not given, it stays None and the library's default holds."""
    for setting in reversed(SETTINGS):
        command = click.option(*setting.flags, setting.name, type=setting.type, help=setting.help)(command)
    return command


def sampling_from(options: Mapping[str, Any], defaults: Mapping[str, float] | None = None) -> "Sampling":
    """Takes the settings given among a command's options; a value out of range is a usage error.

    defaults: what holds, instead of the library's defaults, where nothing is given.
    """
    from subbyte.runtime.generation.sampling import Sampling

    given = {name: options[name] for name in BY_NAME if options[name] is not None}
    with usage_errors():
        return Sampling(**{**(defaults or {}), **given})


def changed(sampling: "Sampling", name: str, text: str) -> "Sampling":
    """The sampling with one setting read from text; ValueError says what the text should have been."""
    setting = BY_NAME[name]
    try:
        value: Any = None if name == "seed" and text == RANDOM else setting.type(text)
    except ValueError:
        kind = "a whole number" if setting.type is int else "a number"
        raise ValueError(f"{name} is {kind}, not {text!r}") from None
    return dataclasses.replace(sampling, **{name: value})
