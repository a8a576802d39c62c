"""Peak memory of perplexity does not grow with context times vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from memory import measure
from vocabularies import model_file

from subbyte.runtime.synthetic.shapes import LayerShape
from subbyte.runtime.synthetic.write import SHAPES, Synthetic, write

BESIDE = 200e6  # bytes that the process may take beside the file and the KV cache


@pytest.mark.slow
def test_a_context_of_4096_times_a_vocabulary_of_152k(tmp_path: Path) -> None:
    """benchmarks/memory.py --synthetic measures more: 32k at the model's real width."""
    shape = replace(SHAPES["qwen3-14b"], layers=(LayerShape(4, 1, 256),), n_embd=256, head_dim=64)
    write(Synthetic(shape, "Q4_0"), tmp_path / "m.gguf")
    found = measure(tmp_path / "m.gguf", 4096)
    assert found.n_scored == 2047
    assert found.logits > 10 * BESIDE
    assert 0 < found.beside <= BESIDE
    assert 0 < found.mapped < found.file + 4096  # whole pages


@pytest.mark.slow
@pytest.mark.model
def test_gemma_with_a_context_of_8192() -> None:
    """A vocabulary of 262144: logits of all tokens would take 8.6 GB."""
    found = measure(model_file("gemma3-270m"), 8192)
    assert found.n_scored == 4095
    assert found.logits > 8.5e9
    assert 0 < found.beside <= BESIDE
    assert 0 < found.mapped < found.file + 4096  # whole pages
