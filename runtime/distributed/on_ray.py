"""Workers on a Ray cluster: tasks that compute the units of a measurement.

What is particular to many machines is Ray's own: where tasks run, how their results come, and that the part of a worker
that was lost is done again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from subbyte.errors import ResourceError, SubbyteError, memory_errors
from subbyte.kernels import MAX_THREADS
from subbyte.runtime import arguments
from subbyte.runtime.distributed.loaded import granted_threads
from subbyte.runtime.evaluation.checkpoint import Figures
from subbyte.runtime.evaluation.texts import EvalTexts
from subbyte.runtime.evaluation.work import Begun, Work, split
from subbyte.runtime.handles import Handle
from subbyte.runtime.text import quoted

CONNECT_SECONDS = 10


class RayWorkers(Handle):
    """Workers of a Ray cluster, for `perplexity(…, workers=)` and its kin; a context manager.

    Each measures ranges of the text with files of its own machine, at the same paths or by the same names, and refuses
    files, versions of subbyte or instruction sets that are not those of the program that asks: so figures are those
    of one machine, to the last digit. What a lost worker was at is done again by Ray.
    """

    instead = "connect once more"

    def __init__(self, address: str | None = None, *, threads: int | None = None, verbose: bool = False) -> None:
        """Connects. address: of a cluster, "auto" or HOST:PORT; None starts Ray on this machine, for its own cores.

        Where this program is connected to Ray by now, that is used as it is, and goes on after `close`. threads: CPUs
        of each worker; None for those of the smallest machine. verbose: lets Ray's logger speak on stderr.
        Raises ResourceError without Ray (`pip install 'subbyte[ray]'`), or without a cluster at that address.
        """
        address = None if address is None else arguments.text("address", address)
        if threads is not None and not 1 <= arguments.whole("threads", threads) <= MAX_THREADS:
            raise ValueError(f"{threads} threads; allowed are 1 to {MAX_THREADS}, or None for those of a machine")
        self._ray: Any = _import_ray()
        self._owns = not self._ray.is_initialized()
        if self._owns:
            _connect(self._ray, address or "local", arguments.flag("verbose", verbose))
        machines = [node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]]
        self.threads = threads or int(max(1, min((n for n in machines if n >= 1), default=1)))
        self.n_workers = int(sum(n // self.threads for n in machines))
        if not self.n_workers:
            self.close()
            raise ResourceError(f"no machine of the Ray cluster has {self.threads} CPUs; ask for fewer threads")

    def figures(self, work: Work, texts: EvalTexts | None, units: range) -> Iterator[Figures]:
        """See `Workers`. Raises what the measurement raises, and ResourceError where Ray gives up on a range."""
        if not units:
            return
        ray = self._ray
        sent = [ray.put((work, texts))]  # in a list, a reference is not what it refers to
        task = ray.remote(num_cpus=self.threads)(_compute)
        parts = split(units, self.n_workers)
        results = deque(task.remote(sent, part, self.threads) for part in parts)
        try:
            for part in parts:
                yield from self._result(results.popleft(), part)
        finally:  # the run may be ended early
            if ray.is_initialized():
                for result in results:
                    ray.cancel(result)

    def _result(self, result: Any, part: range) -> list[Figures]:
        errors = self._ray.exceptions
        try:
            found: list[Figures] = self._ray.get(result)
            return found
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            reason = str(error).strip().partition("\n")[0]
            raise ResourceError(f"Ray gave up on units {part.start + 1} to {part.stop}: {reason}") from None

    def close(self) -> None:
        """Ends what is still being computed, and Ray if it was started, or connected to, here."""
        if self._owns and self._ray.is_initialized():
            self._ray.shutdown()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each start
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # it would print what happens to workers on our stdout
    try:
        import ray
    except ImportError as error:
        found = f"workers on other machines need Ray, which can't be imported ({error})"
        raise ResourceError(f"{found}; install it with: pip install 'subbyte[ray]'") from None
    return ray


def _connect(ray: Any, address: str, verbose: bool) -> None:
    """Connects, and leaves signals to the program as they were."""
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address)
        level = logging.INFO if verbose else logging.FATAL
        ray.init(address=address, log_to_driver=False, logging_level=level, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ResourceError(f"can't connect to Ray at {quoted(address)}: {reason}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _check_reachable(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT, for which Ray itself would wait many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _compute(sent: list[Any], units: range, threads: int) -> list[Figures]:
    """What a task does: the figures of some units, by the measurement that this process keeps for further tasks."""
    try:
        with memory_errors("measure"):
            return list(_begun(sent[0], threads).figures(units))
    except SubbyteError as error:
        raise type(error)(f"worker on {socket.gethostname()}: {error}") from None


_kept: dict[Any, Begun] = {}  # the last work that this process has begun, by the reference to it


def _begun(sent: Any, threads: int) -> Begun:
    import ray

    if sent not in _kept:
        for other in _kept.values():
            other.close()
        _kept.clear()
        work, texts = ray.get(sent)
        _kept[sent] = work.begin(texts, granted_threads(threads))
    return _kept[sent]
