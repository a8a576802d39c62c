"""Attention in the engine: keys in parts, parts shared by threads, several sequences in a step, types of the cache."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from model_logits import divergence, log_softmax
from tiny_models import GEMMA4, N_VOCAB, forward, write_model

import subbyte as sb
from subbyte.kernels import Cache, Engine

# With heads of 256 values a split has 128 keys.
SHAPES = {
    "llama": {"n_layer": 2, "n_embd": 64, "n_head": 6, "n_head_kv": 2, "head_dim": 256, "n_ff": 96},
    "gemma3": {"n_layer": 6, "n_embd": 64, "n_head": 3, "n_head_kv": 1, "head_dim": 256, "n_ff": 96, "window": 100},
    "gemma4": {
        **GEMMA4, "n_head": 2, "n_head_kv": [1, 1, 2, 1, 1, 2], "head_dim": 512, "head_dim_local": 256, "window": 100,
    },
}  # fmt: skip
TOKENS = [int(t) for t in np.random.default_rng(8).integers(0, N_VOCAB, 270)]
STEPS = [60, *[1] * 10, 2, 3, 4, 5, 40, *[1] * 10, 120, *[1] * 10, 6]
"""One by one over positions 64, 128 and 256; some, few and many tokens between."""

each_arch = pytest.mark.parametrize("arch", SHAPES)


@pytest.fixture(scope="module", params=SHAPES)
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(arch: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{arch}.gguf"
    write_model(path, arch, SHAPES[arch])
    return path


def logits(path: Path, steps: Sequence[int], *, cache: str = "f32", threads: int = 2) -> np.ndarray:
    """All logits of TOKENS, evaluated in pieces of the given lengths."""
    with sb.load(path, threads=threads) as model, model.session(sum(steps), cache) as session:  # type: ignore[arg-type]
        ends = np.cumsum(steps)
        return np.concatenate([session.eval(TOKENS[end - n : end], "all") for n, end in zip(steps, ends, strict=True)])


@pytest.mark.thorough
def test_logits_equal_numpy_wherever_keys_are_cut(path: Path, arch: str, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", arch, SHAPES[arch])
    expected = forward(arch, weights, TOKENS, SHAPES[arch])
    for steps in (STEPS, [270]):
        assert np.abs(logits(path, steps) - expected).max() < 1e-4


@pytest.mark.parametrize("cache", ["f16", "q8_0"])
@pytest.mark.thorough
def test_the_number_of_threads_changes_nothing(path: Path, cache: str) -> None:
    """Also where it decides whether parts of a unit are tasks of their own: up to 4 units a thread."""
    one = logits(path, STEPS, cache=cache, threads=1)
    for threads in (2, 3, 8):
        assert np.array_equal(logits(path, STEPS, cache=cache, threads=threads), one)


@pytest.mark.thorough
def test_sequences_of_any_length_in_one_step(path: Path) -> None:
    """Steps of one row each, and with few and many rows besides; each sequence as if it were alone."""
    steps = [[150, 70, 3, 20], [1, 1, 1, 1], [1, 3, 17, 40], [1, 1, 1, 1], [7, 1, 40, 1]]
    with sb.load(path) as model:
        plan, n = model.plan, 4
        engine = Engine(plan, n_batch=256, n_threads=3, n_ctx=200)
        together = [Cache(plan, 200, "f32") for _ in range(n)]
        for pos, counts in zip(np.cumsum([[0] * n, *steps], axis=0), steps, strict=False):
            pieces = [TOKENS[p : p + count] for p, count in zip(pos, counts, strict=True)]
            segments = [(c, count, int(p)) for c, count, p in zip(together, counts, pos, strict=True)]
            last = np.cumsum(counts) - 1
            got = engine.step([token for piece in pieces for token in piece], segments, logits_of=last)
        whole = logits(path, [270])
    ends = np.sum(steps, axis=0) - 1
    assert got is not None
    np.testing.assert_array_equal(got, whole[ends])


@pytest.mark.slow
def test_more_splits_than_have_room(tmp_path: Path) -> None:
    """34 splits: of 16 rows more than have room at once."""
    write_model(tmp_path / "m.gguf", "llama", SHAPES["llama"], context_length=8192)
    tokens = [int(t) for t in np.random.default_rng(9).integers(0, N_VOCAB, 4316)]
    results = []
    for steps in ([1] * 16, [4] * 4, [16]):
        with sb.load(tmp_path / "m.gguf", threads=2) as model, model.session(len(tokens), "f32") as session:
            session.eval(tokens[:4300], "none")
            ends = 4300 + np.cumsum(steps)
            results.append([session.eval(tokens[end - n : end]) for n, end in zip(steps, ends, strict=True)][-1])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# ---- the int8 cache ----


@pytest.mark.thorough
def test_an_int8_cache_stays_near_a_float_cache(path: Path) -> None:
    exact = log_softmax(logits(path, STEPS))
    for steps in (STEPS, [270]):
        kl = divergence(exact, log_softmax(logits(path, steps, cache="q8_0")))
        assert 1e-9 < kl.mean() < 1e-4 and kl.max() < 1e-3


@pytest.mark.parametrize("head_dim", [8, 40, 72, 80, 96])
def test_heads_that_fill_no_whole_block(head_dim: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "llama", SHAPES["llama"] | {"head_dim": head_dim})
    exact = log_softmax(logits(tmp_path / "m.gguf", STEPS))
    kl = divergence(exact, log_softmax(logits(tmp_path / "m.gguf", STEPS, cache="q8_0")))
    assert 1e-9 < kl.mean() < 1e-4


@pytest.mark.parametrize("head_dim, q8_0, f16", [(64, 2 * 34, 128), (256, 8 * 34, 512), (40, 2 * 34, 80)])
def test_bytes_of_a_position(head_dim: int, q8_0: int, f16: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "llama", SHAPES["llama"] | {"head_dim": head_dim})
    with sb.load(tmp_path / "m.gguf") as model:
        rows = 2 * 2 * 2  # layers, keys and values, KV heads
        assert [model.plan.cache_bytes(7, t) for t in ("q8_0", "f16")] == [7 * rows * q8_0, 7 * rows * f16]


@pytest.mark.model
def test_the_int8_cache_of_a_real_model() -> None:
    from vocabularies import model_file

    text = "The sky is blue because air scatters short waves more than long ones. " * 12
    rows = {}
    with sb.load(model_file("smollm2")) as model:
        tokens = model.tokenize(text)
        for cache_type in ("f32", "f16", "q8_0"):
            with model.session(len(tokens), cache_type, "float32") as session:  # type: ignore[arg-type]
                rows[cache_type] = log_softmax(session.eval(tokens, "all"))
    assert divergence(rows["f32"], rows["f16"]).mean() < 1e-5
    assert divergence(rows["f32"], rows["q8_0"]).mean() < 2e-3


# ---- a step that is cancelled ----


@pytest.fixture
def interrupts() -> Iterator[list[threading.Timer]]:
    timers: list[threading.Timer] = []
    yield timers
    for timer in timers:
        timer.join()


@pytest.mark.slow
def test_a_cancelled_step_leaves_nothing_behind(tmp_path: Path, interrupts: list[threading.Timer]) -> None:
    """One token among 3000 keys, slow in plain C: cancelled with some parts of its units done, then computed again."""
    shape = SHAPES["llama"] | {"n_head": 64, "n_head_kv": 1}
    write_model(tmp_path / "m.gguf", "llama", shape, context_length=8192)
    tokens = [int(t) for t in np.random.default_rng(10).integers(0, N_VOCAB, 3000)]
    with sb.load(tmp_path / "m.gguf", threads=2) as model:
        cache = Cache(model.plan, 3001, "f32")
        fast = Engine(model.plan, n_batch=500, n_threads=2, n_ctx=3001)
        for pos in range(0, 3000, 500):
            fast.step(tokens[pos : pos + 500], ((cache, 500, pos),))
        expected = fast.step([1], ((cache, 1, 3000),), logits_of=[0])
        slow = Engine(model.plan, n_batch=1, n_threads=2, n_ctx=3001, isa="scalar")
        interrupts.append(threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)))
        interrupts[0].start()
        with pytest.raises(KeyboardInterrupt):
            while True:
                slow.step([1], ((cache, 1, 3000),))
        got = slow.step([1], ((cache, 1, 3000),), logits_of=[0])
    assert expected is not None and got is not None and np.abs(got - expected).max() < 1e-3
