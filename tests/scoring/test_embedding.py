"""Embeddings: what numpy computes of the hidden states, whatever the company, and what a file says of pooling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import forward, write_model

import subbyte as sb
from subbyte.runtime.embedding import POOLINGS, Pooling

TEXTS = ["the inn", "a", "in the other inn then rings the one horn. " * 12, "and the can", b"\xff\xfe", "the inn"]
SHORT = [text for text in TEXTS if len(text) < 20]
CACHE = 3e-3  # what float16 keys and values cost; hidden values are about 1


@pytest.fixture(scope="module", params=["llama", "gemma3", "qwen35", "lfm2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, request.param)
    with sb.load(path, threads=2) as model:
        yield model


def small(path: Path, **metadata: object) -> sb.Model:
    write_model(path, **metadata)  # type: ignore[arg-type]
    return sb.load(path, threads=2)


def hidden_states(weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """What the head reads, [n, 64]: the oracle gives logits, of which there are more, so that they tell."""
    logits = forward("llama", weights, tokens)
    states: np.ndarray = np.linalg.lstsq(weights["output"].astype(np.float64), logits.T)[0].T
    return states


@pytest.mark.parametrize("pooling", POOLINGS)
def test_embeddings_are_pooled_hidden_states(tmp_path: Path, pooling: Pooling) -> None:
    weights = write_model(tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as model:
        found = model.embed(SHORT, pooling=pooling, normalize=False, activations="float32")
        unit = model.embed(SHORT, pooling=pooling, activations="float32")
        for text, row in zip(SHORT, found, strict=True):
            hidden = hidden_states(weights, model.tokenize(text))
            expected = {"mean": hidden.mean(0), "last": hidden[-1], "cls": hidden[0]}[pooling]
            np.testing.assert_allclose(row, expected, atol=CACHE)
    assert found.dtype == unit.dtype == np.float32 and found.shape == (len(SHORT), 64)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(unit, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_company_changes_no_bit(model: sb.Model, pooling: Pooling, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = np.concatenate([model.embed(text, pooling=pooling) for text in TEXTS])
    assert np.array_equal(model.embed(TEXTS, pooling=pooling), alone)
    assert np.array_equal(alone[0], alone[-1])
    monkeypatch.setattr("subbyte.runtime.embedding.MAX_SEQUENCES", 2)
    monkeypatch.setattr("subbyte.runtime.session.runner.MAX_BATCH", 32)
    assert np.array_equal(model.embed(TEXTS, pooling=pooling), alone)


def test_pooling_is_the_files_or_the_mean(tmp_path: Path) -> None:
    for type, pooling in {1: "mean", 2: "cls", 3: "last", 0: "mean", None: "mean"}.items():
        given = {} if type is None else {"pooling_type": type}
        with small(tmp_path / "m.gguf", **given) as model:
            assert np.array_equal(model.embed(["the inn"]), model.embed(["the inn"], pooling=pooling))  # type: ignore[arg-type]
    with small(tmp_path / "m.gguf", pooling_type=4) as model:
        with pytest.raises(sb.UnsupportedError, match=r"llama.pooling_type is 4: the model ranks texts; .* pooling"):
            model.embed("a")
        assert model.embed("a", pooling="last").shape == (1, 64)


def test_bos_and_eos_where_the_model_wants_them(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf")
    both = {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}
    with sb.load(tmp_path / "m.gguf") as plain, sb.load(tmp_path / "m.gguf", override_kv=both) as model:
        found = model.embed("a", normalize=False, activations="float32")[0]
        np.testing.assert_allclose(found, hidden_states(weights, [266, 97, 267]).mean(0), atol=CACHE)
        assert model.embed("", pooling="last").shape == (1, 64)
        with pytest.raises(ValueError, match=r"texts\[1\] has no tokens to embed"):
            plain.embed(["a", ""])


def test_progress_counts_texts(model: sb.Model) -> None:
    calls: list[tuple[int, int]] = []
    model.embed(TEXTS, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(TEXTS), len(TEXTS)) and calls == sorted(calls)
    assert model.embed([]).shape == (0, 64)


def test_a_text_too_long_is_named_before_anything_is_computed(model: sb.Model) -> None:
    trained, calls = model.info.n_ctx_train, list[int]()
    with pytest.raises(sb.ContextOverflow, match=rf"texts\[1\] has {trained + 1} tokens, the model was trained for"):
        model.embed(["a", "\n" * (trained + 1)], on_progress=lambda done, total: calls.append(done))
    assert not calls and model.embed(["\n" * trained]).shape == (1, 64)


def test_a_damaged_model_has_no_embeddings(tmp_path: Path) -> None:
    norm = np.full(64, np.inf, np.float32)
    with small(tmp_path / "m.gguf", tensors={"output_norm.weight": norm}) as model:
        with pytest.raises(sb.NumericError, match="not finite"):
            model.embed("a")


def test_wrong_arguments(model: sb.Model) -> None:
    with pytest.raises(ValueError, match="pooling is 'max', but must be 'mean' or 'last' or 'cls'"):
        model.embed("a", pooling="max")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"texts\[0\] is 3, but must be a text"):
        model.embed([3])  # type: ignore[list-item]
