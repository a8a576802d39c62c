"""Text from outside (files, names, paths) made fit for a terminal: control characters escaped."""


def quoted(text: str | bytes | memoryview, limit: int = 60) -> str:
    """Text from a file in quotes, fit for a terminal: control characters escaped, long text shortened."""
    if not isinstance(text, str):
        text = bytes(text[: 4 * limit + 4]).decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= limit else text[:limit] + "…")


def printable(text: str) -> str:
    """A name or path as it is, or quoted when it holds control characters that a terminal would obey."""
    return text if text.isprintable() else repr(text)
