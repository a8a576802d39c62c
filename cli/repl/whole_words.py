"""Whole words in the input line: prompt_toolkit cuts them at the terminal's edge. Imported only for a terminal."""

import re
from bisect import bisect_right
from itertools import accumulate

from prompt_toolkit.formatted_text.base import OneStyleAndTextTuple
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.layout.utils import explode_text_fragments
from prompt_toolkit.utils import get_cwidth


class WholeWords(Processor):
    """Shows spaces before a word that the edge would cut, as many as have it begin the next row.

    The text itself stays as it is. n_before: columns of the prompt in the first row of a line.
    """

    def __init__(self, n_before: int) -> None:
        self._n_before = n_before

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """A line of the input as it is shown."""
        chars = explode_text_fragments(transformation_input.fragments)
        gaps = _gaps("".join(char[1] for char in chars), transformation_input.width, self._n_before)
        shown: list[OneStyleAndTextTuple] = []
        for i, char in enumerate(chars):
            shown += [("", " ")] * gaps.get(i, 0) + [char]
        places = list(gaps)
        before = [0, *accumulate(gaps.values())]
        displayed = [place + gap for place, gap in zip(places, before[1:], strict=True)]

        def to_display(i: int) -> int:
            return i + before[bisect_right(places, i)]

        def to_source(i: int) -> int:
            n = bisect_right(displayed, i)
            return min(i - before[n], places[n] if n < len(places) else i)

        return Transformation(shown, to_display, to_source)


def _gaps(line: str, width: int, n_before: int) -> dict[int, int]:
    """How many spaces go before which characters of a line, in rows of so many columns."""
    gaps: dict[int, int] = {}
    column = begin = n_before  # of the next character, and of the first one in its row
    for part in re.finditer(r"\s+|\S+", line):
        wide = [get_cwidth(Char.display_mappings.get(char, char)) for char in part[0]]
        if begin < column < width < column + sum(wide) and sum(wide) <= width and not part[0].isspace():
            gaps[part.start()] = width - column
            column = width
        for each in wide:
            if column + each > width:
                column = begin = 0
            column += each
    return gaps
