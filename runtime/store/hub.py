"""Models of the Hugging Face hub, `hf:user/repo[:QUANT]`, kept and shared in the hub's own cache."""

import os
import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from subbyte.errors import ModelNotFound, ResourceError
from subbyte.runtime.files import read_regular
from subbyte.runtime.text import did_you_mean
from subbyte.runtime.types import Progress

_MAX_REF = 1 << 12  # bytes of a file that holds a commit's name
_NAME = re.compile(r"hf:(?P<user>[\w.-]+)/(?P<repo>[\w.-]+)(?::(?P<quant>[\w.-]+))?")
_SPLIT = re.compile(r"-([0-9]{5})-of-(?!00000)([0-9]{5})$")
_QUANT = r"(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4\w*|BF16|F16|F32)"
_TAG = re.compile(rf"(?<![A-Z0-9])(?:UD-)?{_QUANT}(?:-{_QUANT})*(?![A-Z0-9])", re.IGNORECASE)

DEFAULT_QUANTS = ("Q4_K_M", "Q8_0")
"""What llama.cpp takes of a repository when no quantization is named; then the first file."""


def resolve_hub(name: str, on_progress: Progress | None = None, offline: bool = False) -> Path:
    """The (first) file of a model of the hub, from its cache or fetched; raises as `store.resolve`."""
    match = _NAME.fullmatch(name)
    if not match:
        raise ModelNotFound(
            f"{name!r} is not of the form hf:user/repo[:QUANT], as in hf:ggml-org/gemma-3-1b-it-GGUF:Q8_0"
        )
    repo, quant = f"{match['user']}/{match['repo']}", match["quant"]
    from huggingface_hub import constants

    offline = offline or bool(constants.HF_HUB_OFFLINE)
    snapshots = _snapshots(Path(constants.HF_HUB_CACHE) / f"models--{match['user']}--{match['repo']}")
    # Which file the default is can depend on files that are not here, unless the first choice is.
    wanted = [quant or DEFAULT_QUANTS[0]] if not offline else [quant] if quant else [*DEFAULT_QUANTS, None]
    for choice, snapshot in product(wanted, snapshots):
        if files := pick(_complete(snapshot), choice):
            return snapshot / files[0]
    if offline:
        where = constants.HF_HUB_CACHE
        raise ModelNotFound(f"{name} is not in the cache {where}, and fetching it was ruled out (offline)")
    return _fetch(repo, quant, on_progress)


def installed_hub() -> list[tuple[str, Path, int]]:
    """Name, (first) file and bytes of each GGUF model in the hub's cache."""
    from huggingface_hub import constants

    models = []
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        _, user, repo = folder.name.split("--", 2)
        listed: set[str] = set()  # of versions before, whose files are taken for that name
        for snapshot in _snapshots(folder):
            here = [first for first in _complete(snapshot) if _parts(first)[0] == first]
            names = {first: f"hf:{user}/{repo}" + (f":{tag}" if (tag := quant_tag(first)) else "") for first in here}
            for first, name in names.items():
                if name not in listed:
                    size = sum((snapshot / part).stat().st_size for part in _parts(first))
                    models.append((name, snapshot / first, size))
            listed.update(names.values())
    return models


def quant_tag(name: str) -> str | None:
    """The quantization that a file's name tells, else its folder's, upper case: "Q4_K_M", "UD-IQ2_M", "BF16-Q8_0"."""
    for part in (_stem(name), *(folder.name for folder in PurePosixPath(name).parents)):
        if tags := _TAG.findall(part):
            return str(tags[-1]).upper()
    return None


def pick(names: Iterable[str], quant: str | None) -> list[str]:
    """The files of the model of that quantization (None: of the first model), with all parts; [] if there is none.

    Parts that are not among `names` are in the answer, too: one of them is enough.
    """
    fitting = {_parts(name)[0] for name in names if not quant or quant_tag(name) == quant.upper()}
    # Of two that fit, the plainer: model-Q8_0.gguf rather than model-draft-Q8_0.gguf.
    best = min(fitting, key=lambda name: (len(name) if quant else 0, name), default=None)
    return _parts(best) if best else []


def _stem(name: str) -> str:
    return _SPLIT.sub("", PurePosixPath(name).stem)


def _parts(name: str) -> list[str]:
    """All parts of the split model that a file belongs to, or just the file."""
    stem = name.removesuffix(".gguf")
    split = _SPLIT.search(stem)
    if not split:
        return [name]
    base, count = stem[: split.start()], split[2]
    return [f"{base}-{i:05}-of-{count}.gguf" for i in range(1, int(count) + 1)]


def _models(names: Iterable[str]) -> list[str]:
    """The files that hold language models, and no paths out of the folder."""
    return [
        name
        for name in names
        if name.endswith(".gguf")
        and not any(word in PurePosixPath(name).name.lower() for word in ("mmproj", "imatrix"))
        and not name.startswith("/")
        and ".." not in PurePosixPath(name).parts
    ]


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
    here = {file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*.gguf") if os.path.isfile(file)}
    return [name for name in _models(here) if here.issuperset(_parts(name))]


def _fetch(repo: str, quant: str | None, on_progress: Progress | None) -> Path:
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        listed = HfApi().model_info(repo, files_metadata=True).siblings or []
        sizes = {file.rfilename: file.size or 0 for file in listed}
        files = _choose(repo, sizes, quant)
        counter = _byte_counter(sum(sizes[file] for file in files), on_progress)
        paths = [hf_hub_download(repo, file, tqdm_class=counter) for file in files]
        return Path(paths[0])
    except ModelNotFound:
        raise
    except GatedRepoError as error:
        raise ResourceError(
            f"{repo} wants its terms accepted at {constants.ENDPOINT}/{repo}, and then HF_TOKEN set"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(f"no repository {repo} at {constants.ENDPOINT} (or a private one: set HF_TOKEN)") from error
    except Exception as error:  # which errors a broken network or a full disk give depends on the library's version
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ResourceError(f"can't fetch {repo} from {constants.ENDPOINT}: {reason}") from error


def _choose(repo: str, names: Iterable[str], quant: str | None) -> list[str]:
    present = set(names)
    models = _models(present)
    for choice in [quant] if quant else [*DEFAULT_QUANTS, None]:
        files = pick(models, choice)
        missing = next((file for file in files if file not in present), None)
        if missing:
            raise ModelNotFound(f"{repo} lacks {missing}, one of {len(files)} parts: look for another repository")
        if files:
            return files
    if not models:
        raise ModelNotFound(f"{repo} holds no GGUF model; look for a repository whose name ends in GGUF")
    tags = sorted({tag for name in models if (tag := quant_tag(name))})
    raise ModelNotFound(
        f"{repo} has no {quant}{did_you_mean(quant or '', tags)}; it has {', '.join(tags) or ', '.join(sorted(models))}"
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
