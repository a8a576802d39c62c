"""What models write and CommonMark would lose: LaTeX, whose signs are no marks, and cells beyond a table's columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_it.token import Token

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

MATHS = re.compile(
    r"\$\$[^$]+\$\$|\\\(.{1,1000}?\\\)|\\\[.{1,1000}?\\\]|"
    r"(?<![\\$])\$(?![\s$])(?:[^$`\\\n]|\\.)*?(?<!\s)\$(?!\d)",
    re.DOTALL,
)
"""A formula within a line. As Pandoc has it, no space is behind the first dollar nor before the last, and no digit
behind that: the others are money."""

CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_BRACKETS = "()[]{},;:!"  # behind a backslash they are LaTeX, whose backslash is to be seen
_DISPLAYED = re.compile(r"\$\$|\\\[|\\begin\{(\w+\*?)\}")


def teach(parser: MarkdownIt) -> None:
    """Has a parser keep all of it."""
    parser.block.ruler.before("fence", "maths", _displayed, {"alt": ["paragraph", "blockquote", "list"]})
    parser.inline.ruler.before("escape", "maths", _inline)
    parser.core.ruler.after("block", "cells", _whole_rows)


def _displayed(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: lines of LaTeX are no list, heading or table. An empty line ends what was none."""
    start = state.bMarks[first] + state.tShift[first]
    opening = _DISPLAYED.match(state.src, start, state.eMarks[first])
    if opening is None or state.is_code_block(first):
        return False
    closing = {"$$": "$$", "\\[": "\\]"}.get(opening[0], f"\\end{{{opening[1]}}}")
    at, line = opening.end(), first
    while line < end and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        if closing in (text := state.src[at : state.eMarks[line]]):
            if not text.rstrip().endswith(closing):
                return False  # goes on as text
            line += 1
            break
        line += 1
        at = state.bMarks[line] if line < end else at
    else:
        if line < end:
            return False
    if not silent:
        state.push("paragraph_open", "p", 1).map = [first, line]
        lines = (state.src[state.bMarks[i] + state.tShift[i] : state.eMarks[i]].rstrip() for i in range(first, line))
        state.push("inline", "", 0).children = [Token("text", "", 0, content="\n".join(lines))]
        state.push("paragraph_close", "p", -1)
        state.line = line
    return True


def _inline(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: a formula is text, and so is the backslash of one that is not whole."""
    found = MATHS.match(state.src, state.pos)
    end = state.pos if found is None else found.end()
    if found is None and state.src[state.pos] == "\\" and state.src[state.pos + 1 : state.pos + 2] in tuple(_BRACKETS):
        end = state.pos + 1
    if not silent:
        state.pending += state.src[state.pos : end]
    is_maths, state.pos = end > state.pos, end
    return is_maths


def _whole_rows(state: StateCore) -> None:
    """A rule of markdown-it: the cells that a row has too many stand in its last; a | within code is part of that."""
    lines = state.src.split("\n")
    cells: list[Token] = []
    row = 0
    for i, token in enumerate(state.tokens):
        if token.type == "tr_open":
            cells, row = [], (token.map or [0])[0]
        elif token.type == "td_open":
            cells.append(state.tokens[i + 1])
        elif token.type == "tr_close" and cells:
            for cell, content in zip(cells, _cells(lines[row], len(cells)), strict=False):
                cell.content = content


def _cells(line: str, n: int) -> list[str]:
    """The cells of a row of a table with n columns, if it has more; else nothing."""
    from markdown_it.rules_block.table import escapedSplit

    line = line.lstrip("> \t").rstrip().removeprefix("|")
    line = line if line.endswith("\\|") else line.removesuffix("|")
    if len(escapedSplit(line)) <= n:
        return []
    cells = escapedSplit(CODE_SPAN.sub(lambda code: re.sub(r"(?<!\\)\|", r"\\|", code[0]), line))
    return [cell.strip() for cell in [*cells[: n - 1], " | ".join(map(str.strip, cells[n - 1 :]))]]
