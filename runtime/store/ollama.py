"""Models in Ollama's store, `ollama:NAME[:TAG]`: its manifests name blobs, of which the model's is a GGUF file.

The store's layout: https://github.com/ollama/ollama, `manifest` and `types/model`. It is read in place.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from subbyte.errors import ModelNotFound
from subbyte.runtime.files import UnfitFile, read_regular
from subbyte.runtime.store.found import Installed
from subbyte.runtime.text import did_you_mean, printable

PREFIX = "ollama:"
_SYSTEM = Path("/usr/share/ollama/.ollama/models")  # of the service that its installer sets up
_MANIFESTS = ("manifests", "manifests-v2", "manifest-v2")
_HOSTS = ("registry.ollama.ai", "ollama.com")  # which names leave out
_MODEL = "application/vnd.ollama.image.model"
_MAX_MANIFEST = 1 << 20
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_log = logging.getLogger(__name__)


def stores() -> list[Path]:
    """The folders where Ollama keeps models, those that are there."""
    chosen = os.environ.get("OLLAMA_MODELS")
    folders = [Path(chosen)] if chosen else []
    folders += [Path(os.path.expanduser("~/.ollama/models")), _SYSTEM]
    return [folder for folder in dict.fromkeys(folders) if _is_folder(folder)]


def installed_ollama() -> list[Installed]:
    """The models of all stores; of those with one name the first."""
    found: dict[str, Installed] = {}
    for store in stores():
        for name, manifest in _manifests(store):
            if name not in found and (model := _model(store, manifest)):
                found[name] = Installed(PREFIX + name, *model, "Ollama")
    return sorted(found.values(), key=lambda model: model.name)


def resolve_ollama(name: str) -> Path:
    """The blob of `ollama:NAME[:TAG]`, with the tag "latest" where none is given; raises ModelNotFound."""
    wanted = name.removeprefix(PREFIX)
    if ":" not in wanted:
        wanted += ":latest"
    models = installed_ollama()
    known = {model.name.removeprefix(PREFIX): model.path for model in models}
    if wanted in known:
        return known[wanted]
    where = ", ".join(printable(str(store)) for store in stores()) or "~/.ollama/models (which is not there)"
    meant = did_you_mean(name.removeprefix(PREFIX), known)
    raise ModelNotFound(f"Ollama has no {wanted!r:.100}{meant} in {where}; `subbyte ls` shows what it has")


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def _manifests(store: Path) -> Iterator[tuple[str, Path]]:
    """The models' names and manifests: HOST/NAMESPACE/MODEL/TAG, of which names leave out what is Ollama's own."""
    for folder in _MANIFESTS:
        for host in _entries(store / folder):
            for space in _entries(host):
                for model in _entries(space):
                    for tag in _entries(model):
                        path = [model.name]
                        if host.name not in _HOSTS:
                            path = [host.name, space.name, model.name]
                        elif space.name != "library":
                            path = [space.name, model.name]
                        yield f"{'/'.join(path)}:{tag.name}", tag


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # a file, or one that may not be read
        return []


def _model(store: Path, manifest: Path) -> tuple[Path, int] | None:
    """The model's blob with its bytes; None, said in the log, where the manifest leads to none."""
    try:
        layers = _layers(json.loads(read_regular(manifest, _MAX_MANIFEST)))
    except (OSError, UnfitFile, ValueError, RecursionError) as error:
        _log.info("%s: passed over, not a manifest: %s", printable(str(manifest)), error)
        return None
    for digest in layers:
        for blob in (store / "blobs" / f"sha256-{digest}", store / "blobs" / f"sha256:{digest}"):
            try:
                return blob, blob.stat().st_size
            except OSError:
                continue
    _log.info("%s: passed over, there is no model of it in blobs/", printable(str(manifest)))
    return None


def _layers(manifest: Any) -> list[str]:
    """The digests of its layers that are models; ValueError for what is no manifest."""
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list):
        raise ValueError("it has no list of layers")
    models = [layer for layer in layers if isinstance(layer, dict) and layer.get("mediaType") == _MODEL]
    digests = [_DIGEST.fullmatch(str(layer.get("digest"))) for layer in models]
    return [match[1] for match in digests if match]
