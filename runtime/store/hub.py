"""Models of the Hugging Face hub, `hf:user/repo[:QUANT]`, kept and shared in the hub's own cache."""

import logging
import os
import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from subbyte.errors import ModelNotFound
from subbyte.runtime.files import read_regular
from subbyte.runtime.store.file_names import DEFAULT_QUANTS, complete, parts, pick, quant_tag
from subbyte.runtime.store.found import Installed
from subbyte.runtime.text import printable
from subbyte.runtime.types import Progress

_MAX_REF = 1 << 12  # bytes of a file that holds a commit's name
_NAME = re.compile(r"(?:hf:)?(?P<user>[\w.-]+)/(?P<repo>[\w.-]+)(?::(?P<quant>[\w.-]+))?")
_log = logging.getLogger(__name__)

PREFIX = "hf:"


def resolve_hub(name: str, on_progress: Progress | None = None, offline: bool = False) -> Path:
    """The (first) file of a model of the hub, from its cache or fetched; raises as `store.resolve`."""
    match = _NAME.fullmatch(name)
    if not match or not name.startswith(PREFIX):
        raise ModelNotFound(
            f"{name!r} is not of the form hf:user/repo[:QUANT], as in hf:ggml-org/gemma-3-1b-it-GGUF:Q8_0"
        )
    repo, quant = f"{match['user']}/{match['repo']}", match["quant"]
    from huggingface_hub import constants

    offline = offline or bool(constants.HF_HUB_OFFLINE)
    # Which file the default is can depend on files that are not here, unless the first choice is.
    cached = _cached(repo, [quant] if quant else [*DEFAULT_QUANTS, None] if offline else [DEFAULT_QUANTS[0]])
    if cached:
        return cached
    if offline:
        where = constants.HF_HUB_CACHE
        raise ModelNotFound(f"{name} is not in the cache {where}, and fetching it was ruled out (offline)")
    from subbyte.runtime.store.fetch_hub import fetch_hub

    return fetch_hub(repo, quant, on_progress)


def cached_hub(name: str) -> Path | None:
    """The (first) file of `user/repo[:QUANT]` where the hub's cache has it."""
    match = _NAME.fullmatch(name)
    quant = match and match["quant"]
    return _cached(f"{match['user']}/{match['repo']}", [quant] if quant else [*DEFAULT_QUANTS, None]) if match else None


def installed_hub() -> list[Installed]:
    """The GGUF models in the hub's cache; one that no quantization names alone goes by its path."""
    from huggingface_hub import constants

    models = []
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        _, user, repo = folder.name.split("--", 2)
        listed: set[str] = set()  # of versions before, whose files are taken for that name
        for snapshot in _snapshots(folder):
            here = _complete(snapshot)
            names = {}
            for first in (name for name in here if parts(name)[0] == name):
                tag = quant_tag(first)
                choices = [tag] if tag else [*DEFAULT_QUANTS, None]
                chosen = next(files for choice in choices if (files := pick(here, choice)))[0] == first
                names[first] = (
                    f"{PREFIX}{user}/{repo}" + (f":{tag}" if tag else "") if chosen else str(snapshot / first)
                )
            for first, name in names.items():
                if name not in listed:
                    size = sum((snapshot / part).stat().st_size for part in parts(first))
                    models.append(Installed(name, snapshot / first, size, "Hugging Face"))
            listed.update(names.values())
    return models


def _cached(repo: str, choices: Iterable[str | None]) -> Path | None:
    """The (first) file of the first of these quantizations that any version in the cache has; None: of any."""
    from huggingface_hub import constants

    snapshots = _snapshots(Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}")
    for choice, snapshot in product(choices, snapshots):
        if files := pick(_complete(snapshot), choice):
            return snapshot / files[0]
    return None


def _snapshots(folder: Path) -> list[Path]:
    """The cached versions of a repository: main's first, as it was seen last, then the newest first.

    The others are those of a commit or a branch that was asked for, or of a main that has moved on since.
    """
    try:
        main = os.fsdecode(read_regular(folder / "refs" / "main", _MAX_REF).strip())
    except OSError:
        main = ""
    try:
        versions = {entry: entry.stat().st_mtime_ns for entry in os.scandir(folder / "snapshots") if entry.is_dir()}
    except OSError:
        return []
    ranked = sorted(versions, key=lambda entry: (entry.name != main, -versions[entry], entry.name))
    return [Path(entry.path) for entry in ranked]


def _complete(snapshot: Path) -> list[str]:
    """The cached models' files, without those of split models that lack a part."""
    here = []
    for file in snapshot.rglob("*.gguf"):
        if os.path.isfile(file):
            here.append(file.relative_to(snapshot).as_posix())
        elif os.path.islink(file):
            _log.info("%s: passed over, a link to a file that is not there", printable(str(file)))
    return complete(here)
