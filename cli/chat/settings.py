"""The sampling parameters: one table for the options of the commands and for /set in the chat."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli.options import usage_errors

if TYPE_CHECKING:
    from subbyte.runtime.generation.sampling import Sampling


@dataclass(frozen=True)
class Setting:
    """One field of `Sampling`: its name, the options that set it, how its text is read, what it does.

    read: raises ValueError for a text that is not of that `kind`. show: the text of a value. several: whether the
    option may be given again, which adds to it.
    """

    name: str
    flags: tuple[str, ...]
    read: Callable[[str], Any]
    help: str
    kind: str = "a number"
    show: Callable[[Any], str] = "{:g}".format
    several: bool = False


def _whole(name: str, flags: tuple[str, ...], help: str, read: Callable[[str], Any] = int) -> Setting:
    return Setting(name, flags, read, help, "a whole number", str)


def read_bias(text: str) -> dict[int, float]:
    """Reads `15043+1,15044-inf`: what is added to the logits of these tokens; `none`: nothing."""
    if text == NONE:
        return {}
    found = [re.fullmatch(r"\s*(\d+)\s*([+-](?:\d+\.?\d*|\.\d+|inf))\s*", part) for part in text.split(",")]
    if not all(found):
        raise ValueError(text)
    return {int(match[1]): float(match[2]) for match in found if match}


def show_bias(biases: Mapping[int, float]) -> str:
    """Writes what `read_bias` reads."""
    return ",".join(f"{token}{bias:+g}" for token, bias in biases.items()) or NONE


def read_text(text: str) -> tuple[str, ...]:
    r"""Reads one text, with \n and \t for what they stand for; `none`: no text."""
    return () if text == NONE else (text.replace("\\n", "\n").replace("\\t", "\t"),)


def show_texts(texts: Iterable[str]) -> str:
    """Writes texts as they are quoted in Python."""
    return " ".join(map(repr, texts)) or NONE


def read_switch(text: str) -> bool:
    """Reads on or off."""
    if text not in ON_OFF:
        raise ValueError(text)
    return ON_OFF[text]


NONE, RANDOM = "none", "random"  # how no bias and the seed None are written
ON_OFF = {"on": True, "off": False}


SETTINGS = (
    Setting("temperature", ("--temp", "--temperature"), float, "Sampling temperature; 0: greedy decoding."),
    _whole("top_k", ("--top-k",), "Top-k sampling: keep the K most probable tokens; 0: off."),
    Setting(
        "top_p", ("--top-p",), float,
        "Nucleus sampling: keep the smallest set of tokens with total probability P; 1: off.",
    ),
    Setting("min_p", ("--min-p",), float, "Drop tokens less probable than P times the most probable; 0: off."),
    Setting("repeat_penalty", ("--repeat-penalty",), float, "Penalize tokens that occurred recently; 1: off."),
    _whole("repeat_last_n", ("--repeat-last-n",), "Number of tokens that these penalties look at; -1: all."),
    Setting(
        "presence_penalty", ("--presence-penalty",), float, "Taken from the logits of tokens that occurred; 0: off."
    ),
    Setting(
        "frequency_penalty", ("--frequency-penalty",), float,
        "Taken from the logits of tokens for each time they occurred; 0: off.",
    ),
    Setting(
        "dry_multiplier", ("--dry-multiplier",), float,
        "DRY: penalty on tokens that go on with a repetition of earlier text; 0: off.",
    ),
    Setting("dry_base", ("--dry-base",), float, "DRY: growth of that penalty with each token more that is repeated."),
    _whole("dry_allowed_length", ("--dry-allowed-length",), "DRY: number of tokens that may be repeated."),
    _whole("dry_penalty_last_n", ("--dry-penalty-last-n",), "DRY: number of tokens that are searched; -1: all."),
    Setting(
        "dry_sequence_breakers", ("--dry-sequence-breaker",), read_text,
        'DRY: a text that no repetition goes across, instead of line break, ":", "\\"" and "*"; may be repeated; none.',
        "a text, or none", show_texts, several=True,
    ),
    Setting(
        "xtc_probability", ("--xtc-probability",), float,
        "XTC: how often the most probable tokens are left out, but for the last of them; 0: never.",
    ),
    Setting("xtc_threshold", ("--xtc-threshold",), float, "XTC: probability from which tokens are left out."),
    Setting(
        "logit_bias", ("-l", "--logit-bias"), read_bias,
        "Added to the logits of tokens, by id: 15043+1 or 15043-inf, which bans it; commas between; may be repeated.",
        "like 15043+1,15044-inf, or none", show_bias, several=True,
    ),
    Setting(
        "banned", ("--ban",), read_text, "A text that no answer has in it, whatever its tokens; may be repeated.",
        "a text, or none", show_texts, several=True,
    ),
    Setting(
        "ignore_eos", ("--ignore-eos",), read_switch, "Never end an answer before the limit.", "on or off",
        lambda value: "on" if value else "off",
    ),
    _whole(
        "seed", ("-s", "--seed"), "Random seed; the same seed gives the same answer.",
        lambda text: None if text == RANDOM else int(text),
    ),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds one option for each setting to a command; not given, it stays None and the library's default holds."""
    for setting in reversed(SETTINGS):
        command = click.option(*setting.flags, setting.name, help=setting.help, **_kind_of_option(setting))(command)
    return command


def _kind_of_option(setting: Setting) -> dict[str, Any]:
    if setting.read is read_switch:
        return {"is_flag": True, "default": None}
    if setting.several:
        return {"multiple": True, "metavar": "TEXT", "callback": _added}
    return {"type": int if setting.kind == "a whole number" else float}


def _added(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Any:
    """The values of an option given several times, together; None where it was not."""
    if not texts:
        return None
    setting = BY_NAME[str(option.name)]
    try:
        values = [setting.read(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(f"{str(error)!r} is not {setting.kind}") from None
    if isinstance(values[0], dict):
        return {token: bias for value in values for token, bias in value.items()}
    return tuple(part for value in values for part in value)


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
        value = setting.read(text)
    except ValueError:
        raise ValueError(f"{name} is {setting.kind}, not {text!r}") from None
    return dataclasses.replace(sampling, **{name: value})


def default(name: str) -> str:
    """The text of the library's default of a setting."""
    from subbyte.runtime.generation.sampling import Sampling

    value = getattr(Sampling(), name)
    return RANDOM if value is None else BY_NAME[name].show(value)
