r"""Recipes: which block type each matrix of a model takes, as a readable file or by the name of a known mixture.

A recipe is a TOML file. Its rules are tried in order and the first that fits decides:

    mix = "IQ2_XS"                      # what no rule names: as in this mixture, or `type = "Q4_K"`: that block type

    [[rule]]
    match = "attn_v"                    # kinds of tensors with commas between; *, ? and [0-9] are as in file names
    when = ["gqa_ge_4"]                 # optional: all of these hold for the tensor, see CONDITIONS
    type = "IQ4_XS"

    [[rule]]
    match = "ffn_*, blk.7.*"            # what has a dot is compared with the whole name, blk.7.attn_v.weight
    layers = "0-3, 10, last 25%"        # optional: numbers, ranges, "first P%" and "last P%" of the layers
    type = "IQ3_S"

    [[rule]]
    match = '/blk\.\d*[02468]\.ffn_/'   # between slashes: a regular expression that is searched for in the whole name
    type = "IQ3_S"

Regular expressions are RE2's, whose search takes linear time: a recipe from elsewhere can't hang a program. That is why
they have no backreferences and no lookahead. Rows that a type's blocks do not fill take the type that llama-quantize
would take instead.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subbyte.errors import FormatError, ResourceError
from subbyte.runtime import arguments
from subbyte.runtime.files import UnfitFile, read_regular
from subbyte.runtime.recipes.file_types import FILE_TYPES, FileType, fitting
from subbyte.runtime.recipes.published_mixes import MIXES
from subbyte.runtime.recipes.rule import MAX_PATTERNS, MAX_PROGRAM, QuantizableTensor, Rule, check_type
from subbyte.runtime.text import did_you_mean, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 18
_KEYS, _RULE_KEYS = {"name", "mix", "type", "rule"}, {"match", "type", "layers", "when"}
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}  # llama-quantize's own
NAMED: Mapping[str, FileType] = {
    **{name: mix for name, mix in FILE_TYPES.items() if name != "F32"},
    **{name: mix for name, mix in MIXES.items() if name.startswith("DynamicGate-")},
    **{name: MIXES[f"card-{name}"] for name in ("bf16-q8_0", "f16-q8_0")},
}
"""The mixtures that are built in: llama-quantize's file types, and what published files have besides."""

_SMALLEST_OF = {"Q3_K": "Q3_K_S", "Q4_K": "Q4_K_S", "Q5_K": "Q5_K_S", "IQ2_S": "IQ2_M", "MXFP4": "MXFP4_MOE"}


@dataclass(frozen=True)
class Recipe:
    """name: for people. default_type: the mixture, or with pure the block type, of what no rule names.

    Raises ValueError for more rules than a recipe needs.
    """

    name: str
    default_type: str
    rules: tuple[Rule, ...] = ()
    pure: bool = False

    def __post_init__(self) -> None:
        if sum(len(rule.patterns) for rule in self.rules) > MAX_PATTERNS:
            raise ValueError(f"more than {MAX_PATTERNS} patterns in all rules together; use fewer with * in them")
        if sum(rule.program_size for rule in self.rules) > MAX_PROGRAM:
            raise ValueError("the regular expressions of all rules are too large together; use fewer or plainer ones")

    @classmethod
    def named(cls, name: str) -> Recipe:
        """A mixture that is built in, in any case of letters: "Q4_K_M", "dynamicgate-iq2_xs".

        Raises ValueError, which names those that may be meant.
        """
        wanted = "-".join(arguments.text("name", name).split()).lower()
        known = {**{mix.lower(): mix for mix in NAMED}, **{alias.lower(): mix for alias, mix in ALIASES.items()}}
        if wanted not in known:
            hint = did_you_mean(name, [*NAMED, *ALIASES])
            allowed = "`subbyte recipe show` lists those built in, or give the path of a .toml file"
            raise ValueError(f"no recipe {name!r}{hint}; {allowed}")
        return cls(known[wanted], known[wanted])

    @classmethod
    def dynamic_gate(cls, type: str) -> Recipe:
        """The mixture of Mungert's DynamicGate files: "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S" or "IQ2_M"."""
        return cls.named(f"DynamicGate-{arguments.text('type', type)}")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Recipe:
        """The recipe in a TOML file. Raises FormatError and ResourceError."""
        return read_recipe(Path(arguments.path("path", path)))

    def to_toml(self) -> str:
        """The text of a TOML file from which `open` makes the same recipe."""
        return format_recipe(self)

    @property
    def file_type(self) -> str:
        """The name under which llama-quantize knows what this comes closest to: that of most of its matrices."""
        name = self.default_type.removeprefix("DynamicGate-").rpartition("f16-")[2].upper()
        return _SMALLEST_OF.get(name, name) if self.pure else name

    def type_of(self, matrix: QuantizableTensor) -> str:
        """The block type that a matrix takes."""
        context = matrix.context
        type = next((rule.type for rule in self.rules if rule.fits(matrix)), None)
        if type is None:
            type = self.default_type if self.pure else NAMED[self.default_type](context)
        return fitting(type, context.row)

    def with_rules(self, *rules: Rule) -> Recipe:
        """The recipe with rules that come before its own."""
        return replace(self, rules=(*rules, *self.rules)) if rules else self

    def to_dict(self) -> dict[str, Any]:
        """As the recipe's file has it, fit for JSON."""
        rules = []
        for rule in self.rules:
            optional = {"layers": rule.layers, "when": list(rule.when)}
            rules.append({"match": rule.match, **{k: v for k, v in optional.items() if v}, "type": rule.type})
        return {"name": self.name, "type" if self.pure else "mix": self.default_type, "rule": rules}


def find_recipe(recipe: str | os.PathLike[str] | Recipe, name: str = "recipe") -> Recipe:
    """A recipe as it is, by the name of a built-in one, or from a file (a path, or a text that ends with .toml).

    name: of the argument that gives it. Raises ValueError for a name that is not known, FormatError for a file that is
    no recipe, ResourceError for one that can't be read.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str) and not recipe.endswith(".toml"):
        return Recipe.named(recipe)
    return read_recipe(Path(arguments.path(name, recipe, "a recipe's name, the path of a .toml file or a Recipe")))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file. Raises FormatError and ResourceError."""
    file = printable(str(path))
    try:
        data = read_regular(path, MAX_BYTES)
    except UnfitFile as error:
        raise FormatError(f"{file}: {error.strerror}; give a recipe's name or the path of a .toml file") from None
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(f"{file}: {reason}; give a recipe's name or the path of a .toml file") from None
    try:
        return parse_recipe(data.decode(), path.stem)
    except UnicodeDecodeError:
        raise FormatError(f"{file}: not UTF-8, so no recipe; write a TOML file") from None
    except ValueError as error:
        raise FormatError(f"{file}: {' '.join(str(error).split())}") from None


def parse_recipe(text: str, name: str = "recipe") -> Recipe:
    """The recipe that a TOML text describes. Raises ValueError that says which rule is wrong, and what is allowed."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from None
    except RecursionError:
        raise ValueError("no recipe: nested too deeply") from None
    _check_keys(table, _KEYS, "the recipe")
    rules = table.get("rule", [])
    if not isinstance(rules, list):
        raise ValueError("rules are [[rule]] tables")
    if ("mix" in table) == ("type" in table):
        raise ValueError('give either mix = "…" or type = "…" for what no rule names')
    name = _text(table, "name", "the recipe", name)
    parsed = tuple(_rule(rule, f"rule {i}") for i, rule in enumerate(rules, 1))
    if "type" in table:
        type = _text(table, "type", "the recipe")
        check_type(type)
        return Recipe(name, type, parsed, pure=True)
    return Recipe(name, Recipe.named(_text(table, "mix", "the recipe")).default_type, parsed)


def format_recipe(recipe: Recipe) -> str:
    """The recipe as a TOML text, from which `parse_recipe` makes the same recipe."""
    facts = recipe.to_dict()
    lines = [f"{key} = {_quote(facts[key])}" for key in ("name", "mix", "type") if key in facts]
    for rule in facts["rule"]:
        lines += ["", "[[rule]]", *(f"{key} = {_value(value)}" for key, value in rule.items())]
    return "\n".join(lines) + "\n"


def _rule(table: Any, where: str) -> Rule:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is no [[rule]] table")
    _check_keys(table, _RULE_KEYS, where)
    when = table.get("when", [])
    if not isinstance(when, list) or not all(isinstance(word, str) for word in when):
        raise ValueError(f'{where}: when is a list of words, such as ["gqa_ge_4", "not early"]')
    layers = _text(table, "layers", where) if "layers" in table else None
    try:
        return Rule(_text(table, "match", where), _text(table, "type", where), layers, tuple(when))
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _check_keys(table: dict[str, Any], allowed: set[str], where: str) -> None:
    if unknown := sorted(table.keys() - allowed):
        raise ValueError(f"{where} has an unknown key {unknown[0][:40]!r}; allowed are {', '.join(sorted(allowed))}")


def _text(table: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f'{where} needs {key} = "…", a text')
    return value


def _value(value: str | list[str]) -> str:
    return _quote(value) if isinstance(value, str) else f"[{', '.join(map(_quote, value))}]"


def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)  # JSON's form is one of TOML's
    return "".join(f"\\u{ord(c):04x}" if "\x7f" <= c <= "\x9f" else c for c in quoted)
