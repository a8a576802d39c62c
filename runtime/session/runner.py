"""The runner: steps of a plan over one sequence or several at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError, memory_errors
from subbyte.kernels import Engine, Plan, TryLock
from subbyte.runtime.handles import Handle
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.step_times import StepTimes
from subbyte.runtime.types import Activations, CacheType

SCRATCH_BYTES = 64 * 2**20  # what a batch may take beside the model and the cache
MAX_BATCH = 512


def batch_size(plan: Plan, n_ctx: int) -> int:
    """Tokens a step takes: enough to use each unpacked weight often, as few as SCRATCH_BYTES allow."""
    batch = MAX_BATCH
    while batch > 32 and batch * plan.scratch_bytes() > SCRATCH_BYTES:
        batch //= 2
    return min(batch, n_ctx)


class Segment(NamedTuple):
    """What a step computes of one sequence, behind what its memory holds: token ids, int32 [n], first its pending ones.

    rows: of which of them the head computes logits.
    """

    sequence: Sequence
    tokens: NDArray[np.int32]
    rows: range = range(0)


class Runner(Handle):
    """A plan with the engine that runs it and its scratch memory. One thread at a time; another one gets SessionBusy.

    n_ctx: positions of a sequence. activations: their precision in matmuls of quantized weights, see `Activations`.
    reads_ahead: the model is larger than memory: routed experts are asked for as soon as they are chosen.
    check: called before each step; raises if the model's file has changed. digest: what tells that file from others.
    times: what its steps take, with those of other runners of the model.
    """

    instead = "make another with Model.runner"

    def __init__(
        self,
        plan: Plan,
        *,
        n_ctx: int,
        n_threads: int,
        isa: str | None = None,
        activations: Activations = "int8",
        reads_ahead: bool = False,
        check: Callable[[], None] = lambda: None,
        digest: Callable[[], str] = str,
        times: StepTimes | None = None,
    ) -> None:
        self.plan, self.n_ctx, self.n_batch = plan, n_ctx, batch_size(plan, n_ctx)
        self.activations, self._reads_ahead, self.check, self.digest = activations, reads_ahead, check, digest
        self.engine = Engine(
            plan, n_batch=self.n_batch, n_threads=n_threads, n_ctx=n_ctx, isa=isa, activations=activations,
            reads_ahead=reads_ahead,
        )  # fmt: skip
        self.times = times or StepTimes()
        self._lock = TryLock()

    def new_sequence(self, cache_type: CacheType, checkpoint_bytes: int = 0, n_ctx: int | None = None) -> Sequence:
        """A sequence of no tokens yet. n_ctx: positions of its KV cache, None: the runner's. Raises ResourceError."""
        return Sequence(self.plan, n_ctx or self.n_ctx, cache_type, checkpoint_bytes)

    def another(self, n_ctx: int | None = None) -> Runner:
        """A runner of the same plan with scratch memory of its own. n_ctx: positions of a sequence; None: as many."""
        return Runner(
            self.plan, n_ctx=n_ctx or self.n_ctx, n_threads=self.engine.n_threads, isa=self.engine.isa,
            activations=self.activations, reads_ahead=self._reads_ahead, check=self.check, digest=self.digest,
            times=self.times,
        )  # fmt: skip

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """A context for what reads the weights: ModelChanged where the file has changed, also while they were read, if
        what came of it is not finite. MemoryError becomes ResourceError."""
        self.check()  # memory mapped from a file that was cut must not be read
        try:
            with memory_errors("compute this step"):
                yield
        except NumericError:
            self.check()  # a file that is being rewritten computes nonsense
            raise

    def step(
        self, segments: Collection[Segment], targets: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32] | None:
        """Appends tokens to sequences: at most n_batch in all, one segment a sequence. When it raises, to none of them.

        Returns next-token logits of the segments' rows, one after another, float32 [n rows, n_vocab]; with targets, a
        token id for each row, their log-probabilities [n rows], which takes no memory for logits. None without rows.
        Raises ValueError, ModelChanged, NumericError, SessionBusy, and what a signal handler raises.
        """
        with self._lock:
            started = perf_counter()
            try:
                with self.unchanged():
                    if len(segments) == 1:  # as for each token of a single conversation
                        ((sequence, tokens, rows),) = segments
                        result = self.engine.step(
                            tokens, ((sequence.cache, len(tokens), sequence.n_held),), logits_of=rows, wanted=targets
                        )
                    else:
                        result = self._step_together(segments, targets)
            except BaseException:
                for segment in segments:
                    segment.sequence.recover()
                raise
            seconds = perf_counter() - started
            if targets is None and all(len(rows) == len(tokens) for _, tokens, rows in segments):
                self.times.note(sum(len(tokens) for _, tokens, _ in segments), seconds)
            for sequence, tokens, _ in segments:
                sequence.hold(tokens.tolist())
        return result

    def _step_together(
        self, segments: Collection[Segment], targets: NDArray[np.int32] | None
    ) -> NDArray[np.float32] | None:
        if len({id(segment.sequence) for segment in segments}) < len(segments):
            raise ValueError("a sequence has more than one segment in a step")
        rows: list[int] = []
        n = 0
        for _, tokens, wanted in segments:
            rows += range(n + wanted.start, n + wanted.stop)
            n += len(tokens)
        return self.engine.step(
            np.concatenate([segment.tokens for segment in segments]),
            [(sequence.cache, len(tokens), sequence.n_held) for sequence, tokens, _ in segments],
            logits_of=rows,
            wanted=targets,
        )
