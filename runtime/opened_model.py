"""A model file that is open: from a GGUF file to the plan that sessions and measurements run."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from subbyte.errors import ResourceError, UnsupportedError, memory_errors
from subbyte.kernels import MAX_CTX, Plan
from subbyte.models import BaseConfig, Graph, Weights, architecture, check_unread
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.names import layer_of
from subbyte.runtime.gguf.tensors import TensorInfo, size_of
from subbyte.runtime.handles import Handle
from subbyte.runtime.machine import available_memory
from subbyte.runtime.session.prefixes import Prefixes
from subbyte.runtime.session.runner import MAX_BATCH, Runner
from subbyte.runtime.session.session import Session
from subbyte.runtime.step_times import StepTimes
from subbyte.runtime.text import quoted
from subbyte.runtime.tokenizer.tokenizer import Tokenizer, load_tokenizer
from subbyte.runtime.types import Activations, CacheType, SessionOptions

if TYPE_CHECKING:
    from typing_extensions import Self

    from subbyte.runtime.scheduler.scheduler import Scheduler

CHECKPOINT_BYTES = 512 * 2**20  # for checkpoints of a session, where nothing is said
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelInfo:
    """Name, sizes and bits per weight of a model."""

    name: str
    architecture: str
    path: Path
    size: int
    """bytes of all its files"""
    n_params: int
    bits_per_weight: float
    n_layer: int
    n_embd: int
    n_vocab: int
    n_ctx_train: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, fit for JSON."""
        return {**asdict(self), "path": str(self.path)}


class OpenedModel(Handle):
    """A model file that is open: its tokenizer, its plan, and the sessions and schedulers that run it.

    Immutable, and shared by any number of sessions and threads. Weights stay in the mapped file. config: its
    hyper-parameters. tokenizer: its vocabulary. plan: its forward pass.
    """

    instead = "share it between threads; in another process, load it again from its path"

    def __init__(self, gguf: GGUF, *, n_threads: int, isa: str) -> None:
        self.gguf: Final = gguf
        self.path: Final = gguf.path
        self.metadata: Final = gguf.metadata
        self.n_threads: Final = n_threads
        self.isa: Final = isa
        self._architecture = architecture(gguf.metadata.str("general.architecture"))
        self.tokenizer: Final[Tokenizer] = load_tokenizer(gguf.metadata)
        self.config: Final[BaseConfig] = self._architecture.configure(gguf.metadata, self.tokenizer.n_vocab)
        check_unread(gguf.metadata.unused(f"{self.config.architecture}."), self.config)
        weights = Weights(gguf.tensors)
        try:
            self.plan: Final[Plan] = self._plan(weights)
        finally:
            gguf.check_readable()
        self._check_unused(gguf.tensors.keys() - weights.used)
        self._prefixes: Final = Prefixes()
        self._step_times: Final[Mapping[str, StepTimes]] = defaultdict(StepTimes)  # by activations

    def _check_unused(self, names: Set[str]) -> None:
        """Refuses tensors without which the results are wrong: those of its layers, and biases. Others only warn."""
        layers = range(self.config.n_layer)

        def matters(name: str) -> bool:
            layer = layer_of(name)
            return name.endswith(".bias") if layer is None else layer in layers

        if missed := [name for name in names if matters(name)]:
            found = f"tensor {min(missed)} is no part of {self.config.architecture} as it is computed here"
            raise UnsupportedError(f"{found}; leaving it out would change the results: get a file without it")
        if names:
            _log.warning("%s: %d tensors are not used, such as %s", self.path, len(names), quoted(min(names)))

    def plan_with(self, tensors: Mapping[str, TensorInfo]) -> Plan:
        """The forward pass with other tensors, of the same shapes, in place of those of their names.

        They stay in their own file, which must not be closed while the plan is in use. Raises FormatError.
        """
        return self._plan(Weights({**self.gguf.tensors, **tensors}))

    def _plan(self, weights: Weights) -> Plan:
        graph = Graph()
        self._architecture.forward(graph, self.config, weights)
        plan = graph.plan()
        graph.operations.clear()  # they refer to the graph: a cycle that would hold the mapped file for a while
        return plan

    @property
    def info(self) -> ModelInfo:
        """Name, sizes and bits per weight, from the file."""
        c, size = self.config, size_of(self.gguf.tensors.values())
        return ModelInfo(
            name=self.metadata.str("general.name", self.path.stem),
            architecture=c.architecture,
            path=self.path,
            size=self.gguf.size,
            n_params=size.n_weights,
            bits_per_weight=size.bits_per_weight or 0.0,
            n_layer=c.n_layer,
            n_embd=c.n_embd,
            n_vocab=c.n_vocab,
            n_ctx_train=c.n_ctx_train,
        )

    def session(
        self,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        checkpoint_bytes: int | None = None,
    ) -> Session:
        """A new session, with a KV cache of n_ctx positions; cache_type, activations: see `CacheType`, `Activations`.

        n_ctx None: what the model was trained for, or as much of it as fits half of the free memory; for more than
        that a warning is logged. checkpoint_bytes: memory for checkpoints of recurrent states (`Session.checkpoints`),
        which a model without any does not take; None: 512 MiB, or an eighth of the free memory if that is less.
        Raises ResourceError, with the sizes, before anything is allocated that does not fit.
        """
        return self.open_session(SessionOptions(n_ctx, cache_type, activations, checkpoint_bytes))

    def open_session(self, options: SessionOptions) -> Session:
        """As `session`, with its arguments as a value."""
        checkpoint_bytes = self._checkpoint_bytes(options)
        runner = self.runner(replace(options, checkpoint_bytes=checkpoint_bytes))
        return Session(runner, runner.new_sequence(options.cache_type, checkpoint_bytes), self._prefixes)

    def _checkpoint_bytes(self, options: SessionOptions) -> int:
        if not self.plan.state_bytes:
            return 0
        if options.checkpoint_bytes is not None:
            return options.checkpoint_bytes
        return min(CHECKPOINT_BYTES, available_memory() // 8)

    @memory_errors("make a session")
    def runner(self, options: SessionOptions, plan: Plan | None = None) -> Runner:
        """What runs the model, or another plan of `plan_with`, over sequences of these options. Errors as `session`."""
        self.gguf.check_unchanged()
        n_ctx = self._choose_context(options) if options.n_ctx is None else options.n_ctx
        if n_ctx >> 62:  # bytes that no number in a message could tell
            found = f"n_ctx: a context of {arguments.shown(n_ctx)} tokens"
            raise ResourceError(f"{found} fits no memory; ask for a smaller one, of {MAX_CTX} at most")
        if plan is None:  # another plan of the model needs as much
            self._check_room(n_ctx, options)
        return Runner(
            plan or self.plan, n_ctx=n_ctx, activations=options.activations, n_threads=self.n_threads, isa=self.isa,
            reads_ahead=self._exceeds_memory(n_ctx, options), check=self.gguf.check_unchanged,
            digest=self.gguf.digest, times=self._step_times[options.activations] if plan is None else None,
        )  # fmt: skip

    def _exceeds_memory(self, n_ctx: int, options: SessionOptions) -> bool:
        """Whether not all of the file can stay in memory beside a session."""
        return self.gguf.size + self.plan.cache_bytes(n_ctx, options.cache_type) > available_memory()

    def _choose_context(self, options: SessionOptions) -> int:
        fixed, position = self.plan.state_bytes, self.plan.cache_bytes(1, options.cache_type) - self.plan.state_bytes
        room = (available_memory() // 2 - fixed) // position if position else MAX_CTX
        return max(1, min(self.config.n_ctx_train, room, MAX_CTX))

    def _check_room(self, n_ctx: int, options: SessionOptions) -> None:
        if n_ctx < 1:
            raise ValueError(f"a context of {n_ctx} tokens; it must be at least 1")
        if n_ctx > self.config.n_ctx_train:
            _log.warning("a context of %d tokens; the model was trained for %d", n_ctx, self.config.n_ctx_train)
        need, free = self.plan.cache_bytes(n_ctx, options.cache_type), available_memory()
        need += options.checkpoint_bytes or 0
        if need > free:
            raise ResourceError(
                f"a context of {n_ctx} tokens needs {need / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free; "
                "ask for a smaller one"
            )

    def scheduler(
        self,
        *,
        n_parallel: int = 8,
        n_waiting: int = 64,
        max_bytes: int | None = None,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
        checkpoint_bytes: int | None = None,
    ) -> Scheduler:
        """What makes many answers at once, for `generate` and `chat`; a context manager.

        n_parallel: answers that are made at once; n_waiting: that may wait beside them, more raise QueueFull. n_ctx: of
        each conversation; none has a part of its own, memory is taken as positions fill. max_bytes: that all
        conversations may take; None: half of the free memory; at least what one of n_ctx takes. The others, and errors,
        as for `session`.
        """
        from subbyte.runtime.scheduler.scheduler import Scheduler

        n_parallel = arguments.whole("n_parallel", n_parallel, 1, hint="answers at once, at least 1")
        n_waiting = arguments.whole("n_waiting", n_waiting, 1, hint="answers that may wait, at least 1")
        options = SessionOptions(n_ctx, cache_type, activations, checkpoint_bytes)
        options = replace(options, checkpoint_bytes=self._checkpoint_bytes(options) // n_parallel)
        runner = self.runner(options)
        options = replace(options, n_ctx=runner.n_ctx)
        one = self.plan.cache_bytes(runner.n_ctx, cache_type) + (options.checkpoint_bytes or 0)
        if max_bytes is None:
            max_bytes = max(available_memory() // 2, one)
        elif arguments.whole("max_bytes", max_bytes, 1) < one:
            found = f"max_bytes: {max_bytes} bytes; one conversation of {runner.n_ctx} tokens takes {one}"
            raise ValueError(f"{found}: allow as much, or ask for a smaller n_ctx")
        return Scheduler(
            runner, self._prefixes, options, max_bytes=max_bytes, n_parallel=n_parallel, n_waiting=n_waiting
        )

    def _runner_of_many(self, n_ctx: int, activations: Activations) -> Runner:
        """A runner of full batches, for sequences of up to n_ctx positions each."""
        n_positions = max(n_ctx, min(MAX_BATCH, self.config.n_ctx_train))
        return self.runner(SessionOptions(n_positions, "f16", activations, 0))

    @memory_errors("tokenize the text")
    def tokenize(self, text: str | bytes, *, special: bool = False, add_bos: bool = False) -> list[int]:
        """Token ids of text.

        special: text like <|im_end|> becomes control tokens. add_bos: put the BOS token first if the model wants one.
        """
        arguments.flag("special", special)
        arguments.flag("add_bos", add_bos)
        return self.tokenizer.encode(arguments.raw_text("text", text), special=special, add_bos=add_bos)

    def detokenize(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of token ids; control tokens show as text only with special."""
        found = arguments.items("ids", ids, "a list of token ids")
        arguments.flag("special", special)
        known = arguments.token_ids("ids", found, self.tokenizer.n_vocab).tolist()
        return self.tokenizer.decode(known, special=special)

    def close(self) -> None:
        """Closes the file; sessions of the model raise SubbyteError from then on. Closing twice is no error."""
        self.gguf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
