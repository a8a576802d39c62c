"""The importance matrix of a search that is given none: of its texts, and kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from subbyte.errors import FormatError, ModelNotFound, ResourceError, SubbyteError
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.texts import Conversations, EvalText, bytes_of
from subbyte.runtime.files import try_lock, write_failure
from subbyte.runtime.imatrix.collect import ImatrixMeasurement
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.measurement import Step
from subbyte.runtime.model import Model
from subbyte.runtime.search.kept import digest_of, make_folder, model_digest
from subbyte.runtime.search.passages import BYTES_A_TOKEN

TOKENS = 1 << 15


def own_imatrix(
    model: Model, texts: Mapping[str, EvalText], n_ctx: int, cache: Path
) -> Generator[Step, None, tuple[Path, Imatrix]]:
    """The matrix, of the output's columns too, and its file in the cache.

    Of conversations only where there is nothing else: a search weighs the tokens of answers by itself. Where another
    search makes the same one, it is waited for. Raises as `imatrix`, and ResourceError.
    """
    plain = [bytes_of(text) for text in texts.values() if not isinstance(text, Conversations)]
    share = BYTES_A_TOKEN * max(TOKENS // max(len(plain), 1), 2 * n_ctx)
    given: list[EvalText] = [text[:share] for text in plain] or [*texts.values()]
    options = EvalOptions(n_ctx, -(-TOKENS // n_ctx))
    sha256 = [hashlib.sha256(bytes_of(text)).hexdigest() for text in given]
    path = cache / "imatrix" / f"{digest_of('imatrix', model_digest(model.gguf), sha256, n_ctx, options.chunks)}.gguf"
    make_folder(path.parent)
    try:
        with path.with_suffix(".lock").open("ab") as lock:
            while not try_lock(lock):
                yield Step("importance matrix, which another search makes", 0, 1)
                time.sleep(0.5)
            if (kept := _kept(path)) is None:
                yield from _made(model, given, options, path)
    except OSError as error:
        raise write_failure(path, error) from error
    return path, kept or Imatrix.open(path)


def _kept(path: Path) -> Imatrix | None:
    """The matrix that is there; a file that is none goes."""
    try:
        return Imatrix.open(path)
    except ModelNotFound:
        return None
    except FormatError:
        path.unlink()
        return None


def _made(model: Model, texts: Sequence[EvalText], options: EvalOptions, path: Path) -> Iterator[Step]:
    """Writes the matrix, and meanwhile its sums so far, from which a search that was killed goes on."""
    sums = path.with_suffix(".sums")

    def begin() -> ImatrixMeasurement:
        return ImatrixMeasurement(model, texts, options, process_output=True, resume=sums)

    try:
        measurement = begin()
    except ResourceError:
        raise
    except SubbyteError:  # the sums are damaged
        sums.unlink(missing_ok=True)
        measurement = begin()
    with measurement:
        for step in measurement:
            yield Step(f"importance matrix, {step.what}", step.done, step.total)
        measurement.result().save(path)
    sums.unlink(missing_ok=True)
