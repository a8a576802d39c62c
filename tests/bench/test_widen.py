"""benchmarks/widen.py: a model with zero heads and columns computes what it computed without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import LLAMA, write_model
from vocabularies import model_file
from widen import widen

import subbyte as sb

TEXT = "The Tower of London is a castle on the north bank of the River Thames. "


def logits(path: Path, tokens: list[int] | None = None) -> NDArray[np.float32]:
    with sb.load(path) as model, model.session(64, "f32", "float32") as session:
        return session.eval(model.tokenize(TEXT)[:64], "all")


@pytest.mark.parametrize("width", [64, 96, 256])
def test_a_wider_model_is_the_same_function(width: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", width)
    with sb.load(tmp_path / "wide.gguf") as wide:
        assert wide.config.n_embd == width
        assert wide.gguf.tensors["blk.0.attn_k.weight"].shape == (width, width // 2)
    np.testing.assert_allclose(logits(tmp_path / "wide.gguf"), logits(tmp_path / "m.gguf"), atol=1e-5)


@pytest.mark.parametrize("width", [80, 256])
def test_a_wider_gemma_is_the_same_function(width: int, tmp_path: Path) -> None:
    """But for the epsilon of the norms of its heads."""
    write_model(tmp_path / "m.gguf", "gemma3")
    widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", width)
    with sb.load(tmp_path / "wide.gguf") as wide, sb.load(tmp_path / "m.gguf") as narrow:
        assert wide.config.n_embd == width > narrow.config.n_embd
        assert wide.gguf.tensors["blk.0.attn_q.weight"].shape[1] == narrow.gguf.tensors["blk.0.attn_q.weight"].shape[1]
    np.testing.assert_allclose(logits(tmp_path / "wide.gguf"), logits(tmp_path / "m.gguf"), atol=2e-4)


@pytest.mark.parametrize("width", [32, 80])
def test_rows_must_hold_whole_groups_of_heads(width: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with pytest.raises(ValueError, match=f"a width of {width}; it must be a multiple of 32 and at least 64"):
        widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", width)


def test_a_model_with_wider_heads_than_its_stream(tmp_path: Path) -> None:
    shape = {**LLAMA, "n_embd": 32}
    write_model(tmp_path / "m.gguf", shape=shape)
    with pytest.raises(ValueError, match="at least 64"):
        widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", 32)
    widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", 64)
    np.testing.assert_allclose(logits(tmp_path / "wide.gguf"), logits(tmp_path / "m.gguf"), atol=1e-5)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "qwen3")
    with pytest.raises(ValueError, match="of architecture qwen3; only llama and gemma3 can be widened"):
        widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", 128)
    write_model(tmp_path / "m.gguf", tensors={"blk.0.attn_q.bias": np.zeros(64, np.float32)})
    with pytest.raises(ValueError, match=r"tensor blk\.0\.attn_q\.bias: not known how to widen it"):
        widen(tmp_path / "m.gguf", tmp_path / "wide.gguf", 128)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2", "gemma3-270m"])
def test_real_models_with_rows_of_768(name: str, tmp_path: Path) -> None:
    path = model_file(name)
    widen(path, tmp_path / "wide.gguf", 768)
    wide, narrow = logits(tmp_path / "wide.gguf"), logits(path)
    (tmp_path / "wide.gguf").unlink()
    assert np.abs(wide - narrow).max() < 1e-3 < np.abs(narrow).max()
