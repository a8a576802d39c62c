"""Figures of parts of the scored tokens, and intervals where chunks have unequal numbers of them."""

import numpy as np
import pytest

from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import block_bootstrap


def scored(*rows: range, domains: tuple[int, ...] = (), names: tuple[str, ...] = ("text 1",)) -> ScoredTokens:
    """Chunks whose predictions at these rows are scored."""
    chunks = []
    for i, of_chunk in enumerate(rows):
        at = np.array(of_chunk, np.int32)
        chunks.append(Chunk(np.arange(of_chunk.stop, dtype=np.int32), at, at, domains[i] if domains else 0))
    return ScoredTokens.of(chunks, names)


def test_quarters_of_the_second_half_and_powers_of_two() -> None:
    def buckets(tokens: ScoredTokens) -> dict[str, int]:
        return {name: int(of.sum()) for name, of in tokens.positions()}

    assert buckets(scored(range(256, 511))) == {"257-319": 63, "320-383": 64, "384-447": 64, "448-511": 64}
    assert buckets(scored(range(0, 70), range(200, 300))) == {"0-63": 63, "64-127": 7, "128-255": 55, "256-300": 45}
    assert buckets(scored(range(5, 6))) == {"6-6": 1}


def test_texts_by_name() -> None:
    tokens = scored(range(3), range(5), range(2), domains=(0, 1, 0), names=("a", "b"))
    assert {name: int(of.sum()) for name, of in tokens.domains()} == {"a": 5, "b": 5}
    assert not list(scored(range(3)).domains())


def test_intervals_count_every_token_once() -> None:
    rng = np.random.default_rng(0)
    rows = [range(n) for n in rng.integers(1, 40, 30)]
    tokens = scored(*rows)
    values = rng.standard_normal(len(tokens.chunk)) + 1
    found = tokens.interval(values)
    assert found.estimate == pytest.approx(values.mean()) and found.low < values.mean() < found.high
    some = tokens.chunk >= 20
    assert tokens.interval(values, of=some) == scored(*rows[20:]).interval(values[some])
    equal = scored(*[range(4)] * 10)
    means = values[:40].reshape(10, 4).mean(axis=1)
    assert equal.interval(values[:40]).low == pytest.approx(block_bootstrap(means).low)


@pytest.mark.slow
def test_an_interval_of_unequal_chunks_holds_the_truth_as_often_as_it_says() -> None:
    """Long chunks have a larger loss here, so that the mean of chunk means is another than that of tokens."""
    rng, runs, hits = np.random.default_rng(1), 300, 0
    for seed in range(runs):
        sizes = rng.integers(1, 30, 60)
        means = sizes / 10 + rng.standard_normal(60)
        found = block_bootstrap(means, seed=seed, sizes=sizes)
        hits += found.low < 59 / 30 < found.high  # E[n n / 10] / E[n] for n uniform in 1..29
    assert 0.91 < hits / runs < 0.985


def test_few_flips_make_an_interval_without_an_end() -> None:
    blocks = np.zeros(12)
    blocks[3] = 0.25
    found = block_bootstrap(blocks)
    assert found.estimate > 0 and np.isinf(found.high) and not found.is_decided
