"""Downloads from the Hugging Face hub into the hub's own cache; one that was cut off goes on where it was.

`hf_hub_download` of huggingface_hub 2 throws away what came when it is interrupted. So a file's bytes are fetched here,
into `blobs/HASH.incomplete`, the name that version 1 went on from; links and refs are then made by the library.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from subbyte.errors import ModelNotFound, ResourceError
from subbyte.runtime.store.file_names import DEFAULT_QUANTS, models, pick, quant_tag
from subbyte.runtime.text import did_you_mean
from subbyte.runtime.types import Progress

_MAX_HTTP_BYTES = 50_000_000_000  # a larger file is given out in chunks of the hub's own only, by the package hf_xet
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AT_ONCE = 1 << 20
_KEPT = "what has come is kept, and the same command goes on with it"


def fetch_hub(repo: str, quant: str | None, on_progress: Progress | None) -> Path:
    """The (first) file of a repository's model, all parts fetched and checked.

    Raises ModelNotFound for what is not there, ResourceError when network or disk fail.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        listed = HfApi().model_info(repo, files_metadata=True).siblings or []
        sizes = {file.rfilename: file.size or 0 for file in listed}
        files = _choose(repo, sizes, quant)
        counter = _byte_counter(sum(sizes[file] for file in files), on_progress)
        _check_space(repo, {file: sizes[file] for file in files})
        for file in files:
            if sizes[file] <= _MAX_HTTP_BYTES:
                _fetch_blob(repo, file, counter)
        paths = [hf_hub_download(repo, file, tqdm_class=counter) for file in files]
        return Path(paths[0])
    except (ModelNotFound, ResourceError):
        raise
    except GatedRepoError as error:
        raise ResourceError(
            f"{repo} wants its terms accepted at {constants.ENDPOINT}/{repo}, and then HF_TOKEN set"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(f"no repository {repo} at {constants.ENDPOINT} (or a private one: set HF_TOKEN)") from error
    except Exception as error:  # which errors a broken network or a full disk give depends on the library's version
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ResourceError(f"can't fetch {repo} from {constants.ENDPOINT}: {reason}; {_KEPT}") from error


def _choose(repo: str, names: Iterable[str], quant: str | None) -> list[str]:
    present = set(names)
    known = models(present)
    for choice in [quant] if quant else [*DEFAULT_QUANTS, None]:
        files = pick(known, choice)
        missing = next((file for file in files if file not in present), None)
        if missing:
            raise ModelNotFound(f"{repo} lacks {missing}, one of {len(files)} parts: look for another repository")
        if files:
            return files
    if not known:
        raise ModelNotFound(f"{repo} holds no GGUF model; look for a repository whose name ends in GGUF")
    tags = sorted({tag for name in known if (tag := quant_tag(name))})
    raise ModelNotFound(
        f"{repo} has no {quant}{did_you_mean(quant or '', tags)}; it has {', '.join(tags) or ', '.join(sorted(known))}"
    )


def _check_space(repo: str, sizes: Mapping[str, int]) -> None:
    """Raises ResourceError where the disk has no room for the files that are not here yet."""
    from huggingface_hub import constants, try_to_load_from_cache

    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    need = sum(n for file, n in sizes.items() if not isinstance(try_to_load_from_cache(repo, file), str))
    begun = cache / f"models--{repo.replace('/', '--')}" / "blobs"
    need -= sum(partial.stat().st_size for partial in begun.glob("*.incomplete"))
    free = shutil.disk_usage(there).free
    if need > free:
        raise ResourceError(
            f"{repo} needs {need / 1e6:.0f} MB more in {cache}, and {free / 1e6:.0f} MB are free; "
            "make room there or set HF_HOME to another folder"
        )


def _fetch_blob(repo: str, file: str, counter: Any) -> None:
    """Fetches what is missing of a file, and puts it where the library looks for it; ResourceError for wrong bytes."""
    from filelock import FileLock
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, but not in __all__

    url = hf_hub_url(repo, file)
    known = get_hf_file_metadata(url)
    if known.etag is None or known.commit_hash is None or "/" in known.etag:
        return  # no server of the hub's kind: the library says so
    if isinstance(try_to_load_from_cache(repo, file, revision=known.commit_hash), str):
        return
    folder = f"models--{repo.replace('/', '--')}"
    blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / known.etag
    lock = Path(constants.HF_HUB_CACHE) / ".locks" / folder / f"{known.etag}.lock"  # the library's own
    for path in (blob, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if blob.exists():
            return
        partial = blob.with_name(f"{blob.name}.incomplete")
        with open(partial, "ab") as out:
            if known.size is not None and out.tell() > known.size:
                out.truncate(0)
            http_get(
                url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=known.size,
                tqdm_class=counter,
            )  # fmt: skip
        _check(partial, known.etag, f"{repo}/{file}")
        partial.replace(blob)


def _check(partial: Path, etag: str, name: str) -> None:
    """Raises ResourceError, and takes the file away, if its sha256 is not the one that the hub names it by."""
    if not _SHA256.fullmatch(etag):
        return
    digest = hashlib.sha256()
    with open(partial, "rb") as file:
        while block := file.read(_AT_ONCE):
            digest.update(block)
    if digest.hexdigest() != etag:
        partial.unlink()
        raise ResourceError(
            f"{name} came with sha256 {digest.hexdigest()[:16]}…, expected was {etag[:16]}…; nothing of it was kept: "
            "fetch it again"
        )


def _byte_counter(total: int, on_progress: Progress | None) -> Any:
    """A progress bar class that draws nothing and adds up the bytes of all its bars."""
    from tqdm import tqdm

    done = 0

    class ByteCounter(tqdm):  # type: ignore[misc]  # untyped base
        def __init__(self, *_args: Any, initial: int = 0, **_options: Any) -> None:
            super().__init__(disable=True)
            self.update(initial)

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            done += int(n or 0)
            if on_progress:
                on_progress(min(done, total), total)

    return ByteCounter
