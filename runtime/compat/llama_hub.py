"""Files of the Hugging Face hub by their names or patterns, as llama-cpp-python's `from_pretrained` takes them."""

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from subbyte.errors import ModelNotFound
from subbyte.runtime.store.resolve import resolve
from subbyte.runtime.text import quoted


def pretrained_path(
    repo_id: str, filename: str | None, additional_files: Sequence[str], local_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
) -> str:  # fmt: skip
    """The path of a repository's file, fetched with all shards of it and with other files; None: what the store takes.

    Raises ModelNotFound where none or several files match a pattern.
    """
    if filename is None:
        return str(resolve(f"hf:{repo_id}"))
    from huggingface_hub import HfApi, hf_hub_download

    files = HfApi().list_repo_files(repo_id)
    first, *others = (_only(files, pattern, repo_id) for pattern in (filename, *additional_files))
    shards = fnmatch(first, "*-00001-of-*.gguf")
    same = first.replace("-00001-of-", "-?????-of-")
    wanted = [first, *(file for file in files if shards and file != first and fnmatch(file, same)), *others]
    local, cache = (None if folder is None else Path(folder) for folder in (local_dir, cache_dir))
    paths = [hf_hub_download(repo_id, file, local_dir=local, cache_dir=cache) for file in dict.fromkeys(wanted)]
    return str(paths[0])


def _only(files: Sequence[str], pattern: str, repo_id: str) -> str:
    """The file that a pattern means: of shards the first one."""
    found = [file for file in files if fnmatch(file, pattern)]
    firsts = [file for file in found if not fnmatch(file, "*-?????-of-?????.gguf") or "-00001-of-" in file]
    if len(firsts) != 1:
        known = ", ".join(quoted(file) for file in (firsts or files)[:8])
        which = f"{len(firsts)} files of {quoted(repo_id)} match" if firsts else f"no file of {quoted(repo_id)} matches"
        raise ModelNotFound(f"{which} {quoted(pattern)}; there are {known}")
    return firsts[0]
