"""Measurements of models that remember more than keys and values, against a session of its own for every chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from model_logits import divergence, log_softmax
from tiny_models import write_model

import subbyte as sb

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 700).tolist())
N_CTX = 48
Pair = tuple[sb.Model, sb.Model]


@pytest.fixture(scope="module", params=["qwen35", "lfm2", "nemotron_h", "gemma4", "deepseek2"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sb.Model, sb.Model]]:
    folder = tmp_path_factory.mktemp("models")
    for name, types in (("base", ["F32"]), ("other", ["BF16"])):
        write_model(folder / f"{name}.gguf", request.param, types=types)
    with sb.load(folder / "base.gguf", threads=2) as base, sb.load(folder / "other.gguf", threads=2) as other:
        yield base, other


def chunks(model: sb.Model) -> Iterator[np.ndarray]:
    """All logits of each chunk of the text, in a session of its own."""
    ids = model.tokenize(TEXT)
    for start in range(0, len(ids) - N_CTX + 1, N_CTX):
        with model.session(N_CTX, "f16", "int8x2") as session:
            yield session.eval(ids[start : start + N_CTX], "all")


def test_perplexity(pair: Pair) -> None:
    model, _ = pair
    ids = model.tokenize(TEXT)
    losses = []
    for i, rows in enumerate(chunks(model)):
        targets = ids[i * N_CTX + N_CTX // 2 + 1 : (i + 1) * N_CTX]
        losses += (-log_softmax(rows)[N_CTX // 2 : -1][range(len(targets)), targets]).tolist()
    assert sb.perplexity(model, TEXT, n_ctx=N_CTX).ppl == pytest.approx(np.exp(np.mean(losses)), rel=1e-6)


def test_score(pair: Pair) -> None:
    model, _ = pair
    ids = model.tokenize(TEXT[:120])
    with model.session(200, "f16", "int8x2") as session:
        expected = log_softmax(session.eval(ids, "all"))[:-1][range(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(model.score(TEXT[:120]).logprobs[1:], expected, atol=1e-5)


def test_compare_layer_by_layer(pair: Pair) -> None:
    base, other = pair
    half = slice(N_CTX // 2, N_CTX - 1)
    both = zip(chunks(base), chunks(other), strict=True)
    expected = np.concatenate([divergence(log_softmax(p), log_softmax(q))[half] for p, q in both])
    run = sb.compare(base, other, TEXT, n_ctx=N_CTX, layers=True)
    assert run.results[0].kld.value == pytest.approx(expected.mean(), rel=1e-3, abs=1e-9)
    (layers,) = run.layers
    assert len(layers) == 1 + base.info.n_layer and 0 < layers[-1].relative < 0.2
