"""Folders of GGUF files that other programs keep: `lmstudio:NAME` and `llama.cpp:NAME`, read in place."""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from subbyte.errors import ModelNotFound
from subbyte.runtime.store.file_names import complete, models, parts, stem
from subbyte.runtime.store.found import Installed
from subbyte.runtime.text import did_you_mean, printable

_DEPTH = 6  # folders within folders that are looked through
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Whose folders they are, how names of models there begin, the variable that names one, and where they are else."""

    owner: str
    prefix: str
    variable: str | None
    usual: tuple[str, ...]

    def folders(self) -> list[Path]:
        """Those that are there."""
        chosen = os.environ.get(self.variable) if self.variable else None
        paths = (chosen,) if chosen else map(os.path.expandvars, self.usual)
        return [Path(path) for path in dict.fromkeys(map(os.path.expanduser, paths)) if os.path.isdir(path)]

    def installed(self) -> list[Installed]:
        """The models by the shortest name that means one: the file's, or the path within the folder."""
        found = list(self._files())
        short = [stem(name) for name, *_ in found]
        return sorted(
            (
                Installed(self.prefix + (one if short.count(one) == 1 else _long(name)), path, size, self.owner)
                for one, (name, path, size) in zip(short, found, strict=True)
            ),
            key=lambda model: model.name,
        )

    def resolve(self, name: str) -> Path:
        """The (first) file of a model by its name, or by its path within the folder; raises ModelNotFound."""
        wanted = name.removeprefix(self.prefix).removesuffix(".gguf")
        here = self.installed()
        for model in here:
            if wanted == model.name.removeprefix(self.prefix):
                return model.path
        for long, path, _ in self._files():
            if wanted in (_long(long), long.removesuffix(".gguf")):
                return path
        known = [model.name.removeprefix(self.prefix) for model in here]
        where = (
            ", ".join(printable(str(folder)) for folder in self.folders()) or f"{self.usual[-1]} (which is not there)"
        )
        raise ModelNotFound(
            f"{self.owner} has no {wanted!r:.100}{did_you_mean(wanted, known)} in {where}; "
            "`subbyte ls` shows what it has"
        )

    def _files(self) -> Iterator[tuple[str, Path, int]]:
        """Path within its folder, whole path, and bytes of each model with all of its parts."""
        for folder in self.folders():
            sizes = dict(_gguf_files(folder))
            whole = complete(sizes)
            for name in models(sorted(sizes.keys() - set(whole))):
                _log.info("%s: passed over: other parts of the model are missing", printable(str(folder / name)))
            for name in whole:
                if parts(name)[0] == name:
                    yield name, folder / name, sum(sizes[part] for part in parts(name))


LM_STUDIO = Place("LM Studio", "lmstudio:", None, ("~/.lmstudio/models", "~/.cache/lm-studio/models"))
LLAMA_CPP = Place("llama.cpp", "llama.cpp:", "LLAMA_CACHE", ("$XDG_CACHE_HOME/llama.cpp", "~/.cache/llama.cpp"))
PLACES = (LM_STUDIO, LLAMA_CPP)


def _long(name: str) -> str:
    """The path within the folder, without what `stem` leaves out."""
    folder = os.path.dirname(name)
    return f"{folder}/{stem(name)}" if folder else stem(name)


def _gguf_files(folder: Path) -> Iterable[tuple[str, int]]:
    """Paths below the folder and bytes of the GGUF files; of links those to files are followed."""
    for where, inner, names in os.walk(folder, onerror=_tell):
        relative = os.path.relpath(where, folder)
        if relative.count(os.sep) >= _DEPTH - 1:
            inner.clear()
        for name in names:
            if not name.endswith(".gguf"):
                continue
            path = os.path.join(where, name)
            try:
                yield name if relative == os.curdir else os.path.join(relative, name), os.stat(path).st_size
            except OSError as error:
                _tell(error)


def _tell(error: OSError) -> None:
    _log.info("%s: passed over: %s", printable(str(error.filename)), error.strerror)
