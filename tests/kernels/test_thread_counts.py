"""Any number of threads, more than processors too: the same bits, and no more waiting than barriers ask for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import MIXED, N_VOCAB, write_mixed_model

import subbyte as sb
from subbyte.runtime.types import Activations

TOKENS = [int(t) for t in np.random.default_rng(9).integers(0, N_VOCAB, 300)]
CUTS = {"at once": [300], "one by one": [1] * 40, "answer": [290, *[1] * 10], "few": [2, 3, 5, 7, 12, 13, 33]}
ACTIVATIONS: list[Activations] = ["int8", "int8x2", "float32"]
OVERSUBSCRIBED = 8


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a matrix of every block type."""
    path = tmp_path_factory.mktemp("mixed") / "m.gguf"
    write_mixed_model(path)
    return path


def logits(path: Path, cuts: list[int], threads: int, activations: Activations) -> np.ndarray:
    ends = np.cumsum(cuts)
    with sb.load(path, threads=threads) as model, model.session(len(TOKENS), activations=activations) as session:
        return np.concatenate([session.eval(TOKENS[e - n : e], "all") for e, n in zip(ends, cuts, strict=True)])


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS.keys())
@pytest.mark.thorough
def test_logits_do_not_depend_on_the_number_of_threads(cuts: list[int], activations: Activations, mixed: Path) -> None:
    one = logits(mixed, cuts, 1, activations)
    for threads in (2, 3, OVERSUBSCRIBED):
        assert np.array_equal(logits(mixed, cuts, threads, activations), one), f"{threads} threads"


def test_logprobs_do_not_depend_on_the_number_of_threads(mixed: Path) -> None:
    def logprobs(threads: int) -> np.ndarray:
        with sb.load(mixed, threads=threads) as model, model.session(len(TOKENS)) as session:
            return session.logprobs(TOKENS[:-1], TOKENS[1:])

    one = logprobs(1)
    assert all(np.array_equal(logprobs(threads), one) for threads in (2, 3, OVERSUBSCRIBED))


COUNTED = """
import os, resource, sys
import subbyte as sb
path, threads, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
with sb.load(path, threads=threads) as model, model.session(n + 1) as session:
    session.eval([1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for i in range(n):
        session.eval([i])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't bind a process to processors")
def test_more_threads_than_processors_wait_only_at_barriers(mixed: Path) -> None:
    """On two processors, how often a thread of four or eight waits in a token is the number of barriers, 6 a layer and
    a few: none waits for time to pass, and none more often with more threads. The last one to reach a barrier does not
    wait, hence `threads - 1`."""
    n_tokens, waits = 100, {}
    for threads in (4, OVERSUBSCRIBED):
        command = [sys.executable, "-c", COUNTED, str(mixed), str(threads), str(n_tokens)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        waits[threads] = int(done.stdout) / (threads - 1) / n_tokens
    assert 0 < waits[OVERSUBSCRIBED] <= 1.1 * waits[4] + 1
    assert waits[4] <= 7 * MIXED["n_layer"] + 5
