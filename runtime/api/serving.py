"""What requests are answered with: a model, its scheduler, and prompts whose log-probabilities are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from threading import Lock
from typing import TypeAlias

from subbyte.runtime.generation.events import TokenLogprob
from subbyte.runtime.generation.generation import Generation
from subbyte.runtime.model import Model
from subbyte.runtime.scheduler.scheduler import Scheduler

MAX_KEPT = 1 << 14  # tokens with their log-probabilities, about 16 MB

Start: TypeAlias = Callable[[], Generation]
"""Begins one of the answers to a request."""


class ScoredPrompts:
    """Log-probabilities of the latest prompts, for those that begin alike, in any thread.

    A harness asks for a question with each of its answers, one request after another: what they share is then neither
    computed nor told anew.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Sequence[int], Sequence[TokenLogprob], int]] = deque()
        self._lock = Lock()

    def known(self, tokens: Sequence[int], k: int) -> list[TokenLogprob]:
        """What is known of the first tokens of a prompt, with k of the most probable ones in each place."""
        best: Sequence[TokenLogprob] = ()
        with self._lock:
            for kept, scores, n_top in self._kept:
                if n_top >= k:
                    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(kept, tokens, strict=False)))
                    best = max(best, scores[:same], key=len)
        return [replace(score, top=score.top[:k]) for score in best]

    def keep(self, tokens: Sequence[int], scores: Sequence[TokenLogprob], k: int) -> None:
        """Keeps those of a prompt, in place of the oldest ones."""
        with self._lock:
            self._kept.append((tuple(tokens), tuple(scores), k))
            while len(self._kept) > 1 and sum(len(kept) for kept, _, _ in self._kept) > MAX_KEPT:
                self._kept.popleft()


@dataclass(frozen=True)
class Serving:
    """A model that answers requests. timeout: seconds that an answer may take, None: any."""

    model: Model
    scheduler: Scheduler
    timeout: float | None = None
    scored: ScoredPrompts = field(default_factory=ScoredPrompts)
