"""Code in an answer, coloured by its language where that is a common one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

LANGUAGES = {
    *("bash", "c", "c++", "cpp", "css", "diff", "go", "html", "ini", "java", "javascript", "js", "json", "kotlin"),
    *("lua", "php", "py", "python", "ruby", "rust", "sh", "shell", "sql", "swift", "toml", "ts", "typescript", "xml"),
    *("yaml", "yml"),
}
"""Those whose lexers are trusted with text of a model; by the names that stand behind a fence."""

MAX_COLOURED = 4096  # characters, before those of the last lines; a lexer sees no more
MAX_LINE = 500  # characters of a line, beyond which none of the code is coloured
_STYLES = {
    "Keyword": "blue",
    "Name.Builtin": "cyan",
    "Name.Function": "cyan",
    "Name.Class": "cyan",
    "Name.Tag": "blue",
    "Literal.String": "green",
    "Literal.Number": "magenta",
    "Comment": "bright_black",
    "Generic.Deleted": "red",
    "Generic.Inserted": "green",
}


def code_lines(code: str, info: str) -> list[Text]:
    """The lines of a code block, nothing added to them. info: what stands behind the fence."""
    from rich.text import Text

    lines = [Text(line) for line in code.split("\n")]
    language = language_of(info).lower()
    if language not in LANGUAGES or max(map(len, lines)) > MAX_LINE:
        return lines
    n, size = len(lines), 0  # lines from the n-th on are coloured
    while n and size <= MAX_COLOURED:
        n -= 1
        size += len(lines[n]) + 1
    return [*lines[:n], *_coloured("\n".join(line.plain for line in lines[n:]), language)]


def language_of(info: str) -> str:
    """The language that what stands behind a fence begins with; "" for none."""
    found = re.match(r"[\w+#-]*", info.strip())
    return found[0] if found else ""


def _coloured(code: str, language: str) -> list[Text]:
    from pygments.lexers import get_lexer_by_name
    from rich.text import Text

    text = Text()
    for kind, part in get_lexer_by_name(language, stripnl=False, ensurenl=False).get_tokens(code):
        name = str(kind).removeprefix("Token.")
        style = next((style for prefix, style in _STYLES.items() if name.startswith(prefix)), "")
        text.append(part, style)
    lines = list(text.split("\n", allow_blank=True))
    return lines if [line.plain for line in lines] == code.split("\n") else [Text(line) for line in code.split("\n")]
