"""Computing a prompt."""

import threading
from collections.abc import Generator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import SessionBusy
from subbyte.runtime.generation.events import PrefillProgress
from subbyte.runtime.protocols import Session

PREFILL_CHUNK = 256  # prompt tokens between two progress events; a cancelled prompt ends after so many at most


class Prefill:
    """What is new in a prompt through the model, chunk by chunk.

    reused: tokens that were in the cache. computed: tokens that were not, so far. seconds: that this took.
    """

    def __init__(self, session: Session, prompt: Sequence[int], cancelled: threading.Event) -> None:
        self._session, self._prompt, self._cancelled = session, prompt, cancelled
        self.reused = self.computed = 0
        self.seconds = 0.0

    def run(self) -> Generator[PrefillProgress, None, NDArray[np.float32] | None]:
        """The prompt's last logits [n_vocab]; None if cancelled before."""
        self.reused = done = self._session.reuse(self._prompt)
        total = len(self._prompt) - done
        yield PrefillProgress(0, total)
        chunks = -(-total // PREFILL_CHUNK)
        logits = None
        for i in range(1, chunks + 1):
            if self._cancelled.is_set():
                return None
            end = self.reused + total * i // chunks  # chunks of equal size: a last one of a few tokens would be slow
            started = perf_counter()
            expect(self._session, done)
            if i < chunks:
                self._session.eval(self._prompt[done:end], "none")
            else:
                logits = self._session.eval(self._prompt[done:end], "last")
            self.seconds += perf_counter() - started
            self.computed, done = end - self.reused, end
            yield PrefillProgress(self.computed, total)
        return logits


def expect(session: Session, n_past: int) -> None:
    """Raises SessionBusy if the session does not hold the tokens that were put there."""
    if session.n_past != n_past:
        raise SessionBusy("the session was used for something else while this answer was being made")
