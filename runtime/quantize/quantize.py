"""`sb.quantize`: a model's file in other block types; `sb.quantize_all`: several files at once."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from subbyte.errors import ModelRefused, ResourceError
from subbyte.kernels import MAX_THREADS
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.writer import Layout
from subbyte.runtime.imatrix.expert_use import never_chosen
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.machine import default_threads
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.quantize.importances import check_importances
from subbyte.runtime.quantize.part_file import check_out
from subbyte.runtime.quantize.plan import QuantPlan, make_plan, recipe_for_size
from subbyte.runtime.quantize.result import Quantized
from subbyte.runtime.quantize.write import Output, file_layout, write_files
from subbyte.runtime.recipes.matrices import matrices
from subbyte.runtime.recipes.recipe import Recipe, find_recipe
from subbyte.runtime.recipes.rule import Rule, parse_override
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.store.file_names import quant_tag, stem
from subbyte.runtime.text import did_you_mean, printable
from subbyte.runtime.types import StepProgress

MAX_NAME = 100  # characters of a recipe's name in that of a file
_NOT_OF_NAMES = re.compile(r"[^\w.+-]+", re.ASCII)

_log = logging.getLogger(__name__)


def quantize(
    source: Source,
    out: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe | None = None,
    *,
    imatrix: str | os.PathLike[str] | Imatrix | None = None,
    tensor_types: Sequence[str] = (),
    target_size: int | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    on_progress: StepProgress | None = None,
) -> Quantized:
    """Writes a model in other block types; OUT appears when it is whole. Needs the extra `quantize`, but for a dry run.

    source: a path or a name, as for `load`, a `Model` or a `GGUF`. recipe: the name of a mixture, a TOML file, or a
    `Recipe`; or in its place target_size: the most bytes the file may have, for which the finest of llama.cpp's
    mixtures is taken. tensor_types: "PATTERN=TYPE", which come before the recipe's rules. overwrite: also over a model,
    else FileExists is raised. A run that was interrupted is taken up by the same call. Raises ValueError, ModelRefused
    (importances are missing), NumericError, ResourceError, ModelNotFound.
    """
    if (recipe is None) == (target_size is None):
        raise ValueError("give either a recipe or a target size (recipe, target_size)")
    if target_size is not None:
        target_size = arguments.whole("target_size", target_size, 1, hint="bytes")
    how = _How.of(imatrix, tensor_types, threads, dry_run, overwrite, on_progress)
    out = Path(arguments.path("out", out))
    base = None if recipe is None else find_recipe(recipe)
    with open_source("source", source) as gguf:
        target = check_out(out, gguf, overwrite=overwrite or dry_run)
        how.check_matched(gguf)
        if base is None:
            assert target_size is not None
            plan_of = partial(how.plan, gguf)
            base = recipe_for_size(plan_of, lambda plan: how.layout(gguf, plan).end, target_size)
        return how.run(gguf, [(out, target, base)])[0]


def quantize_all(
    source: Source,
    folder: str | os.PathLike[str],
    recipes: Sequence[str | os.PathLike[str] | Recipe],
    *,
    imatrix: str | os.PathLike[str] | Imatrix | None = None,
    tensor_types: Sequence[str] = (),
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    on_progress: StepProgress | None = None,
) -> list[Quantized]:
    """Writes a model by several recipes, in one reading: a tensor is decoded once, and encoded once for each type.

    folder: takes a file for each recipe, named after both: m-f16.gguf becomes m-Q4_K_M.gguf, m-IQ2_XS.gguf. The files
    appear when all are whole. Further arguments and errors: as for `quantize`. What stands in the way of one recipe
    stops all before anything is written; one whose type turns out not to hold a weight stops no other, and its
    NumericError is raised at the end.
    """
    how = _How.of(imatrix, tensor_types, threads, dry_run, overwrite, on_progress)
    folder = Path(arguments.path("folder", folder))
    given = arguments.items("recipes", recipes, "a list of recipes")
    found = [find_recipe(recipe, f"recipes[{i}]") for i, recipe in enumerate(given)]
    if not found:
        raise ValueError("recipes is empty; give at least one")
    if not os.path.isdir(folder):
        raise ResourceError(f"{printable(str(folder))}: no folder; make it, or give another")
    with open_source("source", source) as gguf:
        how.check_matched(gguf)
        outs = [folder / file_name(gguf.path.name, recipe) for recipe in found]
        if twice := [out.name for i, out in enumerate(outs) if out in outs[:i]]:
            raise ValueError(f"two recipes would write {twice[0]!r}; give them names of their own")
        targets = [check_out(out, gguf, overwrite=overwrite or dry_run) for out in outs]
        return how.run(gguf, list(zip(outs, targets, found, strict=True)))


def file_name(source: str, recipe: Recipe) -> str:
    """The name of a file that a recipe makes of a model: that of the source with another type at its end."""
    name = stem(source)
    if (tag := quant_tag(source)) is not None and name.upper().endswith(tag):
        name = name[: -len(tag)].rstrip("-._") or name
    return f"{name}-{_NOT_OF_NAMES.sub('-', recipe.name)[:MAX_NAME]}.gguf"


@dataclass(frozen=True)
class _How:
    """What all files of a call have in common."""

    imatrix: Imatrix | None
    imatrix_name: str
    rules: tuple[Rule, ...]
    n_threads: int
    dry_run: bool
    overwrite: bool
    on_progress: StepProgress | None

    @classmethod
    def of(
        cls,
        imatrix: str | os.PathLike[str] | Imatrix | None,
        tensor_types: Sequence[str],
        threads: int | None,
        dry_run: bool,
        overwrite: bool,
        on_progress: StepProgress | None,
    ) -> _How:
        """Checks the arguments, and reads the importance matrix."""
        if threads is not None and not 1 <= (threads := arguments.whole("threads", threads)) <= MAX_THREADS:
            raise ValueError(f"{threads} threads; allowed are 1 to {MAX_THREADS}, or None for what the machine has")
        rules = tuple(map(parse_override, arguments.strings("tensor_types", tensor_types)))
        arguments.flag("dry_run", dry_run)
        arguments.flag("overwrite", overwrite)
        arguments.callback("on_progress", on_progress)
        name = ""
        if imatrix is not None and not isinstance(imatrix, Imatrix):
            name = arguments.path("imatrix", imatrix, "an Imatrix or a path (str or os.PathLike)")
            imatrix = Imatrix.open(name)
        n_threads = threads or min(default_threads()[0], MAX_THREADS)
        return cls(imatrix, name, rules, n_threads, dry_run, overwrite, on_progress)

    def plan(self, gguf: GGUF, recipe: Recipe) -> QuantPlan:
        return make_plan(gguf, recipe.with_rules(*self.rules), self.imatrix)

    def layout(self, gguf: GGUF, plan: QuantPlan) -> Layout:
        return file_layout(gguf, plan, self.imatrix, self.imatrix_name)

    def check_matched(self, gguf: GGUF) -> None:
        """Refuses rules of the call's own that fit nothing."""
        tensors = matrices(gguf, imatrix=False)
        for rule in self.rules:
            if not any(rule.fits(matrix) for matrix in tensors):
                kinds = sorted({printable(matrix.context.kind) for matrix in tensors})
                hint = did_you_mean(rule.match, kinds)
                raise ValueError(f"{rule.match!r} fits no tensor of the model{hint}, which has {', '.join(kinds)}")

    def run(self, gguf: GGUF, files: Sequence[tuple[Path, Path, Recipe]]) -> list[Quantized]:
        """Writes files, each given as it was asked for, with links followed, and by its recipe."""
        started = time.perf_counter()
        plans = [self.plan(gguf, recipe) for *_, recipe in files]
        self._warn(plans)
        if not self.dry_run:
            for plan in plans:
                check_importances(plan, self.imatrix)
        outputs = [
            Output(out, target, plan, self.layout(gguf, plan))
            for (out, target, _), plan in zip(files, plans, strict=True)
        ]
        resumed = [0] * len(files)
        if not self.dry_run:
            with Encoder(self.n_threads) as encoder:
                resumed = write_files(
                    gguf, outputs, self.imatrix, encoder, overwrite=self.overwrite, on_progress=self.on_progress
                )
        seconds = time.perf_counter() - started
        return [
            Quantized(gguf.path, to.out, to.plan, to.layout.end, self.dry_run, n, seconds)
            for to, n in zip(outputs, resumed, strict=True)
        ]

    def _warn(self, plans: Sequence[QuantPlan]) -> None:
        for note in dict.fromkeys(note for plan in plans for note in plan.notes):
            _log.warning("%s", note)
        again = dict.fromkeys(name for plan in plans for name in plan.requantized)
        if again:
            _log.warning("%d tensors, such as %s, are quantized already and lose a second time; quantize the original "
                         "model where there is one", len(again), next(iter(again)))  # fmt: skip
        if self.imatrix is not None and (lacking := never_chosen(self.imatrix)):
            _log.warning("%s", lacking)
        if self.dry_run:
            for plan in plans:
                _warn_of_importances(plan, self.imatrix)


def _warn_of_importances(plan: QuantPlan, imatrix: Imatrix | None) -> None:
    """What would be refused is still shown: its size may decide whether an importance matrix is worth making."""
    try:
        check_importances(plan, imatrix)
    except ModelRefused as error:
        _log.warning("this can't be written yet: %s", error)
