"""`sb.search_recipes`: the mixture of block types that diverges least from a model for its size, found by measuring."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from subbyte.runtime import arguments
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Floats, block_bootstrap
from subbyte.runtime.evaluation.texts import EvalTexts, named_texts
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.loading import Models, as_model, checked_isa
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.quantize.plan import make_plan
from subbyte.runtime.quantize.write import file_layout
from subbyte.runtime.recipes.matrices import matrices
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.recipes.rule import check_type
from subbyte.runtime.search.errors import frontier, relative_errors
from subbyte.runtime.search.evidence import SearchProgress, costs_of, rounds_of
from subbyte.runtime.search.fast import FastTypes, find_fast_types
from subbyte.runtime.search.groups import SHORT_ROWS, TYPES, Group, bands, choices, find_groups
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures, digest_of
from subbyte.runtime.search.measured import Measured
from subbyte.runtime.search.one_target import OneTarget
from subbyte.runtime.search.own_imatrix import own_imatrix
from subbyte.runtime.search.passages import choose_passages, digest
from subbyte.runtime.search.recipe_of import recipe_of
from subbyte.runtime.search.result import FoundRecipe, RecipeSearch
from subbyte.runtime.search.target import check_reach, targets_of
from subbyte.runtime.search.variants import LOGITS_BYTES, n_layers
from subbyte.runtime.types import StepProgress

_log = logging.getLogger(__name__)
CACHE_BYTES = 20 * 10**9
ROUNDS = 3


class RecipeSearchMeasurement(Measurement[Step, RecipeSearch]):
    """A search, a measured divergence at a time; arguments and errors are those of `search_recipes`.

    Its result has the targets that are done. What was measured for others is kept in the cache.
    """

    unit = "targets"

    def __init__(
        self,
        source: Models,
        text: EvalTexts,
        *,
        size: int | Sequence[int] | None = None,
        bits: float | Sequence[float] | None = None,
        kld: float | Sequence[float] | None = None,
        imatrix: str | os.PathLike[str] | Imatrix | None = None,
        types: Sequence[str] | None = None,
        fast_on: str | None = None,
        n_ctx: int = 256,
        passages: int = 16,
        step: int = 4,
        rounds: int = ROUNDS,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._targets = targets_of(size, bits, kld)
        self._types = None if types is None else _checked_types(types)
        self._isa = None if fast_on is None else checked_isa("fast_on", fast_on)
        self._options = EvalOptions(arguments.whole("n_ctx", n_ctx, 64, hint="tokens of a passage"))
        self._n = arguments.whole("passages", passages, 2)
        self._step = arguments.whole("step", step, 1, hint="every so many predictions one is scored")
        self._rounds = arguments.whole("rounds", rounds, 1)
        self._cache = _cache_folder() if cache is None else Path(arguments.path("cache", cache))
        self._cache_bytes = arguments.whole("cache_bytes", cache_bytes, 0, hint="bytes of encoded tensors")
        self._texts = named_texts("text", text)
        self._imatrix, self.imatrix_path = None, None
        if isinstance(imatrix, Imatrix):
            self._imatrix = imatrix
        elif imatrix is not None:
            self.imatrix_path = Path(arguments.path("imatrix", imatrix, "an Imatrix or a path (str or os.PathLike)"))
            self._imatrix = Imatrix.open(self.imatrix_path)
        self._figures = KeptFigures(self._cache)
        with ExitStack() as stack:
            self._model = as_model("source", source, stack)
            kept_rows = max(1, LOGITS_BYTES // (4 * self._model.config.n_vocab))
            step = max(self._step, -(-self._n * n_ctx // kept_rows))
            check_reach(self._targets, self._model.gguf, self._types or (*TYPES, *SHORT_ROWS))
            self._passages = choose_passages(self._model, self._texts, n_ctx=n_ctx, n=self._n, step=step)
            self._encoder = stack.enter_context(Encoder(self._model.n_threads))
            self._opened = stack.pop_all()
        self._found: list[FoundRecipe] = []
        self._measured: list[Measured] = []
        self._fast: FastTypes | None = None
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Step]:
        started = time.perf_counter()
        model, figures = self._model, self._figures
        if self._isa is not None:
            given = choices(model, self._types)
            self._fast = yield from find_fast_types(given, self._isa, model.n_threads, figures)
            if self._fast.slow:
                _log.warning(str(self._fast))
        if self._imatrix is None:
            n_ctx = self._options.n_ctx or 0
            self.imatrix_path, self._imatrix = yield from own_imatrix(model, self._texts, n_ctx, self._cache)
        slow = [of.type for of in self._fast.slow] if self._fast else []
        groups = find_groups(model, self._imatrix, self._types, slow)
        encoded = EncodedTensors(self._cache, self._cache_bytes, model.gguf, self._encoder)
        search, held_out = self._measured = [
            Measured(model, groups, passages, self._options, encoded, figures)
            for passages in (self._passages.search, self._passages.held_out)
        ]
        together = bands(groups)
        progress = SearchProgress(groups, together, n_layers(model), len(self._targets), self._rounds)
        errors = []
        for group in groups:
            yield progress.step(f"errors of {group.name}", 1)
            errors.append(self._errors(group, encoded))
        types = [frontier(group, of) for group, of in zip(groups, errors, strict=True)]
        alone: list[dict[str, float]] = [{} for _ in groups]
        shared: set[tuple[int, str]] = set()
        sizes = self._sizes(groups)
        for target in self._targets:
            one = OneTarget(target, groups, errors, types, alone, shared, together, *sizes, self._rounds)
            for what, start in one.run(search):
                self._seconds = time.perf_counter() - started
                yield progress.step(what, progress.n_layer - start + 1)
            one.check_reach()
            yield progress.step(f"{target}: the proof on held-out text", progress.n_layer + 1)
            self._found.append(self._record(one, held_out.whole(one.best.mixture)))
            progress.next_target()
            self._seconds = time.perf_counter() - started
            encoded.release()

    def close(self) -> None:
        self._opened.close()

    @property
    def targets(self) -> tuple[str, ...]:
        """What is searched for, as `FoundRecipe.target` has it."""
        return tuple(map(str, self._targets))

    @property
    def source(self) -> Path:
        """The file of the base."""
        return self._model.path

    @property
    def n_done(self) -> int:
        return len(self._found)

    @property
    def n_total(self) -> int:
        return len(self._targets)

    def result(self) -> RecipeSearch:
        search, held_out = self._passages.search, self._passages.held_out
        return RecipeSearch(
            source=str(self._model.path),
            source_bytes=self._model.gguf.size,
            imatrix=None if self.imatrix_path is None else str(self.imatrix_path),
            found=tuple(self._found),
            n_ctx=self._options.n_ctx or 0,
            passages=len(search),
            n_scored=sum(len(passage.rows) for passage in search),
            n_held_out=sum(len(passage.rows) for passage in held_out),
            texts_sha256=digest([*search, *held_out]),
            fast=self._fast,
            measured=sum(of.n_new for of in self._measured),
            reused=sum(of.n_reused for of in self._measured),
            seconds=self._seconds,
        )

    def _errors(self, group: Group, encoded: EncodedTensors) -> dict[str, float]:
        """By type; kept."""
        types = list(group.n_bytes)
        name = digest_of("errors", [encoded.digest(group, type) for type in types])
        values = self._figures.get(name)
        if values is None or len(values) != len(types):
            values = list(relative_errors(group, types, self._encoder).values())
            self._model.gguf.check_unchanged()
            self._figures.put(name, values)
        return dict(zip(types, values, strict=True))

    def _sizes(self, groups: Sequence[Group]) -> tuple[int, int, int]:
        """Bytes of the file beside tensors, of tensors beside the groups, and weights of all tensors."""
        gguf = self._model.gguf
        plan = make_plan(gguf, self._recipe("recipe", groups, [list(group.n_bytes)[-1] for group in groups]))
        layout = file_layout(gguf, plan, self._imatrix, str(self.imatrix_path or ""))
        chosen = {group.name for group in groups}
        kept = sum(change.n_bytes for change in plan.changes if change.name not in chosen)
        return layout.end - plan.n_bytes, kept, plan.n_weights

    def _recipe(self, name: str, groups: Sequence[Group], mixture: Sequence[str]) -> Recipe:
        types = {group.name: type for group, type in zip(groups, mixture, strict=True)}
        kept = [matrix for matrix in matrices(self._model.gguf, imatrix=True) if matrix.name not in types]
        tensors = self._model.gguf.tensors
        types.update((matrix.name, tensors[matrix.name].type) for matrix in kept)
        all_matrices = [*(group.matrix for group in groups), *kept]
        return recipe_of(name, types, all_matrices, {name: tensors[name].n_weights for name in types})

    def _record(self, one: OneTarget, held_out: Floats) -> FoundRecipe:
        best, groups = one.best, one.groups
        if not one.reaches(best):
            _log.warning(
                "%s: what was found diverges by %.3g nats; more rounds may reach it", one.target, best.klds.mean()
            )
        name = f"{self._model.info.name or 'model'}, {one.target}"
        comment = f"# {self._fast}\n" if self._fast else ""
        return FoundRecipe(
            target=str(one.target),
            recipe=comment + self._recipe(name, groups, best.mixture).to_toml(),
            n_bytes=one.n_bytes(best.mixture),
            bits_per_weight=8 * one.tensor_bytes(best.mixture) / one.n_weights,
            reached=one.reaches(best),
            predicted=best.predicted,
            kld=block_bootstrap(held_out),
            rounds=rounds_of(one),
            tensors=costs_of(one),
        )


def _checked_types(types: Sequence[str]) -> tuple[str, ...]:
    found = arguments.strings("types", types)
    for type in found:
        check_type(type)
    if not found:
        raise ValueError("types: none is given; name at least one, or None for all that are worth it")
    return found


def _cache_folder() -> Path:
    from subbyte.runtime.store.resolve import cache_folder

    return cache_folder().with_name("search")


def search_recipes(
    source: Models,
    text: EvalTexts,
    *,
    size: int | Sequence[int] | None = None,
    bits: float | Sequence[float] | None = None,
    kld: float | Sequence[float] | None = None,
    imatrix: str | os.PathLike[str] | Imatrix | None = None,
    types: Sequence[str] | None = None,
    fast_on: str | None = None,
    n_ctx: int = 256,
    passages: int = 16,
    step: int = 4,
    rounds: int = ROUNDS,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int = CACHE_BYTES,
    on_progress: StepProgress | None = None,
) -> RecipeSearch:
    """Searches, for each target, the mixture of block types whose predictions diverge least from the source's.

    source: the model as it was trained, or nearly; a `Model`, a path or a name. text: of what the model is for, best of
    several kinds, `Conversations` too, whose last answers are scored. size: the most bytes of a file; bits: the most
    bits per weight; kld: the most divergence, nats; one or several of each. imatrix: None computes one of the texts.
    types: block types to choose from. fast_on: an instruction set of this machine, such as "avx2": types that larger
    ones outrun with it are left out, by what is measured now. n_ctx: tokens of a passage; passages: so many for the
    search and as many held out; step: one prediction in so many is scored. rounds: mixtures tried at most. cache: a
    folder, where a search goes on that was ended, and from which another one of the same model takes what is the same;
    None for that of the user. cache_bytes: of encoded tensors in it.

    Needs the extra `quantize`. Raises ValueError, ModelRefused (no mixture reaches a target), ResourceError, and what
    `load`, `imatrix` and `quantize` raise.
    """
    arguments.callback("on_progress", on_progress)
    with RecipeSearchMeasurement(
        source, text, size=size, bits=bits, kld=kld, imatrix=imatrix, types=types, fast_on=fast_on,
        n_ctx=n_ctx, passages=passages, step=step, rounds=rounds, cache=cache, cache_bytes=cache_bytes,
    ) as search:  # fmt: skip
        return search.run(on_progress and (lambda step: on_progress(*step)))
