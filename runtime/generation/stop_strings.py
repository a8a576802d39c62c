"""Stop strings, matched in streamed text."""

from collections.abc import Iterable

from subbyte.runtime import arguments


def stop_strings(stop: Iterable[str]) -> tuple[str, ...]:
    """`stop` without repetitions; ValueError if it is no list of non-empty strings."""
    return tuple(dict.fromkeys(arguments.strings("stop", stop)))


class StopStringMatcher:
    """Passes text on until a stop string is complete, and holds back what may be the beginning of one.

    The work per character does not depend on the length of the stop strings (Knuth, Morris and Pratt).
    found: the stop string that ended the text; of several that end there the longest. held: what is held back.
    """

    def __init__(self, stop: Iterable[str]) -> None:
        self._stops = [_Stop(text) for text in stop_strings(stop)]
        self.held = ""
        self.found: str | None = None

    def feed(self, text: str) -> tuple[str, bool]:
        """Text that may be shown, and whether a stop string ended it; nothing of the stop string is in it."""
        if not self._stops:
            return text, False
        self.held += text
        for end in range(len(self.held) - len(text), len(self.held)):
            character = self.held[end]
            self.found = max((stop.text for stop in self._stops if stop.advance(character)), key=len, default=None)
            if self.found is not None:
                shown, self.held = self.held[: end + 1 - len(self.found)], self.held[end + 1 :]
                return shown, True
        keep = max(stop.matched for stop in self._stops)
        shown, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return shown, False

    def flush(self) -> str:
        """What was held back: as the text has ended, it was no stop string. After a stop string, the text behind it."""
        held, self.held = self.held, ""
        for stop in self._stops:
            stop.matched = 0
        return held


class _Stop:
    def __init__(self, text: str) -> None:
        self.text, self.matched = text, 0
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
        while k and character != self.text[k]:
            k = self._shorter[k - 1]
        self.matched = k + (character == self.text[k])
        return self.matched == len(self.text)
