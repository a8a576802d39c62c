"""Quantized files of one model by size, as a plot has them: their figures, their names, and which are on the frontier.

A file is on the Pareto frontier if none is both smaller and better, by the estimates; whether a difference is more than
chance is what a report's paired intervals tell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_FILES = 200
LONGEST = 40  # characters of a name in a plot
_BETWEEN_WORDS = "-_./ "
_ENDING = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$")

Measure = Literal["kld", "bits"]
MEASURES: tuple[Measure, ...] = ("kld", "bits")
NAMES: dict[Measure, str] = {"kld": "KL divergence", "bits": "perplexity"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval, whose ends are not finite where it has none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def ends(self) -> tuple[float, ...]:
        """The value, and the ends of its interval."""
        return (self.low, self.value, self.high) if self.has_interval else (self.value,)

    def __str__(self) -> str:
        interval = f" ({self.low:.4g} to {self.high:.4g})" if self.has_interval else ""
        return f"{self.value:.4g}{interval}"


@dataclass(frozen=True, slots=True)
class File:
    """A file. maker: of its mixture of types, "standard" for llama-quantize's; types: the mixture's name.

    kld: mean KL divergence from the base in nats; nan of the base itself, and where there is none.
    bits: for each byte of the scored text; ppl: the perplexity, of whose logarithm `bits` is a multiple.
    """

    name: str
    maker: str
    types: str
    n_bytes: int
    kld: Figure
    bits: Figure
    ppl: float

    def figure(self, measure: Measure) -> Figure:
        """Its value of a measure."""
        return self.kld if measure == "kld" else self.bits

    def __str__(self) -> str:
        kld = f"KL divergence {self.kld}, " if math.isfinite(self.kld.value) else ""
        return f"{self.types}, {self.n_bytes / 1e6:.1f} MB, {kld}perplexity {self.ppl:.4g}, {self.bits} bits a byte"


@dataclass(frozen=True, slots=True)
class Frontier:
    """Files measured over one text. conditions: how, in a line."""

    files: tuple[File, ...]
    base: File | None
    conditions: str

    def having(self, measure: Measure) -> list[int]:
        """Indices of the files of which a measure has a finite value, the smallest file first."""
        found = [i for i, file in enumerate(self.files) if math.isfinite(file.figure(measure).value)]
        return sorted(found, key=lambda i: (self.files[i].n_bytes, self.files[i].figure(measure).value))

    def best(self, measure: Measure) -> list[int]:
        """Of `having` those on the Pareto frontier."""
        best, found = math.inf, []
        for i in self.having(measure):
            if (value := self.files[i].figure(measure).value) < best:
                best = value
                found.append(i)
        return found

    def in_words(self, names: Sequence[str]) -> str:
        """All that a plot shows, for who can't see it. names: of the files."""
        files = [f"{name}: {file}." for name, file in zip(names, self.files, strict=True)]
        base = [f"Base {self.base.name}: {self.base}."] if self.base else []
        frontiers = [
            f"Pareto frontier of {NAMES[measure]}: {', '.join(on)}."
            for measure in MEASURES
            if (on := [names[i] for i in self.best(measure)])
        ]
        return " ".join([f"{self.conditions}.", *files, *base, *frontiers])


def short_names(names: Iterable[str]) -> tuple[list[str], str]:
    """Names without the words that all of them begin with, an ellipsis in the middle of a long one; and these words."""
    all_names = [_ENDING.sub("", name) or name for name in names]
    begin = 0
    for i, signs in enumerate(zip(*all_names, strict=False)):
        if len(set(signs)) > 1 or len(all_names) == 1:
            break
        begin = i + 1 if signs[0] in _BETWEEN_WORDS else begin
    rest = [name[begin:] or name for name in all_names]
    return [shortened(name) for name in rest], shortened(all_names[0][:begin].strip(_BETWEEN_WORDS))


def shortened(name: str) -> str:
    """A name with an ellipsis in its middle where it is long."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"
