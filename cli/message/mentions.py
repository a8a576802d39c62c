"""Files that a message names as @file."""

import os
import re

from subbyte.cli.message.files import TextFile, read_file
from subbyte.runtime.files import similar_files

_MENTION = re.compile(r"(?<!\S)@((?:\\\s|\S)+)")  # a space of a name stands behind a backslash, as in a shell
_ENDS = ".,;:!?)]}'\""  # what may stand behind a name in a sentence


def mentioned_files(message: str) -> list[TextFile]:
    """The files that a message names, in order; an @word that is no file is text.

    Raises ResourceError for a file that is no text, and ValueError for a word that is nearly the name of one: the
    message would be understood without it.
    """
    files: dict[str, TextFile] = {}
    for match in _MENTION.finditer(message):
        name = next((name for name in _names(match[1]) if os.path.exists(os.path.expanduser(name))), None)
        if name is not None:
            files.setdefault(name, read_file(name))
        elif ("." in match[1] or "/" in match[1]) and (hint := similar_files(match[1].rstrip(_ENDS))):
            raise ValueError(f"@{match[1]}: no such file{hint}")
    return list(files.values())


def _names(word: str) -> list[str]:
    """The word, then what is left of it without the marks at its end, and both without backslashes."""
    names = [word, word.rstrip(_ENDS)]
    return list(dict.fromkeys([*names, *(re.sub(r"\\(.)", r"\1", name) for name in names)]))
