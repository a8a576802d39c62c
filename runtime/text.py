"""Text from outside (files, names, paths) made fit for a terminal, and names that were meant by it."""

from collections.abc import Iterable

from subbyte.errors import CONTROLS

_MIN_HALF, _MAX_MEANT = 2, 3  # letters of a name's beginning that tell it; names that are offered
_ALL_BUT_SPACES = {code: text for code, text in CONTROLS.items() if chr(code) not in "\n\t"}


def quoted(text: str | bytes | memoryview, limit: int = 60) -> str:
    """Text from a file in quotes, fit for a terminal: control characters escaped, long text shortened."""
    if not isinstance(text, str):
        text = bytes(text[: 4 * limit + 4]).decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= limit else text[:limit] + "…")


def spelt_out(text: str) -> str:
    r"""The text with control characters (escape sequences above all) made visible, as `\x1b`; lines stay lines."""
    return text.translate(_ALL_BUT_SPACES)


def one_line(text: str) -> str:
    """The text as one line without control characters."""
    return spelt_out(" ".join(text.split()))


def visible(text: str) -> str:
    r"""The text as one line whose spaces are kept; control characters, newlines too, made visible, as `\x0a`."""
    return text.translate(CONTROLS)


def printable(text: str) -> str:
    """A name or path as it is, or quoted when it holds control characters that a terminal would obey."""
    return text if text.isprintable() else repr(text)


def escaped(text: str) -> str:
    r"""The text fit for a document: as it is, or in ASCII (`\u2028`) where it holds what is no sign to be seen."""
    return text if text.isprintable() else ascii(text)[1:-1]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean IQ2_XS?)" for "iq2xs", to be put behind a wrong name; nothing where no known one is like it.

    Half of a name, from its beginning, is like it, too.
    """
    from difflib import get_close_matches

    plain: dict[str, str] = {}  # letters and digits alone, in which most errors are none
    for each in known:
        plain.setdefault("".join(filter(str.isalnum, each)).lower(), each)
    wanted = "".join(filter(str.isalnum, name[:100])).lower()
    close = [wanted] if wanted in plain else get_close_matches(wanted, plain)
    if not close and len(wanted) >= _MIN_HALF:
        close = [each for each in plain if each.startswith(wanted)][:_MAX_MEANT]
    return f" (did you mean {' or '.join(plain[each] for each in close)}?)" if close else ""
