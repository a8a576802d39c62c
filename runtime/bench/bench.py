"""How fast a model reads prompts and generates, beside the machine's roofline at that moment.

The cases are llama-bench's: a prompt of p tokens at once, or n tokens one by one, each behind d others. Tokens are
random, logits are computed, nothing is sampled. All cases are run in turns, round after round, so that a slow minute of
the machine hits all alike, and the roofline is measured right before and right after each run; the better
figure counts, since what disturbs so short a measurement can only lower it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from itertools import product

import numpy as np

from subbyte.runtime import arguments
from subbyte.runtime.bench.cost import Cost, generation_cost, prompt_cost
from subbyte.runtime.bench.result import BenchResult, Case, Kind, Measured, Run
from subbyte.runtime.bench.roofline import Roofline, RooflineProbe, combine
from subbyte.runtime.inspect.mixture import mixture
from subbyte.runtime.inspect.summary import summarize
from subbyte.runtime.loading import Models, as_model, load
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.model import Model
from subbyte.runtime.session.session import Session
from subbyte.runtime.types import Activations, CacheType, StepProgress

__all__ = ["BenchMeasurement", "BenchResult", "Case", "Measured", "Roofline", "Run", "bench"]


GENERATION_STEPS = 8  # a generated token takes about so many
WARM_UP_TOKENS = 4  # generated before a generation is timed
FILL_TOKENS = 256  # of a depth, evaluated between two reports of progress

Sessions = dict[tuple[int, int], Session]
"""By number of threads and depth: each holds its depth's tokens, and the next ones while a case runs."""


def bench(
    model: Models,
    *,
    prompt: int | Sequence[int] = 512,
    generate: int | Sequence[int] = 64,
    depth: int | Sequence[int] = 0,
    threads: int | Sequence[int | None] | None = None,
    repeats: int = 5,
    cache_type: CacheType = "f16",
    activations: Activations = "int8",
    on_progress: StepProgress | None = None,
) -> BenchResult:
    """Measures every prompt size and every number of generated tokens, at every depth, with every number of threads.

    prompt, generate, depth, threads: one or several; [] for none. model: a `Model`, or as for `load`. threads: as for
    `load`. cache_type, activations: as for `Model.session`. Each case is run once unmeasured (a generation: a few
    tokens) and then `repeats` times; `BenchMeasurement` keeps the runs of a benchmark that is ended early. Raises what
    `load` and `Model.session` raise, and ValueError for sizes out of range.
    """
    arguments.callback("on_progress", on_progress)
    with BenchMeasurement(
        model, prompt=prompt, generate=generate, depth=depth, threads=threads, repeats=repeats,
        cache_type=cache_type, activations=activations,
    ) as measurement:  # fmt: skip
        return measurement.run(on_progress and (lambda step: on_progress(*step)))


class BenchMeasurement(Measurement[Step, BenchResult]):
    """Runs all cases in turns; arguments and errors are those of `bench`. Holds the model until it is closed.

    Its result has the cases that were run at least once, with the runs that are done.
    """

    unit = "runs"

    def __init__(
        self,
        model: Models,
        *,
        prompt: int | Sequence[int] = 512,
        generate: int | Sequence[int] = 64,
        depth: int | Sequence[int] = 0,
        threads: int | Sequence[int | None] | None = None,
        repeats: int = 5,
        cache_type: CacheType = "f16",
        activations: Activations = "int8",
    ) -> None:
        prompts = _checked("prompt", prompt, "tokens of a prompt", 1)
        generations = _checked("generate", generate, "tokens to generate", 1)
        depths = _checked("depth", depth, "tokens of depth", 0)
        (repeats,) = _checked("repeats", repeats, "repeats", 1)
        each_threads: list[int | None] = (
            [threads] if threads is None or isinstance(threads, int)
            else arguments.items("threads", threads, "a number of threads, None, or a list of them")
        )  # fmt: skip
        sizes: list[tuple[Kind, int]] = [("prompt", n) for n in dict.fromkeys(prompts)]
        sizes += [("generation", n) for n in dict.fromkeys(generations)]
        if not sizes or not depths or not each_threads:
            raise ValueError("nothing to measure: a size of a prompt or a number of tokens to generate is needed")
        self._repeats, self._cache_type, self._activations = repeats, cache_type, activations
        with ExitStack() as stack:
            models = {each.n_threads: each for each in (_with_threads(model, n, stack) for n in each_threads)}
            self._cases = [Case(kind, n, d, t) for t, d, (kind, n) in product(models, dict.fromkeys(depths), sizes)]
            self._sessions: Sessions = {
                (t, d): stack.enter_context(models[t].session(d + max(n for _, n in sizes), cache_type, activations))
                for t, d in dict.fromkeys((case.threads, case.depth) for case in self._cases)
            }
            self._model = next(iter(models.values()))
            self._costs = [_cost(self._model, case, cache_type, activations) for case in self._cases]
            self._opened = stack.pop_all()
        longest = max(session.n_ctx for session in self._sessions.values())
        self._tokens = np.random.default_rng(0).integers(0, self._model.config.n_vocab, longest)
        self._runs: list[list[Run]] = [[] for _ in self._cases]
        self._steps_done = 0
        self._steps = sum(depth for _, depth in self._sessions)
        self._steps += sum(_steps(_warm_up(case)) + repeats * _steps(case) for case in self._cases)

    def __iter__(self) -> Iterator[Step]:
        probe = RooflineProbe(self._model.isa)
        for (threads, depth), session in self._sessions.items():
            yield from self._fill(session, depth, f"depth {depth}, {_threads(threads)}")
        for case in self._cases:
            yield self._step(case, "warm-up")
            self._time(_warm_up(case))
        for i in range(self._repeats):
            for case, runs in zip(self._cases, self._runs, strict=True):
                yield self._step(case, f"run {i + 1} of {self._repeats}")
                before = probe.measure(case.threads)
                seconds = self._time(case)
                after = probe.measure(case.threads)
                runs.append(Run(seconds, combine([before, after], max)))
        yield Step("", self._steps, self._steps)

    @property
    def n_done(self) -> int:
        return sum(map(len, self._runs))

    @property
    def n_total(self) -> int:
        return self._repeats * len(self._cases)

    def result(self) -> BenchResult:
        of_cases = zip(self._cases, self._costs, self._runs, strict=True)
        return BenchResult(
            version=version("subbyte"),
            cpu=cpu_name(),
            isa=self._model.isa,
            model=self._model.info.to_dict(),
            types={of.type: of.n_bytes for of in summarize(self._model.gguf).types},
            mixture=mixture(self._model.gguf),
            activations=self._activations,
            cache_type=self._cache_type,
            repeats=max(map(len, self._runs)),
            measured=tuple(Measured(case, cost, tuple(runs)) for case, cost, runs in of_cases if runs),
        )

    def close(self) -> None:
        self._opened.close()

    def _fill(self, session: Session, depth: int, what: str) -> Iterator[Step]:
        for start in range(0, depth, FILL_TOKENS):
            yield Step(what, self._steps_done, self._steps)
            n_tokens = min(FILL_TOKENS, depth - start)
            session.eval(self._tokens[start : start + n_tokens], "none")
            self._steps_done += n_tokens
        session.checkpoint()  # `_time` comes back here

    def _step(self, case: Case, what: str) -> Step:
        return Step(f"{case.name}, {_threads(case.threads)}, {what}", self._steps_done, self._steps)

    def _time(self, case: Case) -> float:
        """Runs a case once; seconds."""
        session = self._sessions[case.threads, case.depth]
        tokens = self._tokens[case.depth : case.depth + case.n_tokens]
        session.rewind(case.depth)
        start = time.perf_counter()
        if case.kind == "prompt":
            session.eval(tokens)
        else:
            for i in range(case.n_tokens):
                session.eval(tokens[i : i + 1])
        seconds = time.perf_counter() - start
        self._steps_done += _steps(case)
        return seconds


def _with_threads(model: Models, threads: int | None, stack: ExitStack) -> Model:
    """The model with so many threads; one that is open is loaded again for another number of them."""
    if threads is not None:
        threads = arguments.whole("threads", threads)
    if isinstance(model, Model) and threads not in (None, model.n_threads):
        return stack.enter_context(load(model.path, threads=threads, override_kv=model.gguf.override_kv))
    return as_model("model", model, stack, threads)


def _checked(name: str, given: int | Sequence[int], what: str, least: int) -> list[int]:
    values = arguments.items(name, given, "a list of whole numbers") if isinstance(given, Iterable) else [given]
    sizes = [arguments.whole(name, value) for value in values]
    for size in sizes:
        if size < least:
            raise ValueError(f"{name}: {size} {what}; at least {least} is needed")
    return sizes


def _cost(model: Model, case: Case, cache_type: CacheType, activations: Activations) -> Cost:
    cost = prompt_cost if case.kind == "prompt" else generation_cost
    return cost(model, case.n_tokens, case.depth, cache_type, activations)


def _threads(n: int) -> str:
    return f"{n} threads" if n > 1 else "1 thread"


def _warm_up(case: Case) -> Case:
    return replace(case, n_tokens=min(case.n_tokens, WARM_UP_TOKENS)) if case.kind == "generation" else case


def _steps(case: Case) -> int:
    return case.n_tokens * (GENERATION_STEPS if case.kind == "generation" else 1)
