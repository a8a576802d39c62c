"""Words wrapped while they come: one that does not fit goes to the next line as a whole."""

import re

from subbyte.cli.terminal.columns import cells

MIN_COLUMNS = 8  # in fewer, the terminal wraps
FENCES = ("```", "~~~")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # of ours, in a text that has some: they take no columns
_PARTS = re.compile(r"\n|[ \t]+|[^ \t\n]+")


class WordWrap:
    """What to write for each piece of a text, so that no word is cut at a terminal's edge.

    A word is held back until it is whole, so nothing written is ever taken back: any terminal can show it. Lines of
    code between fences are left to the terminal, since line breaks in them would be copied with them.
    """

    def __init__(self) -> None:
        self._word = ""  # has come, but may go on
        self._column = 0
        self._line = ""  # of the text, as far as it has come
        self._in_code = False

    def feed(self, text: str, width: int) -> str:
        """What can be written now, in a terminal of `width` columns; 0: no line is wrapped."""
        parts = _PARTS.findall(self._word + text)
        self._word = parts.pop() if parts and not parts[-1].isspace() else ""
        return "".join(self._part(part, width) for part in parts)

    def end(self, width: int) -> str:
        """What was held back; what comes next is another text."""
        held = self._part(self._word, width) if self._word else ""
        self.__init__()  # type: ignore[misc]
        return held

    def _part(self, part: str, width: int) -> str:
        if part == "\n":
            self._in_code ^= self._is_fence
            self._line, self._column = "", 0
            return part
        plain = _COLOURS.sub("", part)
        self._line += plain
        room, wide = width - 1 - self._column, cells(plain)
        wraps = width >= MIN_COLUMNS and not self._in_code and not self._is_fence
        if wraps and wide > room and self._column and not part.isspace():
            self._column = wide
            return "\n" + part
        self._column += wide
        return part

    @property
    def _is_fence(self) -> bool:
        return self._line.lstrip().startswith(FENCES)
