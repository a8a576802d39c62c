"""Finding stop strings in a text that comes in pieces."""

from collections.abc import Iterable


class StopFinder:
    """Passes text on until a stop string is complete, and holds back what may be the beginning of one.

    The work per character does not depend on the length of the stop strings (Knuth, Morris and Pratt).
    """

    def __init__(self, stop: Iterable[str]) -> None:
        if isinstance(stop, str):
            raise ValueError("stop is one string, but must be a list of strings")
        self._stops = [_Stop(text) for text in dict.fromkeys(stop)]
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Text that may be shown, and whether a stop string ended it; nothing of the stop string is in it."""
        if not self._stops:
            return text, False
        self._held += text
        for end in range(len(self._held) - len(text), len(self._held)):
            character = self._held[end]
            found = max((stop.length for stop in self._stops if stop.advance(character)), default=0)
            if found:
                return self._held[: end + 1 - found], True
        keep = max(stop.matched for stop in self._stops)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown, False

    def flush(self) -> str:
        """What was held back: the text has ended, and it was no stop string."""
        held, self._held = self._held, ""
        return held


class _Stop:
    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text:
            raise ValueError(f"stop holds {text!r}, but must hold non-empty strings")
        self._text, self.length, self.matched = text, len(text), 0
        self._shorter = [0]  # for each prefix: its longest proper prefix that is also its end
        k = 0
        for character in text[1:]:
            while k and character != text[k]:
                k = self._shorter[k - 1]
            k += character == text[k]
            self._shorter.append(k)

    def advance(self, character: str) -> bool:
        """Take one more character; True if it completes the stop string."""
        k = self.matched
        while k and character != self._text[k]:
            k = self._shorter[k - 1]
        self.matched = k + (character == self._text[k])
        return self.matched == self.length
