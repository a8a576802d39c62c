"""/set: sampling parameters shown and changed, one or several at once, as NAME VALUE or NAME=VALUE."""

import difflib
import re

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.settings import BY_NAME, RANDOM, SETTINGS, changed

SHORT = {"temp": "temperature"}
_NAMED = re.compile(r"([A-Za-z][\w-]*)\s*=\s*")


def set_values(context: ReplContext, argument: str) -> None:
    """Shows all settings, or one, or changes those that are given: all of them, or none if one is wrong."""
    if not argument:
        for setting in SETTINGS:
            context.entry(f"{setting.name:21}{value_of(context, setting.name):>8}  ", setting.help)
        return
    pairs = [(full_name(name), value) for name, value in assignments(argument)]
    sampling = context.chat.sampling
    for name, value in pairs:
        sampling = changed(sampling, name, value) if value else sampling
    if any(value for _, value in pairs):
        context.chat.sampling = sampling
    for name, _ in pairs:
        context.say(f"{name} = {value_of(context, name)}")


def assignments(argument: str) -> list[tuple[str, str]]:
    """Names with their values, "" where none is given. A setting that takes a text takes all that is behind it."""
    pairs: list[tuple[str, str]] = []
    while argument:
        named = _NAMED.match(argument)
        name = named[1] if named else argument.split(maxsplit=1)[0]
        rest = argument[named.end() if named else len(name) :].strip()
        setting = BY_NAME.get(_known(name))
        if setting is not None and setting.several:
            return [*pairs, (name, rest)]
        value, _, argument = rest.partition(" ")
        if not named and (_NAMED.match(rest) or _known(value) in BY_NAME):  # no value, but the next name
            value, argument = "", rest
        pairs.append((name, value))
        argument = argument.strip()
    return pairs


def full_name(name: str) -> str:
    """The setting's own name. Raises ValueError, with what may have been meant, for none."""
    known = _known(name)
    if known not in BY_NAME:
        near = difflib.get_close_matches(known, [*BY_NAME, *SHORT], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(BY_NAME)}"
        raise ValueError(f"unknown setting {name}; {hint}")
    return known


def _known(name: str) -> str:
    name = name.lower().replace("-", "_")
    return SHORT.get(name, name)


def value_of(context: ReplContext, name: str) -> str:
    """The text of a setting's value."""
    value = getattr(context.chat.sampling, name)
    return RANDOM if value is None else BY_NAME[name].show(value)
