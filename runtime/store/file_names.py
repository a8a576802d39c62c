"""What the names of GGUF files tell: the quantization, and which files are shards of one model."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_SPLIT = re.compile(r"-([0-9]{5})-of-(?!00000)([0-9]{5})$")
_QUANT = r"(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4\w*|BF16|F16|F32)"
_TAG = re.compile(rf"(?<![A-Z0-9])(?:UD-)?{_QUANT}(?:-{_QUANT})*(?![A-Z0-9])", re.IGNORECASE)

DEFAULT_QUANTS = ("Q4_K_M", "Q8_0")
"""What llama.cpp takes of a repository when no quantization is named; then the first file."""


def quant_tag(name: str) -> str | None:
    """The quantization that a file's name tells, else its folder's, upper case: "Q4_K_M", "UD-IQ2_M", "BF16-Q8_0"."""
    for part in (stem(name), *(folder.name for folder in PurePosixPath(name).parents)):
        if tags := _TAG.findall(part):
            return str(tags[-1]).upper()
    return None


def pick(names: Iterable[str], quant: str | None) -> list[str]:
    """The files of the model of that quantization (None: of the first model), with all parts; [] if there is none.

    Parts that are not among `names` are in the answer, too: one of them is enough.
    """
    fitting = {parts(name)[0] for name in names if not quant or quant_tag(name) == quant.upper()}
    # Of two that fit, the plainer: model-Q8_0.gguf rather than model-draft-Q8_0.gguf.
    best = min(fitting, key=lambda name: (len(name) if quant else 0, name), default=None)
    return parts(best) if best else []


def stem(name: str) -> str:
    """A file's name without folder, suffix and number of the shard."""
    return _SPLIT.sub("", PurePosixPath(name).stem)


def parts(name: str) -> list[str]:
    """All parts of the split model that a file belongs to, or just the file."""
    before = name.removesuffix(".gguf")
    split = _SPLIT.search(before)
    if not split:
        return [name]
    base, count = before[: split.start()], split[2]
    return [f"{base}-{i:05}-of-{count}.gguf" for i in range(1, int(count) + 1)]


def models(names: Iterable[str]) -> list[str]:
    """The files that hold language models, and no paths out of the folder."""
    return [
        name
        for name in names
        if name.endswith(".gguf")
        and not any(word in PurePosixPath(name).name.lower() for word in ("mmproj", "imatrix"))
        and not name.startswith("/")
        and ".." not in PurePosixPath(name).parts
    ]


def complete(names: Iterable[str]) -> list[str]:
    """The models' files among those that are here, without those of split models that lack a part."""
    here = set(names)
    return [name for name in models(sorted(here)) if _count(name) <= len(here) and here.issuperset(parts(name))]


def _count(name: str) -> int:
    """How many parts a file's name speaks of, before so many names are made of it."""
    split = _SPLIT.search(name.removesuffix(".gguf"))
    return int(split[2]) if split else 1
