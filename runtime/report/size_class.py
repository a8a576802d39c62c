"""Which mixture of types a file is made by, and which file of a set another one is fairly compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from subbyte.runtime import arguments
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.inspect.summary import summarize
from subbyte.runtime.loading import Models
from subbyte.runtime.model import Model
from subbyte.runtime.recipes.extract import check
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.records import Record
from subbyte.runtime.store.resolve import resolve

Maker: TypeAlias = Literal["standard", "DynamicGate", "other"]


@dataclass(frozen=True, slots=True)
class SizeClass(Record):
    """file_type: what the file calls itself, such as "IQ2_XS"; the type of most of its bytes where it says nothing.

    maker: whose mixture of that name its tensors have the types of, all of them: "standard" is llama-quantize.
    """

    file_type: str
    maker: Maker

    def __str__(self) -> str:
        return self.file_type if self.maker == "standard" else f"{self.maker} {self.file_type}"


def size_class(gguf: GGUF) -> SizeClass:
    """The size class of a file that holds a model, from its types; names of files say nothing here."""
    name = _file_type(gguf.metadata) or summarize(gguf).types[0].type
    if _follows(gguf, name):
        return SizeClass(name, "standard")
    return SizeClass(name, "DynamicGate" if _follows(gguf, f"DynamicGate-{name}") else "other")


def baseline_for(files: Sequence[tuple[SizeClass, int]], index: int) -> int | None:
    """The index of the file that the one at `index` is compared with, given size classes and bytes of all.

    It is a standard file of the same file type; without one the standard file nearest in size, as a ratio. Where no
    file is standard, those that are not DynamicGate's count as such. A standard file is compared with none.
    """
    standards = [i for i, (of, _) in enumerate(files) if of.maker == "standard"]
    standards = standards or [i for i, (of, _) in enumerate(files) if of.maker == "other"]
    if index in standards or not standards:
        return None
    of, size = files[index]
    same = [i for i in standards if files[i][0].file_type == of.file_type]
    return min(same or standards, key=lambda i: abs(math.log(files[i][1] / size)))


def baselines(files: Sequence[Model], against: Models | None) -> dict[int, int]:
    """By the indices of those files that are compared with another one, the index of that."""
    indices = range(len(files))
    if against is None:
        classes = [(size_class(model.gguf), model.gguf.size) for model in files]
        return {i: baseline for i in indices if (baseline := baseline_for(classes, i)) is not None}
    path = against.path if isinstance(against, Model) else resolve(arguments.path("against", against, arguments.PATH))
    baseline = next((i for i in indices if files[i].path.samefile(path)), None)
    if baseline is None:
        raise ValueError(f"against: {path} is none of the files; give one of them to compare the others with")
    return {i: baseline for i in indices if i != baseline}


def _file_type(metadata: Metadata) -> str | None:
    """The name of `general.file_type` as llama-quantize has it."""
    from gguf import LlamaFileType

    number = metadata["general.file_type"] if "general.file_type" in metadata else None
    known = {int(member): member.name for member in LlamaFileType}
    name = known.get(number) if isinstance(number, int) else None
    return None if name is None or name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _follows(gguf: GGUF, name: str) -> bool:
    """Whether all matrices are what a recipe makes of them; F32, to which nothing is quantized, is not among those."""
    try:
        recipe = Recipe(name, name, pure=True) if name == "F32" else Recipe.named(name)
    except ValueError:  # no such recipe
        return False
    return not check(gguf, recipe)
