"""The blocks of a Markdown text that is still coming: paragraphs, headings, list items, code, tables, quotes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from subbyte.cli.screen.inline import closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_CODE = ("fence", "code_block")


class Block(NamedTuple):
    """A block: its tokens, the line of the source it begins in, whether an empty line goes before it."""

    tokens: list[Token]
    line: int
    spaced: bool


def blocks_of(source: str, *, whole: bool) -> list[Block]:
    """The blocks of a source; an item of a list is one, too. whole: nothing more comes behind it."""
    blocks = _split(source)
    if whole or not blocks:
        return blocks
    last = blocks[-1]
    lines = source.split("\n")
    if any(token.type in _CODE and (token.map or [0, 0])[1] >= len(lines) - 1 for token in last.tokens):
        return blocks
    tokens = [token for block in _split(closed("\n".join(lines[last.line :]))) for token in block.tokens]
    return [*blocks[:-1], last._replace(tokens=tokens or last.tokens)]


def _split(source: str) -> list[Block]:
    lines = source.split("\n")
    blocks: list[Block] = []
    for tokens in _items(_top_level(_parser().parse(source))):
        line = (tokens[0].map or [0])[0]
        in_list = bool(blocks) and tokens[0].type == blocks[-1].tokens[0].type == "list_item_open"
        spaced = not in_list or not lines[line - 1].strip() or ends_in_code(blocks[-1].tokens)
        blocks.append(Block(tokens, line, spaced))
    return blocks


def ends_in_code(tokens: Sequence[Token]) -> bool:
    """Whether the last thing is code, which is told from what follows by an empty row alone."""
    return next((token.type in _CODE for token in reversed(tokens) if token.nesting >= 0), False)


def _top_level(tokens: list[Token]) -> list[list[Token]]:
    groups: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        groups[-1].append(token)
        depth += token.nesting
        if depth == 0:
            groups.append([])
    return groups[:-1]


def _items(groups: list[list[Token]]) -> list[list[Token]]:
    """The groups, with the items of lists in place of the lists."""
    items: list[list[Token]] = []
    for group in groups:
        if group[0].type in ("bullet_list_open", "ordered_list_open"):
            items += _top_level(group[1:-1])
        else:
            items.append(group)
    return items


@cache
def _parser() -> MarkdownIt:
    """CommonMark with tables, strikes and LaTeX; what would vanish stays: HTML, definitions of links."""
    from markdown_it import MarkdownIt

    from subbyte.cli.screen.dialect import teach

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable(["reference", "html_block", "html_inline"])
    teach(parser)
    return parser
