"""Clients in many threads at once: joins, leaves, cancels, forks, prefixes at random; every answer is its solo run."""

from __future__ import annotations

import gc
import random
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb

N_CTX = 96
N_CLIENTS = 16
LONG = [("llama", 10_000), ("qwen35", 2_000)]  # answers


class Expected(NamedTuple):
    """A request and the tokens that it has when it is alone."""

    prompt: list[int]
    sampling: sb.Sampling
    max_tokens: int
    tokens: tuple[int, ...]


def make(model: sb.Model, rng: random.Random, before: list[Expected]) -> Expected:
    """A new prompt, or one that goes on from another's answer, or from a part of its prompt."""
    prompt = [rng.randrange(N_VOCAB) for _ in range(rng.choice([1, 3, 10, 30]))]
    if before and rng.random() < 0.6:
        old = rng.choice(before)
        whole = [*old.prompt, *old.tokens]
        prompt = [*whole[: rng.randrange(1, len(whole) + 1)], *prompt][:80]
    sampling = sb.Sampling(temperature=rng.choice([0.0, 1.0]), seed=rng.randrange(1000))
    n = rng.choice([1, 4, 9, 16])
    reply = model.generate(prompt, sampling=sampling, max_tokens=n, n_ctx=N_CTX).run()
    return Expected(prompt, sampling, n, reply.tokens)


def client(model: sb.Model, scheduler: sb.Scheduler, requests: list[Expected], n: int, seed: int) -> None:
    rng = random.Random(seed)
    open_answers: list[tuple[sb.Generation, Expected, bool]] = []
    pins: list[sb.Pin] = []
    while n > 0:
        for wanted in rng.choices(requests, k=min(n, rng.choice([1, 8, 16]))):
            n -= 1
            answer = model.generate(
                wanted.prompt, sampling=wanted.sampling, max_tokens=wanted.max_tokens, n_ctx=N_CTX, scheduler=scheduler
            )
            open_answers.append((answer, wanted, rng.random() < 0.7))
        if rng.random() < 0.2:
            pins.append(model.pin(rng.choice(requests).prompt))
        if pins and rng.random() < 0.2:
            pins.pop().close()
        rng.shuffle(open_answers)
        while len(open_answers) > rng.choice([0, 4]):
            check(*open_answers.pop(), rng)
    for each in open_answers:
        check(*each, rng)
    for pin in pins:
        pin.close()


def check(answer: sb.Generation, wanted: Expected, whole: bool, rng: random.Random) -> None:
    if whole:
        assert answer.run().tokens == wanted.tokens
        return
    way = rng.randrange(3)
    if way == 0:
        answer.cancel()
        answer.run()
    elif way == 1:
        next(iter(answer), None)
        answer.close()
    found = tuple(answer.tokens)  # way 2: it is forgotten while it runs
    assert found == wanted.tokens[: len(found)]


@pytest.mark.parametrize(
    ("arch", "n"),
    [("llama", 160), ("qwen35", 160), *(pytest.param(*each, marks=pytest.mark.slow) for each in LONG)],
)
def test_every_answer_is_its_solo_run(arch: str, n: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, context_length=N_CTX)
    with sb.load(tmp_path / "m.gguf", threads=2) as model:
        check_all(model, n)


def check_all(model: sb.Model, n: int) -> None:
    rng, requests = random.Random(n), list[Expected]()
    for _ in range(60 if n < 1000 else 300):
        requests.append(make(model, rng, requests))
    failed: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            client(model, scheduler, requests, n // N_CLIENTS, seed)
        except BaseException as error:
            failed.append(error)

    room = (8 if n < 1000 else 30) * model.plan.cache_bytes(N_CTX, "f16")  # with 8 some answers go back to the queue
    with model.scheduler(
        n_parallel=64, n_waiting=1000, n_ctx=N_CTX, max_bytes=room, checkpoint_bytes=1 << 20
    ) as scheduler:
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(N_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
        use = scheduler.use
        assert use.n_bytes <= use.max_bytes
    assert not failed, failed[0]
    assert (scheduler.use.n_running, scheduler.use.n_waiting) == (0, 0)
    assert not scheduler._sequences.running  # a sequence that ended is idle or gone
