"""A token's logits are a function of the tokens before it and of nothing else, bit for bit on every instruction set.

Not of how the text was cut into steps, of how much of it was in the cache, of what else was in a step, of the number of
threads. kernels/cpu/order.h says how. Chats that go on, seeds, prefix reuse, speculation and steps of many sequences
stand on this.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tiny_models import APART, MIXED, N_VOCAB, SHAPES, matrix_shapes, mixed_matrix, write_mixed_model, write_model

import subbyte as sb
from subbyte.kernels import FORMATS, Cache, Engine, isas
from subbyte.runtime.types import Activations, CacheType

TOKENS = [int(t) for t in np.random.default_rng(4).integers(0, N_VOCAB, 300)]
STEPS = [1, 2, 3, 8, 17]
"""Tokens of a step: alone, few, a tile of every instruction set but one, some tiles and a rest."""
ACTIVATIONS: tuple[Activations, ...] = get_args(Activations)
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)
ONE_LAYER = {"n_layer": 1, "n_embd": 256, "n_head": 4, "n_head_kv": 2, "head_dim": 64, "n_ff": 512}
LONG = {"gemma3": 300, "mixed": 300}  # of others 90 tokens: a block of keys and a part of the next
PAIRS: list[tuple[CacheType, Activations]] = [("f16", "int8"), ("q8_0", "int8x2"), ("f32", "float32")]
OTHER_PAIRS = [pair for pair in product(CACHE_TYPES, ACTIVATIONS) if pair not in PAIRS]

BEST = isas()[-1]
each_isa = pytest.mark.parametrize("isa", isas())


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A model of each architecture with several types, and one with all types ("mixed")."""
    folder = tmp_path_factory.mktemp("models")
    found = {arch: folder / f"{arch}.gguf" for arch in [*APART, "mixed"]}
    for arch in APART:
        whole_blocks = all(dims[-1] % 32 == 0 for dims in matrix_shapes(arch, SHAPES[arch]).values())
        blocks = ["Q4_0", "BF16", "Q5_1", "F16", "Q8_0"] if whole_blocks else ["BF16", "F16"]
        write_model(found[arch], arch, types=[*blocks, "F32"])
    write_mixed_model(found["mixed"])
    yield found


def logits(
    path: Path,
    n: int,
    step: int,
    isa: str,
    *,
    threads: int = 2,
    cache: CacheType = "f16",
    activations: Activations = "int8",
) -> np.ndarray:
    """Those of the first n tokens, evaluated `step` at a time."""
    with sb.load(path, threads=threads, isa=isa) as model, model.session(n, cache, activations) as session:
        return np.concatenate([session.eval(TOKENS[i : min(i + step, n)], "all") for i in range(0, n, step)])


@each_isa
@pytest.mark.parametrize("type", FORMATS)
def test_every_block_type(type: str, isa: str, tmp_path: Path) -> None:
    matrices = matrix_shapes("llama", ONE_LAYER)
    tensors = {f"{name}.weight": (mixed_matrix(type, dims)[0], type) for name, dims in matrices.items()}
    write_model(tmp_path / "m.gguf", shape=ONE_LAYER, tensors=tensors)
    whole = logits(tmp_path / "m.gguf", 33, 33, isa)
    for step in STEPS:
        np.testing.assert_array_equal(logits(tmp_path / "m.gguf", 33, step, isa), whole, f"{step} at a time")


@pytest.mark.parametrize(
    ("arch", "isa"),
    [
        pytest.param(arch, isa, marks=() if isa == BEST or arch == "mixed" else pytest.mark.slow)
        for arch, isa in product([*APART, "mixed"], isas())
    ],
)
@pytest.mark.thorough
def test_every_architecture(arch: str, isa: str, paths: dict[str, Path]) -> None:
    n = LONG.get(arch, 90)
    check_steps(paths[arch], n if isa == BEST else min(n, 140), PAIRS, isa)


@pytest.mark.parametrize("isa", [BEST])
@pytest.mark.slow
def test_every_cache_with_every_activation(isa: str, paths: dict[str, Path]) -> None:
    check_steps(paths["mixed"], LONG["mixed"], OTHER_PAIRS, isa)


def check_steps(path: Path, n: int, pairs: list[tuple[CacheType, Activations]], isa: str) -> None:
    for cache, activations in pairs:
        whole = logits(path, n, n, isa, cache=cache, activations=activations)
        for step in STEPS if isa != "scalar" else (1, 3, 17):
            found = logits(path, n, step, isa, threads=1 + step % 3, cache=cache, activations=activations)
            np.testing.assert_array_equal(found, whole, f"{cache} cache, {activations}, {step} at a time")


@each_isa
def test_what_was_in_the_cache(isa: str, paths: dict[str, Path]) -> None:
    """A text that is begun anew, continued after another, or taken from the middle on."""
    with sb.load(paths["mixed"], isa=isa) as model, model.session(120) as session:
        whole = session.eval(TOKENS[:100], "all")
        session.rewind(0)
        session.eval(TOKENS[100:200])
        session.rewind(0)
        np.testing.assert_array_equal(session.eval(TOKENS[:100], "all"), whole)
        assert session.reuse([*TOKENS[:61], *TOKENS[200:220]]) == 61
        session.eval(TOKENS[200:220])
        assert session.reuse(TOKENS[:100]) == 61
        np.testing.assert_array_equal(session.eval(TOKENS[61:100], "all"), whole[61:])


@each_isa
@pytest.mark.parametrize("arch", ["gemma3", "mixed"])
def test_company_in_a_step(arch: str, isa: str, paths: dict[str, Path]) -> None:
    """Several sequences, alike and not, in steps of one token each, of few and of many."""
    counts = [[40, 9, 1], [1, 1, 1], [2, 1, 3], [1, 30, 5], [1, 1, 1]]
    whole = logits(paths[arch], 100, 100, isa, cache="f32")
    with sb.load(paths[arch], isa=isa) as model:
        engine = Engine(model.plan, n_batch=64, n_threads=2, n_ctx=100, isa=isa)
        caches = [Cache(model.plan, 100, "f32") for _ in range(3)]
        at = [0, 0, 0]
        for step in counts:
            tokens = [token for pos, n in zip(at, step, strict=True) for token in TOKENS[pos : pos + n]]
            segments = tuple((cache, n, pos) for cache, n, pos in zip(caches, step, at, strict=True))
            found = engine.step(tokens, segments, logits_of=range(len(tokens)))
            assert found is not None
            expected = np.concatenate([whole[pos : pos + n] for pos, n in zip(at, step, strict=True)])
            np.testing.assert_array_equal(found, expected)
            at = [pos + n for pos, n in zip(at, step, strict=True)]


@each_isa
def test_rows_that_are_asked_for(isa: str, paths: dict[str, Path]) -> None:
    """Logits and log-probabilities of the last token, of some and of all."""
    with sb.load(paths["mixed"], isa=isa) as model, model.session(50) as session:
        whole = session.eval(TOKENS[:50], "all")
        session.rewind(0)
        np.testing.assert_array_equal(session.eval(TOKENS[:50]), whole[-1])
        session.rewind(0)
        scores = session.logprobs(TOKENS[:49], TOKENS[1:50])
        for first in (48, 40, 7):
            session.rewind(0)
            np.testing.assert_array_equal(session.logprobs(TOKENS[:49], TOKENS[1 + first : 50], first), scores[first:])


@each_isa
@pytest.mark.thorough
def test_a_long_text_whose_splits_are_shared_out_otherwise(isa: str, tmp_path: Path) -> None:
    """Ten splits of keys: tasks of their own for one token, merged by one thread for many."""
    write_model(tmp_path / "m.gguf", shape={**MIXED, "n_layer": 1}, types=["Q8_0"], context_length=4096)
    tokens = [int(t) for t in np.random.default_rng(5).integers(0, N_VOCAB, 2500)]
    with sb.load(tmp_path / "m.gguf", threads=3, isa=isa) as model, model.session(2500) as session:
        session.eval(tokens[:2460], "none")
        whole = session.eval(tokens[2460:], "all")
        for step in (1, 3, 17):
            session.rewind(2460)
            parts = [session.eval(tokens[i : i + step], "all") for i in range(2460, 2500, step)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
