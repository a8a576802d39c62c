"""Recipes as TOML files: read with every value checked, written so that people like to change them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from subbyte.errors import FormatError, ResourceError
from subbyte.runtime.quantize.recipe import Recipe
from subbyte.runtime.quantize.rule import Rule, check_type
from subbyte.runtime.text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 18
_KEYS, _RULE_KEYS = {"name", "mix", "type", "rule"}, {"match", "type", "layers", "when"}


def find_recipe(recipe: str | os.PathLike[str] | Recipe) -> Recipe:
    """A recipe as it is, by the name of a built-in one, or from a file (a path, or a text that ends with .toml).

    Raises ValueError for a name that is not known, FormatError for a file that is no recipe, ResourceError for one
    that can't be read.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str) and not recipe.endswith(".toml"):
        return Recipe.named(recipe)
    return read_recipe(Path(recipe))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file. Raises FormatError and ResourceError."""
    file = printable(str(path))
    try:
        with path.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError(f"{file}: {reason}; give a recipe's name or the path of a .toml file") from None
    if len(data) > MAX_BYTES:
        raise FormatError(f"{file}: longer than {MAX_BYTES >> 10} KiB, which no recipe is")
    try:
        return parse_recipe(data.decode(), path.stem)
    except UnicodeDecodeError:
        raise FormatError(f"{file}: not UTF-8, so no recipe; write a TOML file") from None
    except ValueError as error:
        raise FormatError(f"{file}: {' '.join(str(error).split())}") from None


def parse_recipe(text: str, name: str = "recipe") -> Recipe:
    """The recipe that a TOML text describes. Raises ValueError that says which rule is wrong, and what is allowed."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from None
    except RecursionError:
        raise ValueError("no recipe: nested too deeply") from None
    _check_keys(found, _KEYS, "the recipe")
    rules = found.get("rule", [])
    if not isinstance(rules, list):
        raise ValueError("rules are [[rule]] tables")
    if ("mix" in found) == ("type" in found):
        raise ValueError('give either mix = "…" or type = "…" for what no rule names')
    name = _text(found, "name", "the recipe", name)
    parsed = tuple(_rule(rule, f"rule {i}") for i, rule in enumerate(rules, 1))
    if "type" in found:
        type = _text(found, "type", "the recipe")
        check_type(type)
        return Recipe(name, type, parsed, pure=True)
    return Recipe(name, Recipe.named(_text(found, "mix", "the recipe")).rest, parsed)


def format_recipe(recipe: Recipe) -> str:
    """The recipe as a TOML text, from which `parse_recipe` makes the same recipe."""
    facts = recipe.to_dict()
    lines = [f"{key} = {_quote(facts[key])}" for key in ("name", "mix", "type") if key in facts]
    for rule in facts["rule"]:
        lines += ["", "[[rule]]", *(f"{key} = {_value(value)}" for key, value in rule.items())]
    return "\n".join(lines) + "\n"


def _rule(found: Any, where: str) -> Rule:
    if not isinstance(found, dict):
        raise ValueError(f"{where} is no [[rule]] table")
    _check_keys(found, _RULE_KEYS, where)
    when = found.get("when", [])
    if not isinstance(when, list) or not all(isinstance(word, str) for word in when):
        raise ValueError(f'{where}: when is a list of words, such as ["shared", "not early"]')
    layers = _text(found, "layers", where) if "layers" in found else None
    try:
        return Rule(_text(found, "match", where), _text(found, "type", where), layers, tuple(when))
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _check_keys(found: dict[str, Any], allowed: set[str], where: str) -> None:
    if unknown := sorted(found.keys() - allowed):
        raise ValueError(f"{where} has an unknown key {unknown[0][:40]!r}; allowed are {', '.join(sorted(allowed))}")


def _text(found: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = found.get(key, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f'{where} needs {key} = "…", a text')
    return value


def _value(value: str | list[str]) -> str:
    return _quote(value) if isinstance(value, str) else f"[{', '.join(map(_quote, value))}]"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's form is one of TOML's
