"""How fast a model reads prompts and generates, beside the machine's roofline at that moment.

The cases are llama-bench's: a prompt of p tokens at once, or n tokens one by one, each behind d others. Tokens are
random, logits are computed, nothing is sampled. All cases are run in turns, round after round, so that a slow minute of
the machine hits all alike, and the roofline is measured right before and right after each run; the better
figure counts, since what disturbs so short a measurement can only lower it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from itertools import product

import numpy as np

from subbyte.runtime.bench.cost import Cost, generation_cost, prompt_cost
from subbyte.runtime.bench.result import BenchResult, Case, Kind, Measured, Run
from subbyte.runtime.bench.roofline import Roofline, RooflineProbe, combine
from subbyte.runtime.inspect.summary import summarize
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.model import Model, load
from subbyte.runtime.session import Session
from subbyte.runtime.types import Activations, CacheType, StepProgress

__all__ = ["BenchResult", "Case", "Measured", "Roofline", "Run", "bench"]


GENERATION_STEPS = 8  # a generated token takes about so many
WARM_UP_TOKENS = 4  # generated before a generation is timed

Sessions = dict[tuple[int, int], Session]
"""By number of threads and depth: each holds its depth's tokens, and the next ones while a case runs."""


def bench(
    model: str | os.PathLike[str],
    *,
    prompts: Sequence[int] = (512,),
    generations: Sequence[int] = (64,),
    depths: Sequence[int] = (0,),
    threads: Sequence[int | None] = (None,),
    repeats: int = 5,
    cache_type: CacheType = "f16",
    activations: Activations = "int8",
    on_progress: StepProgress | None = None,
) -> BenchResult:
    """Measures every prompt size and every number of generated tokens, at every depth, with every number of threads.

    model, threads: as for `load`. cache_type, activations: as for `Model.session`. Each case is run once unmeasured
    (a generation: a few tokens) and then `repeats` times. Raises what `load` and `Model.session` raise, and ValueError
    for sizes out of range.
    """
    _check("tokens of a prompt", prompts, 1)
    _check("tokens to generate", generations, 1)
    _check("tokens of depth", depths, 0)
    _check("repeats", [repeats], 1)
    sizes: list[tuple[Kind, int]] = [("prompt", n) for n in dict.fromkeys(prompts)]
    sizes += [("generation", n) for n in dict.fromkeys(generations)]
    if not sizes or not depths or not threads:
        raise ValueError("nothing to measure: a size of a prompt or a number of tokens to generate is needed")
    with ExitStack() as stack:
        models = {loaded.n_threads: loaded for loaded in (stack.enter_context(load(model, threads=n)) for n in threads)}
        cases = [Case(kind, n, d, t) for t, d, (kind, n) in product(models, dict.fromkeys(depths), sizes)]
        sessions = {
            (t, d): stack.enter_context(models[t].session(d + max(n for _, n in sizes), cache_type, activations))
            for t, d in dict.fromkeys((case.threads, case.depth) for case in cases)
        }
        first = next(iter(models.values()))
        rounds = _Rounds(first, sessions, cases, repeats, on_progress)
        costs = [_cost(first, case, cache_type, activations) for case in cases]
        measured = tuple(map(Measured, cases, costs, rounds.run()))
        return BenchResult(
            version=version("subbyte"),
            cpu=cpu_name(),
            isa=first.isa,
            model=first.info.to_dict(),
            types={of.type: of.n_bytes for of in summarize(first.gguf).types},
            activations=activations,
            cache_type=cache_type,
            repeats=repeats,
            measured=measured,
        )


def _check(what: str, values: Sequence[int], least: int) -> None:
    for value in values:
        if value < least:
            raise ValueError(f"{value} {what}; at least {least} is needed")


def _cost(model: Model, case: Case, cache_type: CacheType, activations: Activations) -> Cost:
    cost = prompt_cost if case.kind == "prompt" else generation_cost
    return cost(model, case.n_tokens, case.depth, cache_type, activations)


class _Rounds:
    """Runs all cases in turns."""

    def __init__(
        self, model: Model, sessions: Sessions, cases: list[Case], repeats: int, on_progress: StepProgress | None
    ) -> None:
        longest = max(session.n_ctx for session in sessions.values())
        self._tokens = np.random.default_rng(0).integers(0, model.config.n_vocab, longest)
        self._probe = RooflineProbe(model.isa)
        self._sessions, self._cases, self._repeats = sessions, cases, repeats
        self._on_progress = on_progress or (lambda *_: None)
        self._done = 0
        self._total = sum(depth for _, depth in sessions)
        self._total += sum(_steps(_warm_up(case)) + repeats * _steps(case) for case in cases)

    def run(self) -> list[tuple[Run, ...]]:
        """The runs of each case."""
        for (threads, depth), session in self._sessions.items():
            if depth:
                self._fill(session, depth, f"depth {depth}, {_threads(threads)}")
        for case in self._cases:
            self._tell(case, "warm-up")
            self._time(_warm_up(case))
        runs: list[list[Run]] = [[] for _ in self._cases]
        for i in range(self._repeats):
            for case, found in zip(self._cases, runs, strict=True):
                self._tell(case, f"run {i + 1} of {self._repeats}")
                before = self._probe.measure(case.threads)
                seconds = self._time(case)
                after = self._probe.measure(case.threads)
                found.append(Run(seconds, combine([before, after], max)))
        self._on_progress("", self._total, self._total)
        return list(map(tuple, runs))

    def _fill(self, session: Session, depth: int, what: str) -> None:
        start = self._done
        self._on_progress(what, start, self._total)
        session.eval(self._tokens[:depth], "none", lambda done, _: self._on_progress(what, start + done, self._total))
        self._done += depth

    def _tell(self, case: Case, what: str) -> None:
        self._on_progress(f"{case.name}, {_threads(case.threads)}, {what}", self._done, self._total)

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
        self._done += _steps(case)
        return seconds


def _threads(n: int) -> str:
    return f"{n} threads" if n > 1 else "1 thread"


def _warm_up(case: Case) -> Case:
    return replace(case, n_tokens=min(case.n_tokens, WARM_UP_TOKENS)) if case.kind == "generation" else case


def _steps(case: Case) -> int:
    return case.n_tokens * (GENERATION_STEPS if case.kind == "generation" else 1)
