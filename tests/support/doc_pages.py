"""The pages for people, and what can be checked in them: code blocks, commands, options, paths and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from paths import ROOT

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [*TOP, *sorted((ROOT / "docs").glob("*.md"))]}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n?)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


def python_blocks(text: str) -> list[str]:
    """The fenced blocks of Python, in order."""
    return [code for language, code in _BLOCK.findall(text) if language == "python"]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", text)


def inline(text: str) -> list[str]:
    """What stands between backticks within a line."""
    return _INLINE.findall(prose(text))


def shell_lines(text: str) -> Iterator[str]:
    """Commands: what follows `$ ` in fenced blocks, and the lines of indented ones; continued lines are joined."""
    for _, block in _BLOCK.findall(text):
        yield from (line[2:] for line in joined(block) if line.startswith("$ "))
    for block in _INDENTED.findall(prose(text)):
        yield from (line.strip().removeprefix("$ ") for line in joined(block))


def joined(block: str) -> list[str]:
    """Lines, those that end with a pipe or a backslash together with the next one."""
    return re.sub(r"(\||\\)\n\s*", r"\1 ", block).replace("\\ ", " ").splitlines()


def subbyte_commands(text: str) -> Iterator[str]:
    """The arguments of each `subbyte …` that a page shows, in blocks and in text."""
    for line in [*shell_lines(text), *inline(text)]:
        for part in re.split(r" \| | && ", line.partition("  #")[0]):
            words = part.strip().split(maxsplit=1)
            if words and words[0] in ("subbyte", ".venv/bin/subbyte"):
                yield words[1] if len(words) > 1 else ""


def repository_paths(text: str) -> set[str]:
    """Paths in the repository that a page names; those with a part in capitals (models/NAME.py) stand for any."""
    folders = "tests|benchmarks|runtime|kernels|models|cli|docs|examples"
    found = re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w)", text)
    return {path for path in found if not re.search(r"(^|/)[A-Z]+(\.|/|$)", path)}


def links(text: str) -> list[tuple[str, str]]:
    """(file, anchor) of each relative link; either may be empty."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    parts = [link.partition("#") for link in found if "://" not in link]
    return [(file, anchor) for file, _, anchor in parts]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
