"""What of a model fits this machine's memory, and how fast it can generate: an estimate before it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from subbyte.runtime import arguments
from subbyte.runtime.bench.cost import generation_cost, weight_bytes
from subbyte.runtime.bench.disk import disk_rate
from subbyte.runtime.bench.roofline import RooflineProbe
from subbyte.runtime.inspect.mixture import mixture
from subbyte.runtime.machine import PROCESS_BYTES, available_memory
from subbyte.runtime.model import Model
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.types import CacheType, StepProgress

CONTEXTS = (4096, 32768)  # and what the model was trained for


@dataclass(frozen=True, slots=True)
class Weights(Record):
    """In bytes. n_bytes: of the file; expert_bytes: of its routed experts, 0 for a dense model.

    active_bytes: that a token is multiplied with; used_bytes: its experts among them.
    """

    n_bytes: int
    expert_bytes: int
    active_bytes: int
    used_bytes: int

    def from_disk(self, room: int) -> float:
        """Bytes that a token must read from disk where `room` bytes of the file stay in memory.

        Weights of every token stay before experts do, and a token goes to each expert as likely as to any other. Where
        not even the former have room, each token pushes out what the next one reads first: all of it is read again.
        """
        of_every_token = self.active_bytes - self.used_bytes
        if room < of_every_token:
            return self.active_bytes
        kept = room - of_every_token
        return self.used_bytes * (1 - kept / self.expert_bytes) if kept < self.expert_bytes else 0.0


@dataclass(frozen=True, slots=True)
class ContextFit(Record):
    """One context with one type of KV cache.

    cache_bytes: of the whole cache. read_bytes: that a token reads behind a full one: weights, keys and values.
    disk_bytes: of these weights, expected to come from disk. tokens_per_second: that reading allows behind a full
    cache; None if the disk's rate is unknown and needed. fits: whether there is memory for the cache at all.
    """

    n_ctx: int
    cache_type: CacheType
    cache_bytes: int
    read_bytes: int
    disk_bytes: float
    tokens_per_second: float | None
    fits: bool


@dataclass(frozen=True, slots=True)
class Fit(Record, Tabular):
    """available: bytes of memory. bandwidth, disk_rate: bytes a second from memory and disk, None if unknown."""

    weights: Weights
    available: int
    threads: int
    bandwidth: float
    disk_rate: float | None
    contexts: tuple[ContextFit, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row for each context and type of cache."""
        return [of.to_dict() for of in self.contexts]


def fit(model: Model, on_progress: StepProgress | None = None) -> Fit:
    """Measures memory and disk for about a second, and what contexts of all cache types take and allow."""
    arguments.callback("on_progress", on_progress)
    tell = on_progress or (lambda *_: None)
    available = available_memory()
    tell("memory bandwidth", 0, 2)
    bandwidth = bandwidth_of(model)
    tell("disk", 1, 2)
    rate = disk_rate(model.gguf.paths)
    tell("", 2, 2)
    weights = weights_of(model)
    n_ctx_train = model.config.n_ctx_train
    contexts = sorted({n for n in CONTEXTS if n < n_ctx_train} | {n_ctx_train})
    return Fit(
        weights, available, model.n_threads, bandwidth, rate,
        tuple(
            context_fit(model, weights, n_ctx, cache_type, available, bandwidth, rate)
            for n_ctx in contexts for cache_type in get_args(CacheType)
        ),
    )  # fmt: skip


def bandwidth_of(model: Model) -> float:
    """Bytes a second that its threads read from memory: the best of a few measurements, which others disturb."""
    probe = RooflineProbe(model.isa)
    return max(probe.bandwidth(model.n_threads) for _ in range(3))


def weights_of(model: Model) -> Weights:
    """What the file holds and what a token needs of it."""
    of = mixture(model.gguf)
    return Weights(model.gguf.size, of.n_bytes if of else 0, weight_bytes(model), of.used_bytes if of else 0)


def context_fit(
    model: Model, weights: Weights, n_ctx: int, cache_type: CacheType, available: int, bandwidth: float,
    disk_rate: float | None,
) -> ContextFit:  # fmt: skip
    """A context with so much memory available, bandwidth and disk_rate in bytes a second."""
    cache_bytes = model.plan.cache_bytes(n_ctx, cache_type)
    read_bytes = generation_cost(model, 1, n_ctx - 1, cache_type, "int8").n_bytes
    disk_bytes = weights.from_disk(available - cache_bytes - PROCESS_BYTES)
    rate = None
    if disk_rate is not None or not disk_bytes:
        rate = 1 / (read_bytes / bandwidth + (disk_bytes / disk_rate if disk_rate else 0))
    return ContextFit(n_ctx, cache_type, cache_bytes, read_bytes, disk_bytes, rate, cache_bytes <= available)
