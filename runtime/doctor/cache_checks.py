"""Checks of the folders that hold models: how much is there, how much room is left, and what kind of disk it is."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from subbyte.runtime.doctor.check import Check, size
from subbyte.runtime.store.folders import PLACES
from subbyte.runtime.store.ollama import stores
from subbyte.runtime.store.resolve import cache_folder, installed
from subbyte.runtime.text import printable

_REMOTE = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|fuse\.(?!overlayfs|fuseblk).+")


def cache_checks(mounts: Path = Path("/proc/self/mountinfo")) -> Iterator[Check]:
    """A check of each folder that is there, and of subbyte's own and the hub's in any case."""
    from huggingface_hub import constants

    folders = {"subbyte": [cache_folder()], "Hugging Face": [Path(constants.HF_HUB_CACHE)], "Ollama": stores()}
    folders |= {place.owner: place.folders() for place in PLACES}
    models = installed()
    kinds = list(_mounts(mounts))
    for owner, paths in folders.items():
        for path in paths:
            here = [model for model in models if model.place == owner and model.path.is_relative_to(path)]
            yield _check(owner, path, len(here), sum(model.size for model in here), kinds)


def _check(owner: str, path: Path, n: int, n_bytes: int, kinds: list[tuple[Path, str]]) -> Check:
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free, kind = shutil.disk_usage(there).free, _kind(there, kinds)
    text = f"{printable(str(path))}: {n} model{'' if n == 1 else 's'}, {size(n_bytes)}; {size(free)} free on {kind}"
    advice = None
    if _REMOTE.fullmatch(kind):
        advice = (
            "a network disk: models load at its speed, and what does not fit memory is read from it again and again"
        )
    facts = {"path": str(path), "models": n, "bytes": n_bytes, "free": free, "filesystem": kind}
    return Check(f"models {owner}", text, advice, facts)


def _kind(path: Path, kinds: list[tuple[Path, str]]) -> str:
    """The type of the file system that holds a path."""
    real = Path(os.path.realpath(path))
    of = [(len(place.parts), i, kind) for i, (place, kind) in enumerate(kinds) if real.is_relative_to(place)]
    return max(of)[2] if of else "an unknown file system"


def _mounts(table: Path) -> Iterator[tuple[Path, str]]:
    """Where file systems are mounted, and their types; https://docs.kernel.org/filesystems/proc.html, 3.5."""
    try:
        lines = table.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        before, _, behind = line.partition(" - ")
        if len(before.split()) > 4 and behind:
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split()[4])
            yield Path(place), behind.split()[0]
