"""Text with Markdown's marks within a line: emphasis, code, links; also where a mark is not closed yet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from subbyte.cli.screen.dialect import CODE_SPAN, MATHS
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markdown_it.token import Token
    from rich.text import Text

_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_CODE, _LINK, _ADDRESS = "cyan", "underline", "dim"
_UNFINISHED_LINK = re.compile(r"\[([^\[\]\n]*)\]\([^()\s]*\Z")
_OPENS, _CLOSES = re.compile(r"(?<![\w*])\*(?=[^\s*])"), re.compile(r"(?<=[^\s*])\*")
MAX_OPEN = 2000  # characters of a paragraph whose marks are closed before their end has come


def styled_line(tokens: Iterable[Token]) -> Text:
    """The text of an inline token's children; the address of a link stands behind its text, where it can be read."""
    from rich.text import Text

    text = Text()
    styles: list[str] = []
    links: list[tuple[int, str]] = []  # that are open: where each begins, and its address
    for token in tokens:
        name, _, part = token.type.rpartition("_")
        if token.type in ("softbreak", "hardbreak"):
            text.append("\n")
        elif token.type == "code_inline":
            text.append(spelt_out(token.content), " ".join([*styles, _CODE]))
        elif token.type == "image":
            text.append(f"{spelt_out(token.content)} ({spelt_out(str(token.attrs.get('src', '')))})", _ADDRESS)
        elif part == "open":
            styles.append(_LINK if name == "link" else _STYLES.get(name, ""))
            if name == "link":
                links.append((len(text), spelt_out(str(token.attrs.get("href", "")))))
        elif part == "close":
            styles.pop()
            if name == "link":
                start, address = links.pop()
                if address not in (shown := text.plain[start:]) and address != f"mailto:{shown}":
                    text.append(f" ({address})", _ADDRESS)
        else:
            text.append(spelt_out(token.content), " ".join(styles))
    return text


def closed(source: str) -> str:
    """The source of a block that is not whole yet, with the marks closed that are open at its end.

    What is in bold then is so from its first word on, and does not change when the closing mark comes.
    """
    last = source.rpartition("\n\n")[2]
    if len(last) > MAX_OPEN:
        return source
    source, last = _UNFINISHED_LINK.sub(r"\1", source), _UNFINISHED_LINK.sub(r"\1", last)
    plain = MATHS.sub("", CODE_SPAN.sub("", last))
    if "`" in plain:
        return source if last.endswith("`") else f"{source}`"
    tail = source.rstrip()
    for mark in ("**", "~~"):
        if plain.count(mark) % 2:
            return tail.removesuffix(mark) if tail.endswith(mark) else tail + mark
    single = plain.replace("**", "")
    if len(_OPENS.findall(single)) > len(_CLOSES.findall(single)):
        return f"{tail}*"
    return tail[:-1] if single.endswith("*") else source
