"""A session: one sequence and the runner that extends it, for one thread at a time."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import memory_errors
from subbyte.kernels import TryLock
from subbyte.runtime import arguments
from subbyte.runtime.handles import Handle
from subbyte.runtime.runner import Runner, Segment
from subbyte.runtime.sequence import Sequence
from subbyte.runtime.types import Progress, SessionOptions, Tokens

Logits = NDArray[np.float32]


class Session(Handle):
    """One conversation's state. One thread at a time may use it; another one gets SessionBusy instead of a crash.

    Made by `Model.session`, which gives it a runner and a sequence of its own. tokens: those that the KV cache holds.
    options: how it computes, with the n_ctx it has.
    """

    instead = "make another with Model.session, and evaluate its tokens there"

    def __init__(self, runner: Runner, sequence: Sequence) -> None:
        self.n_ctx, self.tokens = sequence.n_ctx, sequence.tokens
        self.options = SessionOptions(sequence.n_ctx, sequence.cache_type, runner.activations)
        self._n_vocab = runner.plan.n_vocab
        self._memory: tuple[Runner, Sequence] | None = (runner, sequence)
        self._lock = TryLock()

    @property
    def n_past(self) -> int:
        """How many tokens the cache holds."""
        return len(self.tokens)

    @property
    def seconds_in_kernels(self) -> float:
        """Time its steps have spent in C so far: what is left of a run's time is Python's."""
        return self._opened()[0].engine.seconds

    @overload
    def eval(
        self, tokens: Tokens, logits: Literal["last", "all"] = "last", on_progress: Progress | None = None
    ) -> Logits: ...
    @overload
    def eval(self, tokens: Tokens, logits: Literal["none"], on_progress: Progress | None = None) -> None: ...
    def eval(self, tokens: Tokens, logits: str = "last", on_progress: Progress | None = None) -> Logits | None:
        """Appends tokens; returns next-token logits: float32 [n_vocab] of the last one, [n, n_vocab] of "all", or None.

        on_progress(done, total) is called after each batch. Interrupted (KeyboardInterrupt, an exception of
        on_progress), the session keeps the batches that are complete. Raises ContextOverflow, NumericError,
        SessionBusy, ValueError for bad ids.
        """
        arguments.callback("on_progress", on_progress)
        if arguments.text("logits", logits) not in ("last", "all", "none"):
            raise ValueError(f"logits = {logits!r}; allowed are 'last', 'all' and 'none'")
        ids = arguments.token_ids("tokens", tokens, self._n_vocab)
        first = {"last": max(len(ids) - 1, 0), "all": 0, "none": len(ids)}[logits]
        with self._lock, memory_errors("keep the logits"):
            rows = self._run(ids, range(first, len(ids)), on_progress=on_progress)
            if logits == "none":
                return None
            return rows[-1][-1] if logits == "last" else rows[0] if len(rows) == 1 else np.concatenate(rows)

    def logprobs(self, tokens: Tokens, targets: Tokens, first: int = 0) -> NDArray[np.float32]:
        """Appends tokens; returns log p(targets[i] | everything up to tokens[first + i]), float32 [len(targets)].

        No logits are kept: memory does not grow with n_vocab.
        """
        ids = arguments.token_ids("tokens", tokens, self._n_vocab)
        wanted = arguments.token_ids("targets", targets, self._n_vocab)
        first = arguments.whole("first", first, 0)
        if first + len(wanted) > len(ids):
            raise ValueError(f"{len(wanted)} targets from position first = {first} of {len(ids)} tokens")
        with self._lock:
            rows = self._run(ids, range(first, first + len(wanted)), wanted)
        return np.concatenate(rows) if rows else np.empty(0, np.float32)

    def rewind(self, n: int) -> None:
        """Keeps the first n tokens."""
        with self._lock:
            self._opened()[1].truncate(arguments.whole("n", n, 0))

    def reuse(self, tokens: Tokens) -> int:
        """Rewinds to what the session has in common with the start of tokens; returns that length.

        At least one of tokens is left to evaluate.
        """
        with self._lock:
            sequence = self._opened()[1]
            n = sequence.common_prefix(arguments.token_ids("tokens", tokens, self._n_vocab).tolist()[:-1])
            sequence.truncate(n)
        return n

    def close(self) -> None:
        """Gives the session's memory back; it can't be used afterwards.

        Raises SessionBusy while another thread uses it. Closing twice is no error.
        """
        with self._lock:
            self._memory = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[Runner, Sequence]:
        if self._memory is None:
            raise ValueError("this session is closed; make a new one with Model.session")
        return self._memory

    def _run(
        self,
        ids: NDArray[np.int32],
        rows: range,
        targets: NDArray[np.int32] | None = None,
        on_progress: Progress | None = None,
    ) -> list[Logits]:
        """Appends ids, a batch at a time; the results of those batches that hold some of rows, a run of them."""
        runner, sequence = self._opened()
        if not len(ids):
            raise ValueError("no tokens to evaluate")
        sequence.check_room(len(ids))
        results: list[Logits] = []
        for start in range(0, len(ids), runner.n_batch):
            batch = ids[start : start + runner.n_batch]
            here = range(max(rows.start, start) - start, min(rows.stop - start, len(batch)))
            wanted = None if targets is None else targets[start + here.start - rows.start :][: len(here)]
            result = runner.step((Segment(sequence, batch, here),), wanted)
            if result is not None:
                results.append(result)
            if on_progress is not None:
                on_progress(start + len(batch), len(ids))
        return results
