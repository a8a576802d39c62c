"""`sb.quantize`: a model's file in other block types."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from subbyte.errors import FileExists, ModelRefused
from subbyte.kernels import MAX_THREADS
from subbyte.runtime import arguments
from subbyte.runtime.files import check_place, write_failure
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.writer import Layout, lay_out
from subbyte.runtime.imatrix.expert_use import never_chosen
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.machine import default_threads
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.quantize.importances import check_importances, importances_of
from subbyte.runtime.quantize.matrices import matrices
from subbyte.runtime.quantize.metadata import quantized
from subbyte.runtime.quantize.part_file import MODEL_FILE, PartFile
from subbyte.runtime.quantize.plan import Change, QuantPlan, make_plan, recipe_for_size
from subbyte.runtime.quantize.recipe import Recipe, find_recipe
from subbyte.runtime.quantize.rule import Rule, parse_override
from subbyte.runtime.records import Tabular
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.text import did_you_mean, printable
from subbyte.runtime.types import StepProgress

COPIED = 1 << 20  # bytes at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantized(Tabular):
    """What was written, or with dry_run would be. n_bytes: of the file. resumed: tensors that an earlier run left."""

    source: Path
    out: Path
    plan: QuantPlan
    n_bytes: int
    dry_run: bool
    resumed: int
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A block type each, most bytes first."""
        return [asdict(share) for share in self.plan.shares()]

    def to_dict(self) -> dict[str, Any]:
        """All of it, fit for JSON; tensors with their types."""
        own = {"source": str(self.source), "out": str(self.out), "file_bytes": self.n_bytes, "dry_run": self.dry_run,
               "resumed": self.resumed, "seconds": self.seconds}  # fmt: skip
        return {**own, **self.plan.to_dict()}

    def _repr_html_(self) -> str:
        size = f"{self.n_bytes / 1e6:.1f} MB, {self.plan.bits_per_weight:.2f} bits per weight"
        rows = "".join(
            f"<tr><td>{share.type}</td><td>{share.n_tensors}</td><td>{share.n_bytes / 1e6:.1f} MB</td></tr>"
            for share in self.plan.shares()
        )
        head = "<tr><th>type</th><th>tensors</th><th>size</th></tr>"
        return f"<p>{escape(self.plan.recipe.name)}: {size}</p><table>{head}{rows}</table>"


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
    if threads is not None and not 1 <= (threads := arguments.whole("threads", threads)) <= MAX_THREADS:
        raise ValueError(f"{threads} threads; allowed are 1 to {MAX_THREADS}, or None for what the machine has")
    if (recipe is None) == (target_size is None):
        raise ValueError("give either a recipe or a target size (recipe, target_size)")
    started, out = time.perf_counter(), Path(arguments.path("out", out))
    tensor_types = arguments.strings("tensor_types", tensor_types)
    arguments.flag("dry_run", dry_run)
    arguments.flag("overwrite", overwrite)
    arguments.callback("on_progress", on_progress)
    if target_size is not None:
        target_size = arguments.whole("target_size", target_size, 1, hint="bytes")
    overrides = [parse_override(each) for each in tensor_types]
    base = None if recipe is None else find_recipe(recipe)
    importances, imatrix_name = None, ""
    if isinstance(imatrix, Imatrix):
        importances = imatrix
    elif imatrix is not None:
        imatrix_name = arguments.path("imatrix", imatrix, "an Imatrix or a path (str or os.PathLike)")
        importances = Imatrix.open(imatrix_name)
    with open_source("source", source) as gguf:
        target = _check_place(out, gguf, overwrite=overwrite or dry_run)
        _check_matched(overrides, gguf)

        def plan_of(recipe: Recipe) -> QuantPlan:
            return make_plan(gguf, recipe.with_rules(*overrides), importances)

        def layout_of(plan: QuantPlan) -> Layout:
            return file_layout(gguf, plan, importances, imatrix_name)

        if base is None:
            assert target_size is not None
            base = recipe_for_size(plan_of, lambda plan: layout_of(plan).end, target_size)
        plan = plan_of(base)
        layout, resumed = layout_of(plan), 0
        for note in plan.notes:
            _log.warning("%s", note)
        if again := plan.requantized:
            _log.warning("%d tensors, such as %s, are quantized already and lose a second time; quantize the original "
                         "model where there is one", len(again), again[0])  # fmt: skip
        if importances is not None and (lacking := never_chosen(importances)):
            _log.warning("%s", lacking)
        if dry_run:
            _warn_of_importances(plan, importances)
        else:
            check_importances(plan, importances)
            n_threads = threads or min(default_threads()[0], MAX_THREADS)
            fingerprint = _fingerprint(gguf, layout, importances)
            part = PartFile(target, layout, fingerprint, overwrite=overwrite)
            with part as file, Encoder(n_threads) as encoder:
                resumed = file.n_done
                _write(gguf, plan, importances, file, encoder, on_progress)
                file.publish()
        return Quantized(gguf.path, out, plan, layout.end, dry_run, resumed, time.perf_counter() - started)


def _write(
    gguf: GGUF,
    plan: QuantPlan,
    imatrix: Imatrix | None,
    file: PartFile,
    encoder: Encoder,
    on_progress: StepProgress | None,
) -> None:
    done = 0
    for i, change in enumerate(plan.changes):
        tensor, written = gguf.tensors[change.name], 0
        if i >= file.n_done:
            for piece in _data(tensor, change, imatrix, encoder):
                if on_progress is not None:
                    behind = done + tensor.n_weights * written // change.n_bytes
                    on_progress(f"{change.name}, {change.type}", behind, plan.n_weights)
                file.write(piece)
                written += len(piece)
            gguf.check_unchanged()
            file.end_tensor()
        done += tensor.n_weights


def _data(tensor: TensorInfo, change: Change, imatrix: Imatrix | None, encoder: Encoder) -> Iterator[bytes]:
    """The tensor's new data in pieces; copied where it stays, so that it is read here and not by who writes it."""
    if change.type == tensor.type:
        return (bytes(tensor.data[at : at + COPIED]) for at in range(0, tensor.n_bytes, COPIED))
    return encoder.encode(tensor, change.type, importances_of(change.name, change.shape, imatrix))


def _warn_of_importances(plan: QuantPlan, imatrix: Imatrix | None) -> None:
    """What would be refused is still shown: its size may decide whether an importance matrix is worth making."""
    try:
        check_importances(plan, imatrix)
    except ModelRefused as error:
        _log.warning("this can't be written yet: %s", error)


def file_layout(gguf: GGUF, plan: QuantPlan, imatrix: Imatrix | None, imatrix_name: str) -> Layout:
    """The head of the file that a plan makes, and where its tensors are. imatrix_name: as it stands in the file."""
    metadata = quantized(gguf.metadata.entries, plan.recipe.file_type, imatrix, imatrix_name)
    tensors = [(change.name, change.shape, change.type, change.n_bytes) for change in plan.changes]
    return lay_out(metadata, tensors, gguf.metadata.u32("general.alignment", DEFAULT_ALIGNMENT))


def _fingerprint(gguf: GGUF, layout: Layout, imatrix: Imatrix | None) -> str:
    """Of all that decides about the file's bytes."""
    facts = (gguf.identity, imatrix.digest() if imatrix else "", version("libgguf"))
    return hashlib.sha256(layout.head + repr(facts).encode()).hexdigest()


def _check_place(out: Path, gguf: GGUF, *, overwrite: bool) -> Path:
    """Where OUT may be written, links followed: the part beside a link might be on another file system.

    Refuses an OUT that a model can't be written to, or that the model is read from, before hours of work.
    """
    try:
        target = check_place(out, MODEL_FILE, overwrite=True)
        if target.exists():
            status = target.stat()
            if (status.st_size, status.st_mtime_ns, status.st_ino) in gguf.identity:
                raise FileExists(
                    f"{printable(str(out))}: is the model itself, which is never overwritten; give another place"
                )
        return check_place(out, MODEL_FILE, overwrite=overwrite)
    except OSError as error:
        raise write_failure(out, error) from error


def _check_matched(rules: Sequence[Rule], gguf: GGUF) -> None:
    tensors = matrices(gguf, imatrix=False)
    for rule in rules:
        if not any(rule.fits(matrix) for matrix in tensors):
            kinds = sorted({printable(matrix.context.kind) for matrix in tensors})
            hint = did_you_mean(rule.match, kinds)
            raise ValueError(f"{rule.match!r} fits no tensor of the model{hint}, which has {', '.join(kinds)}")
