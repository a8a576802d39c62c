"""A session: one sequence and the runner that extends it, for one thread at a time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ResourceError, memory_errors
from subbyte.kernels import TryLock
from subbyte.runtime import arguments
from subbyte.runtime.handles import Handle
from subbyte.runtime.machine import available_memory
from subbyte.runtime.session.prefixes import Pin, Prefixes, longest
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.step_times import StepTimes
from subbyte.runtime.types import CheckpointUse, Progress, SessionOptions, Tokens

Logits = NDArray[np.float32]


class Session(Handle):
    """One conversation's state. One thread at a time may use it; another one gets SessionBusy instead of a crash.

    Made by `Model.session`, which gives it a runner and a sequence of its own. tokens: those evaluated so far. options:
    how it computes, with the n_ctx it has.
    """

    instead = "make another with Model.session, and evaluate its tokens there"

    def __init__(self, runner: Runner, sequence: Sequence, prefixes: Prefixes | None = None) -> None:
        self.n_ctx, self.tokens = sequence.n_ctx, sequence.tokens
        self.options = SessionOptions(
            sequence.n_ctx, sequence.cache_type, runner.activations, sequence.checkpoints.max_bytes
        )
        self._n_vocab = runner.plan.n_vocab
        self._prefixes = prefixes or Prefixes()
        self._memory: tuple[Runner, Sequence] | None = (runner, sequence)
        self._lock = TryLock()

    @property
    def n_past(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    def cancel(self) -> None:
        """Ends an evaluation that another thread has running: it raises StepCancelled within some 50 ms."""
        if (memory := self._memory) is not None:
            memory[0].engine.cancel()

    @property
    def seconds_in_kernels(self) -> float:
        """Time its steps have spent in C so far: what is left of a run's time is Python's."""
        return self._opened()[0].engine.seconds

    @property
    def times(self) -> StepTimes:
        """How long its steps took so far."""
        return self._opened()[0].times

    @overload
    def eval(
        self, tokens: Tokens, logits: Literal["last", "all"] = "last", on_progress: Progress | None = None
    ) -> Logits: ...
    @overload
    def eval(self, tokens: Tokens, logits: Literal["none"], on_progress: Progress | None = None) -> None: ...
    def eval(self, tokens: Tokens, logits: str = "last", on_progress: Progress | None = None) -> Logits | None:
        """Appends tokens; returns next-token logits: float32 [n_vocab] of the last one, [n, n_vocab] of "all", or None.

        on_progress(done, total) is called after each batch; tokens computed again behind a `rewind` count. Interrupted
        (KeyboardInterrupt, an exception of on_progress), the session keeps the batches that are complete. Raises
        ContextOverflow, NumericError, SessionBusy, ValueError for bad ids.
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
        """Keeps the first n tokens.

        A model with recurrent states goes back to its last checkpoint before, see `checkpoints`; the next evaluation
        first computes the tokens between again.
        """
        with self._lock:
            self._opened()[1].truncate(arguments.whole("n", n, 0))

    def reuse(self, tokens: Tokens) -> int:
        """Rewinds to what the session has in common with the start of tokens, and need not compute; returns its length.

        Where a pinned prefix of the model has more in common with them, it begins from that. At least one of tokens is
        left to evaluate.
        """
        with self._lock:
            sequence = self._opened()[1]
            ids = arguments.token_ids("tokens", tokens, self._n_vocab).tolist()
            kind = (sequence.cache_type, self.options.activations)
            pinned, n = longest(self._prefixes.of(kind), ids[:-1], sequence.n_ctx)
            if pinned is not None and sequence.reusable(ids[:-1], sequence.n_ctx) < n:
                sequence.take_over(pinned, n)
            return sequence.reuse(ids)

    @property
    def checkpoints(self) -> CheckpointUse:
        """What is kept of recurrent states to go back to; nothing for a model without any, which goes back anywhere."""
        sequence = self._opened()[1]
        kept, of = tuple(sequence.checkpoints.kept), sequence.checkpoints
        positions = tuple(checkpoint.n_tokens for checkpoint in kept)
        return CheckpointUse(positions, len(kept) * of.state_bytes, of.max_bytes, sequence.n_recomputed)

    def checkpoint(self) -> None:
        """Keeps a copy of the recurrent states as they are now, so that nothing is computed again to go back here."""
        with self._lock:
            self._opened()[1].checkpoint(ends_turn=True)

    def fork(self) -> Session:
        """A session of its own that begins with the same tokens; what is remembered of them is copied, not computed.

        Raises ResourceError without memory for it.
        """
        with self._lock, memory_errors("fork this session"):
            runner, sequence = self._opened()
            need, free = runner.plan.cache_bytes(sequence.n_held, sequence.cache_type), available_memory()
            if need > free:
                found = f"a copy of this session takes {need >> 20} MiB, {free >> 20} MiB are free"
                raise ResourceError(f"{found}; close another session first")
            return Session(runner.another(), sequence.fork(), self._prefixes)

    def resize(self, n_ctx: int) -> None:
        """Gives the session a context of n_ctx tokens; what is remembered of its tokens is copied, not computed.

        Of a smaller context than it has tokens, the last ones are dropped; all are, where long contexts have a rope of
        their own (Phi-3) and only one of the two is long. Raises ResourceError without memory for it.
        """
        n_ctx = arguments.whole("n_ctx", n_ctx, 1)
        with self._lock, memory_errors("resize this session"):
            runner, sequence = self._opened()
            need, free = runner.plan.cache_bytes(n_ctx, sequence.cache_type), available_memory()
            if need > free:
                found = f"a context of {arguments.shown(n_ctx)} tokens does not fit the {free >> 20} MiB that are free"
                raise ResourceError(f"{found}; ask for a smaller one")
            resized = sequence.resized(n_ctx)
            self._memory = (runner.another(n_ctx), resized)
            self.n_ctx, self.tokens = n_ctx, resized.tokens
            self.options = replace(self.options, n_ctx=n_ctx)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the tokens and what is remembered of them to a file, for `load`; also the checkpoints.

        Raises FileExists for a file that is there, unless it is a saved session and overwrite; ResourceError.
        """
        from subbyte.runtime.session.saved import save_sequence

        with self._lock, memory_errors("save this session"):
            runner, sequence = self._opened()
            save_sequence(sequence, path, runner.digest(), overwrite=overwrite)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes over the tokens of a file that `save` wrote, in place of its own, without computing them.

        Raises SubbyteError, and changes nothing, if the file is of another model or cache_type, does not fit this
        session's context, or is damaged.
        """
        from subbyte.runtime.session.saved import load_sequence

        with self._lock, memory_errors("load this session"):
            runner, sequence = self._opened()
            loaded = load_sequence(sequence, path, runner.digest())
            self.tokens, self._memory = loaded.tokens, (runner, loaded)

    def pin(self) -> Pin:
        """Keeps what the session holds as a prefix that others of its model begin from; the session is closed."""
        with self._lock:
            sequence = self._opened()[1]
            self._memory = None
            return Pin(self._prefixes, (sequence.cache_type, self.options.activations), sequence)

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
        if pending := sequence.pending:
            ids = np.concatenate([np.array(pending, np.int32), ids])
            rows = range(rows.start + len(pending), rows.stop + len(pending))
        results: list[Logits] = []
        start = 0
        while start < len(ids):
            batch = ids[start : start + sequence.room_in_step(runner.n_batch)]
            here = range(max(rows.start, start) - start, min(rows.stop - start, len(batch)))
            wanted = None if targets is None else targets[start + here.start - rows.start :][: len(here)]
            result = runner.step((Segment(sequence, batch, here),), wanted)
            if result is not None:
                results.append(result)
            start += len(batch)
            if on_progress is not None:
                on_progress(start, len(ids))
        return results
