"""The models and schedulers of this process, loaded when they are first needed and shared by all that ask for them.

An actor of Ray, or a worker of Dask, is such a process: functions over rows arrive there pickled, maybe many times. All
processes of a machine map the same file, so that its pages are in memory once.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import lru_cache

from subbyte.runtime.loading import load
from subbyte.runtime.machine import default_threads
from subbyte.runtime.model import Model
from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.types import Activations, CacheType

N_KEPT = 4  # models, and schedulers; those not used for longest go first
N_WAITING = 4096  # rows that threads of Dask may bring at once
_lock = threading.Lock()  # so that threads that come together load once


@dataclass(frozen=True)
class Settings:
    """How a model is loaded and scheduled. threads: None for what Ray gave this process, or what the machine has.

    activations: None for the model's recommended ones. The others are those of `Model.scheduler`.
    """

    model: str
    threads: int | None
    n_parallel: int
    n_ctx: int | None
    cache_type: CacheType
    activations: Activations | None

    def open_model(self) -> Model:
        """The model, one in this process. Raises what `load` raises."""
        with _lock:
            return _model(self.model, granted_threads() if self.threads is None else self.threads)

    def open_scheduler(self) -> Scheduler:
        """The scheduler, one in this process. Raises what `Model.scheduler` raises."""
        model = self.open_model()
        with _lock:
            return _scheduler(model, self)


@lru_cache(N_KEPT)
def _model(name: str, threads: int) -> Model:
    return load(name, threads=threads)


@lru_cache(N_KEPT)
def _scheduler(model: Model, settings: Settings) -> Scheduler:
    return model.scheduler(
        n_parallel=settings.n_parallel, n_waiting=N_WAITING, n_ctx=settings.n_ctx, cache_type=settings.cache_type,
        activations=settings.activations or model.recommended.activations,
    )  # fmt: skip


def granted_threads(n_cpus: float | None = None) -> int:
    """The threads worth starting where a task has so many CPUs of Ray's (None: those of the task or actor that runs).

    Ray counts CPUs and binds nobody to them: more threads than it granted would be in the others' way.
    """
    most = default_threads()[0]
    n_cpus = _assigned_cpus() if n_cpus is None else n_cpus
    return max(1, min(most, int(n_cpus))) if n_cpus else most


def _assigned_cpus() -> float | None:
    """What Ray assigned to the task or actor that runs in this process; None outside of one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    if context.get_task_id() is None and context.get_actor_id() is None:
        return None
    assigned: dict[str, float] = context.get_assigned_resources()
    return assigned.get("CPU")
