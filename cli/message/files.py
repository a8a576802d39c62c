"""Texts of files for a message: read within bounds, named, and fenced, so that the model sees where each one ends."""

import os
import re
import stat
from dataclasses import dataclass

from subbyte.cli.terminal.console import read_bytes
from subbyte.errors import ResourceError
from subbyte.runtime.files import similar_files
from subbyte.runtime.text import printable

MAX_FILE = 1 << 20  # bytes; more than any context here holds
_BACKTICKS = re.compile(r"`{3,}")


@dataclass(frozen=True)
class TextFile:
    """A text and the name it goes by."""

    name: str
    text: str

    def fenced(self) -> str:
        """The name, and the text between fences longer than any within."""
        fence = "`" * (max([2, *map(len, _BACKTICKS.findall(self.text))]) + 1)
        end = "" if not self.text or self.text.endswith("\n") else "\n"
        return f"{self.name}:\n{fence}\n{self.text}{end}{fence}"


def read_file(name: str) -> TextFile:
    """The text of a file. Raises ResourceError, with what is wrong in one line, for what is none."""
    path = os.path.expanduser(name)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a null byte
        missing = isinstance(error, FileNotFoundError)
        reason = "no such file" if missing else getattr(error, "strerror", None) or "no name of a file"
        raise ResourceError(f"{printable(name)}: {reason}{similar_files(name) if missing else ''}") from None
    if not stat.S_ISREG(mode):
        raise ResourceError(f"{printable(name)}: {'a folder' if stat.S_ISDIR(mode) else 'no file'}; give files of text")
    data = read_bytes(path, MAX_FILE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ResourceError(f"{printable(name)}: not a text in UTF-8, so it is not read")
    return TextFile(name, text.replace("\r\n", "\n"))


def with_files(files: "list[TextFile]", text: str) -> str:
    """A message behind the texts that belong to it."""
    return "\n\n".join([*(file.fenced() for file in files), *([text] if text else [])])
