"""Recipes: which block type each matrix of a model takes, as a readable file or by the name of a known mixture.

A recipe is a TOML file. Its rules are tried in order and the first that fits decides:

    mix = "IQ2_XS"                      # what no rule names: as in this mixture, or `type = "Q4_K"`: that block type

    [[rule]]
    match = "attn_v"                    # kinds of tensors with commas between; *, ? and [0-9] are as in file names
    when = ["shared"]                   # optional: all of these hold for the tensor, see CONDITIONS
    type = "IQ4_XS"

    [[rule]]
    match = "ffn_*, blk.7.*"            # what has a dot is compared with the whole name, blk.7.attn_v.weight
    layers = "0-3, 10, last 25%"        # optional: numbers, ranges, "first P%" and "last P%" of the layers
    type = "IQ3_S"

Patterns are no regular expressions, because a recipe from elsewhere must not be able to hang a program. Rows that a
type's blocks do not fill take the type that llama-quantize would take instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subbyte.runtime.quantize.file_types import FILE_TYPES, FileType, fitting
from subbyte.runtime.quantize.mixtures import MIXES
from subbyte.runtime.quantize.rule import MAX_PATTERNS, Matrix, Rule

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
    """name: for people. rest: the mixture, or with pure the block type, of what no rule names.

    Raises ValueError for more rules than a recipe needs.
    """

    name: str
    rest: str
    rules: tuple[Rule, ...] = ()
    pure: bool = False

    def __post_init__(self) -> None:
        if sum(len(rule.patterns) for rule in self.rules) > MAX_PATTERNS:
            raise ValueError(f"more than {MAX_PATTERNS} patterns in all rules together; use fewer with * in them")

    @classmethod
    def named(cls, name: str) -> Recipe:
        """A mixture that is built in, in any case of letters: "Q4_K_M", "dynamicgate-iq2_xs".

        Raises ValueError, which lists them.
        """
        wanted = "-".join(name.split()).lower()
        known = {**{mix.lower(): mix for mix in NAMED}, **{alias.lower(): mix for alias, mix in ALIASES.items()}}
        if wanted not in known:
            raise ValueError(f"no recipe {name!r}; built in are {', '.join(NAMED)}, or give the path of a .toml file")
        return cls(known[wanted], known[wanted])

    @classmethod
    def dynamic_gate(cls, type: str) -> Recipe:
        """The mixture of Mungert's DynamicGate files: "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S" or "IQ2_M"."""
        return cls.named(f"DynamicGate-{type}")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Recipe:
        """The recipe in a TOML file. Raises FormatError and ResourceError."""
        from subbyte.runtime.quantize.recipe_file import read_recipe

        return read_recipe(Path(path))

    def to_toml(self) -> str:
        """The text of a TOML file from which `open` makes the same recipe."""
        from subbyte.runtime.quantize.recipe_file import format_recipe

        return format_recipe(self)

    @property
    def file_type(self) -> str:
        """The name under which llama-quantize knows what this comes closest to: that of most of its matrices."""
        name = self.rest.removeprefix("DynamicGate-").rpartition("f16-")[2].upper()
        return _SMALLEST_OF.get(name, name) if self.pure else name

    def type_of(self, matrix: Matrix) -> str:
        """The block type that a matrix takes."""
        place = matrix.place
        found = next((rule.type for rule in self.rules if rule.fits(matrix)), None)
        if found is None:
            found = self.rest if self.pure else NAMED[self.rest](place)
        return fitting(found, place.row)

    def with_rules(self, *rules: Rule) -> Recipe:
        """The recipe with rules that come before its own."""
        return replace(self, rules=(*rules, *self.rules)) if rules else self

    def to_dict(self) -> dict[str, Any]:
        """As the recipe's file has it, fit for JSON."""
        rules = []
        for rule in self.rules:
            optional = {"layers": rule.layers, "when": list(rule.when)}
            rules.append({"match": rule.match, **{k: v for k, v in optional.items() if v}, "type": rule.type})
        return {"name": self.name, "type" if self.pure else "mix": self.rest, "rule": rules}
