"""A session: one KV cache over a model's plan, the tokens in it, and the steps that extend it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow, SessionBusy
from subbyte.kernels import Cache, Engine, Plan

Progress = Callable[[int, int], None]
Activations = Literal["int8", "int8x2", "float32"]
"""Activations that meet quantized weights: int8 with a scale per 32 values, fast, for chat and generation; int8x2,
which keeps the rest as int8 again, about 15 bits for twice the work, for measurements; float32, slow, the yardstick
of both."""
Logits = NDArray[np.float32]

SCRATCH_BYTES = 64 * 2**20  # what a batch may take beside the model and the cache
MAX_BATCH = 512


def batch_size(plan: Plan, n_ctx: int) -> int:
    """Tokens a step takes: enough to use each unpacked weight often, as few as SCRATCH_BYTES allow."""
    batch = MAX_BATCH
    while batch > 32 and batch * plan.scratch_bytes() > SCRATCH_BYTES:
        batch //= 2
    return min(batch, n_ctx)


class Session:
    """One conversation's state. One thread at a time may use it; another one gets SessionBusy instead of a crash.

    plan: what Model.session passes. n_ctx: positions of the cache. float_cache: keys and values as float32 instead of
    float16. activations: how they meet quantized weights, see `Activations`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        n_ctx: int,
        n_threads: int,
        float_cache: bool = False,
        activations: Activations = "int8",
        isa: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.n_ctx = n_ctx
        self.tokens: list[int] = []
        self._engine = Engine(
            plan, n_batch=batch_size(plan, n_ctx), n_threads=n_threads, n_ctx=n_ctx, isa=isa, activations=activations
        )
        self._cache: Cache | None = Cache(plan, n_ctx, not float_cache)
        self._check = check
        self._lock = threading.Lock()

    @property
    def n_past(self) -> int:
        """How many tokens the cache holds."""
        return len(self.tokens)

    @overload
    def eval(
        self, tokens: Sequence[int], logits: Literal["last", "all"] = "last", on_progress: Progress | None = None
    ) -> Logits: ...
    @overload
    def eval(self, tokens: Sequence[int], logits: Literal["none"], on_progress: Progress | None = None) -> None: ...
    def eval(self, tokens: Sequence[int], logits: str = "last", on_progress: Progress | None = None) -> Logits | None:
        """Appends tokens; returns next-token logits: float32 [n_vocab] of the last one, [n, n_vocab] of "all", or None.

        on_progress(done, total) is called after each batch. Interrupted (KeyboardInterrupt, an exception of
        on_progress), the session keeps the batches that are complete. Raises ContextOverflow, NumericError,
        SessionBusy, ValueError for bad ids.
        """
        rows: list[Logits] = []
        total = len(tokens)
        with self._owned() as cache:
            for first, batch in self._batches(tokens):
                if logits == "all":
                    wanted: Sequence[int] = range(len(batch))
                else:
                    wanted = (len(batch) - 1,) if logits == "last" and first + len(batch) == total else ()
                result = self._step(cache, batch, wanted)
                if result is not None:
                    rows.append(result)
                if on_progress is not None:
                    on_progress(first + len(batch), total)
        if logits == "none":
            return None
        return np.concatenate(rows) if logits == "all" else rows[-1][-1]

    def logprobs(self, tokens: Sequence[int], wanted: Sequence[int], first: int = 0) -> NDArray[np.float32]:
        """Appends tokens; returns log p(wanted[i] | everything up to tokens[first + i]), float32 [len(wanted)].

        No logits are kept: memory does not grow with n_vocab.
        """
        if first < 0 or first + len(wanted) > len(tokens):
            raise ValueError(f"{len(wanted)} wanted tokens from position {first} of {len(tokens)} tokens")
        out = np.empty(len(wanted), np.float32)
        with self._owned() as cache:
            for start, batch in self._batches(tokens):
                rows = range(max(first - start, 0), min(first + len(wanted) - start, len(batch)))
                at = start - first
                result = self._step(cache, batch, rows, [wanted[at + row] for row in rows])
                if result is not None:
                    out[at + rows.start : at + rows.stop] = result
        return out

    def rewind(self, n: int) -> None:
        """Keeps the first n tokens."""
        if not 0 <= n <= self.n_past:
            raise ValueError(f"can't rewind to {n} tokens, the session has {self.n_past}")
        with self._owned():
            del self.tokens[n:]

    def reuse(self, tokens: Sequence[int]) -> int:
        """Rewinds to what the session has in common with the start of tokens; returns that length.

        At least one of tokens is left to evaluate.
        """
        n = 0
        for old, new in zip(self.tokens, tokens[:-1], strict=False):
            if old != new:
                break
            n += 1
        self.rewind(n)
        return n

    def close(self) -> None:
        """Gives the cache's memory back. The session can't be used afterwards."""
        with self._owned():
            self._cache = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _owned(self) -> Iterator[Cache]:
        if not self._lock.acquire(blocking=False):
            raise SessionBusy("this session is in use by another thread; give each thread a session of its own")
        try:
            if self._cache is None:
                raise ValueError("this session is closed")
            yield self._cache
        finally:
            self._lock.release()

    def _batches(self, tokens: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
        if not len(tokens):
            raise ValueError("no tokens to evaluate")
        if self.n_past + len(tokens) > self.n_ctx:
            raise ContextOverflow(
                f"{self.n_past} + {len(tokens)} tokens do not fit a context of {self.n_ctx}; "
                "rewind, or ask for a larger one"
            )
        self._check()
        for first in range(0, len(tokens), self._engine.n_batch):
            yield first, tokens[first : first + self._engine.n_batch]

    def _step(
        self, cache: Cache, batch: Sequence[int], rows: Sequence[int], wanted: Sequence[int] | None = None
    ) -> Logits | None:
        result = self._engine.step(batch, ((cache, len(batch), self.n_past),), logits_of=rows, wanted=wanted)
        self.tokens.extend(batch)
        return result
