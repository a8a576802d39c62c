"""A session: one KV cache over a model's plan, the tokens in it, and the steps that extend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow
from subbyte.kernels import Cache, Claim, Engine, Plan, token_ids
from subbyte.runtime.types import Activations, CacheType, Progress, Tokens

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

    plan: what Model.session passes. n_ctx: positions of the cache. cache_type: how it keeps keys and values, see
    `CacheType`. activations: how they meet quantized weights, see `Activations`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        n_ctx: int,
        n_threads: int,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        isa: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.n_ctx = n_ctx
        self.tokens: list[int] = []
        self._n_vocab = plan.n_vocab
        engine = Engine(
            plan, n_batch=batch_size(plan, n_ctx), n_threads=n_threads, n_ctx=n_ctx, isa=isa, activations=activations
        )
        self._memory: tuple[Engine, Cache] | None = (engine, Cache(plan, n_ctx, cache_type))
        self._check = check
        self._claim = Claim()

    @property
    def n_past(self) -> int:
        """How many tokens the cache holds."""
        return len(self.tokens)

    @property
    def seconds_in_kernels(self) -> float:
        """Time its steps have spent in C so far: what is left of a run's time is Python's."""
        return self._opened()[0].seconds

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
        if logits not in ("last", "all", "none"):
            raise ValueError(f"logits = {logits!r}; allowed are 'last', 'all' and 'none'")
        ids = token_ids(tokens, self._n_vocab)
        first = {"last": max(len(ids) - 1, 0), "all": 0, "none": len(ids)}[logits]
        with self._claim:
            rows = self._run(ids, range(first, len(ids)), on_progress=on_progress)
        if logits == "none":
            return None
        return rows[-1][-1] if logits == "last" else rows[0] if len(rows) == 1 else np.concatenate(rows)

    def logprobs(self, tokens: Tokens, wanted: Tokens, first: int = 0) -> NDArray[np.float32]:
        """Appends tokens; returns log p(wanted[i] | everything up to tokens[first + i]), float32 [len(wanted)].

        No logits are kept: memory does not grow with n_vocab.
        """
        ids, targets = token_ids(tokens, self._n_vocab), token_ids(wanted, self._n_vocab)
        if first < 0 or first + len(targets) > len(ids):
            raise ValueError(f"{len(targets)} wanted tokens from position {first} of {len(ids)} tokens")
        with self._claim:
            rows = self._run(ids, range(first, first + len(targets)), targets)
        return np.concatenate(rows) if rows else np.empty(0, np.float32)

    def rewind(self, n: int) -> None:
        """Keeps the first n tokens."""
        with self._claim:
            self._keep(n)

    def reuse(self, tokens: Tokens) -> int:
        """Rewinds to what the session has in common with the start of tokens; returns that length.

        At least one of tokens is left to evaluate.
        """
        with self._claim:
            n = 0
            for old, new in zip(self.tokens, tokens[:-1], strict=False):
                if old != new:
                    break
                n += 1
            self._keep(n)
        return n

    def close(self) -> None:
        """Gives the session's memory back; it can't be used afterwards.

        Raises SessionBusy while another thread uses it. Closing twice is no error.
        """
        with self._claim:
            self._memory = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[Engine, Cache]:
        if self._memory is None:
            raise ValueError("this session is closed; make a new one with Model.session")
        return self._memory

    def _keep(self, n: int) -> None:
        self._opened()
        if not 0 <= n <= self.n_past:
            raise ValueError(f"can't rewind to {n} tokens, the session has {self.n_past}")
        del self.tokens[n:]

    def _run(
        self,
        ids: NDArray[np.int32],
        rows: range,
        wanted: NDArray[np.int32] | None = None,
        on_progress: Progress | None = None,
    ) -> list[Logits]:
        """Appends ids, a batch at a time; the results of those batches that hold some of rows, a run of them."""
        engine, cache = self._opened()
        if not len(ids):
            raise ValueError("no tokens to evaluate")
        if self.n_past + len(ids) > self.n_ctx:
            raise ContextOverflow(
                f"{self.n_past} + {len(ids)} tokens do not fit a context of {self.n_ctx}; "
                "rewind, or ask for a larger one"
            )
        results: list[Logits] = []
        for start in range(0, len(ids), engine.n_batch):
            batch = ids[start : start + engine.n_batch]
            here = range(max(rows.start, start) - start, min(rows.stop - start, len(batch)))
            targets = None if wanted is None else wanted[start + here.start - rows.start :][: len(here)]
            self._check()  # before every batch: memory mapped from a file that was cut must not be read
            result = engine.step(batch, ((cache, len(batch), self.n_past),), logits_of=here, wanted=targets)
            self.tokens.extend(batch.tolist())
            if result is not None:
                results.append(result)
            if on_progress is not None:
                on_progress(start + len(batch), len(ids))
        return results
