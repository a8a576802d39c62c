"""Names of conversations: given by the user, or made from the first words."""

import re

from subbyte.runtime import arguments

_MAX_NAME = 64  # characters
_MADE_WORDS, _MADE_NAME = 6, 32  # words and characters of a name that is made
_FIRST_WORDS = 80  # characters that a list has of a conversation's first message
_FILE = re.compile(r"([^\n]{1,300}):\n(`{3,})\n(?:.*?\n)?\2\n\n(?=.)", re.DOTALL)  # before more text


def checked_name(text: str) -> str:
    """The name as it is kept. Raises ValueError for one that no command line or list could tell from something else."""
    name = " ".join(arguments.text("the name", text).split())
    taken = f"1 to {_MAX_NAME} characters with a letter among them, without / and without - at the beginning"
    if not name.isprintable() or not 0 < len(name) <= _MAX_NAME or "/" in name or name[0] == "-" or name.isdigit():
        raise ValueError(f"the name is {arguments.shown(text)}, but must be {taken}")
    return name


def made_name(text: str) -> str:
    """A name for a conversation that begins with this text: `what-is-the-capital-of-france`."""
    name = ""
    for word in re.findall(r"[^\W_]+", without_files(text)[1][:1000].lower())[:_MADE_WORDS]:
        longer = f"{name}-{word}" if name else word[:_MADE_NAME]
        if len(longer) > _MADE_NAME:
            break
        name = longer
    return f"chat-{name}".rstrip("-") if not name or name.isdigit() else name


def first_words(text: str) -> str:
    """The beginning of a text as one line."""
    line = " ".join(without_files(text)[1][: 4 * _FIRST_WORDS].split())
    return line if len(line) <= _FIRST_WORDS else line[: _FIRST_WORDS - 1] + "…"


def without_files(text: str) -> tuple[list[str], str]:
    """The names of files whose texts a message begins with, each between fences, and what is said of them."""
    names: list[str] = []
    place = 0
    while (match := _FILE.match(text, place)) is not None:
        names.append(match[1])
        place = match.end()
    return names, text[place:]
