"""Where models come from: a path, a built-in name, the Hugging Face hub, or another program's folder.

Built-in models are kept in the user's cache folder (or under $SUBBYTE_CACHE), those of the hub in the hub's own cache,
which other programs share; those of Ollama, LM Studio and llama.cpp are read where they are. What is here is found
without network and without importing anything heavy.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from subbyte.errors import ModelNotFound
from subbyte.runtime.files import similar_files
from subbyte.runtime.store.builtin import BUILT_IN, Recommended, fetch
from subbyte.runtime.store.found import Installed
from subbyte.runtime.text import did_you_mean, quoted
from subbyte.runtime.types import Progress

__all__ = [
    "Available", "Installed", "Recommended", "available", "cache_folder", "installed", "recommended",
    "resolve",
]  # fmt: skip


@dataclass(frozen=True)
class Available:
    """A built-in model that is not in the cache yet: its name, the bytes of its file, the licence it comes under.

    base: whether it is a base model, as `runtime.catalog.facts.read_facts` finds in its file.
    """

    name: str
    size: int
    license: str
    base: bool


def cache_folder() -> Path:
    """The folder of the built-in models; it need not exist."""
    root = os.environ.get("SUBBYTE_CACHE")
    if root is None:
        from platformdirs import user_cache_dir

        root = user_cache_dir("subbyte")
    return Path(root).absolute() / "models"


def resolve(name: str | os.PathLike[str], on_progress: Progress | None = None, offline: bool = False) -> Path:
    """The GGUF file of a path, a built-in name ("smollm2") or "hf:user/repo[:QUANT]"; fetched first if it must be.

    "user/repo[:QUANT]" means what the hub's cache has, "ollama:NAME[:TAG]", "lmstudio:NAME" and "llama.cpp:NAME" what
    those programs keep here. `on_progress(done, total)` is told about a download, in bytes. Raises ModelNotFound for
    what does not exist, or is not cached while `offline` (or HF_HUB_OFFLINE=1 is set), and ResourceError when network,
    disk or cache fail.
    """
    path = Path(name)
    if is_plain_file(path):
        return path
    text = os.fspath(name)
    if text in BUILT_IN:
        model = BUILT_IN[text]
        folder = cache_folder()
        if not model.is_cached(folder):
            if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
                raise ModelNotFound(f"{text} is not in {folder}, and fetching it was ruled out (offline); {_cached()}")
            fetch(model, folder, on_progress)
        return model.path(folder)
    if text.startswith("hf:"):
        from subbyte.runtime.store.hub import resolve_hub

        return resolve_hub(text, on_progress, offline)
    if elsewhere := _elsewhere(text):
        return elsewhere
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isdir(path)):
        return path  # no plain file: GGUF.open says what it is
    raise ModelNotFound(_unknown(text, path))


def _elsewhere(name: str) -> Path | None:
    """The file that another program's name means; None for a name of no such kind. Raises ModelNotFound."""
    from subbyte.runtime.store.folders import PLACES
    from subbyte.runtime.store.ollama import PREFIX, resolve_ollama

    if name.startswith(PREFIX):
        return resolve_ollama(name)
    for place in PLACES:
        if name.startswith(place.prefix):
            return place.resolve(name)
    if name.count("/") != 1:
        return None
    from subbyte.runtime.store.hub import cached_hub

    return cached_hub(name)


def is_plain_file(path: Path) -> bool:
    """Whether a regular file is there. Raises ModelNotFound for what can't be looked at, such as a name too long."""
    try:
        return path.is_file()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelNotFound(f"{quoted(str(path))}: {reason}; give a path or a model's name") from None


def installed() -> list[Installed]:
    """The models that `resolve` finds without network, of all places."""
    from subbyte.runtime.store.folders import PLACES
    from subbyte.runtime.store.hub import installed_hub
    from subbyte.runtime.store.ollama import installed_ollama

    folder = cache_folder()
    built_in = [
        Installed(m.name, m.path(folder), m.size, "subbyte", m.license)
        for m in BUILT_IN.values()
        if m.is_cached(folder)
    ]
    others = [model for place in PLACES for model in place.installed()]
    return [*built_in, *installed_hub(), *installed_ollama(), *others]


def available() -> list[Available]:
    """The built-in models that `resolve` would have to fetch."""
    folder = cache_folder()
    models = [model for model in BUILT_IN.values() if not model.is_cached(folder)]
    return [Available(m.name, m.size, m.license, m.base) for m in models]


def name_of(path: str | os.PathLike[str]) -> str | None:
    """The name by which `resolve` finds a cached file of a built-in model or of the hub, here and elsewhere."""
    real = os.path.realpath(path)
    return next((model.name for model in installed() if os.path.realpath(model.path) == real), None)


def recommended(model: str | os.PathLike[str]) -> Recommended:
    """How a built-in model, by its name or by the path of its file in the cache, chats best; the library's defaults for
    other models."""
    path, folder = os.path.realpath(model), cache_folder()
    for built_in in BUILT_IN.values():
        if path == os.path.realpath(built_in.path(folder)):
            return built_in.chat
    name = os.fspath(model)
    return BUILT_IN[name].chat if name in BUILT_IN and not os.path.isfile(path) else Recommended()


def _cached() -> str:
    names = [model.name for model in installed()]
    return f"cached: {', '.join(names)}" if names else "nothing is cached"


def _unknown(text: str, path: Path) -> str:
    known = f"known names: {', '.join(BUILT_IN)}, hf:user/repo[:QUANT], those of `subbyte ls`, or a .gguf file's path"
    if os.path.isdir(path):
        files = sorted(file.name for file in path.glob("*.gguf"))
        return f"{text} is a folder; give a file in it, such as {files[0]}" if files else f"{text} is a folder; {known}"
    hint = did_you_mean(text, BUILT_IN) or similar_files(path, ".gguf")
    return f"no file and no model named {text!r}{hint}; {known}"
