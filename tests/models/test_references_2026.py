"""Tiny models that llama.cpp's converter wrote, with its logits: every file whose architecture runs here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_logits import divergence, log_softmax, logits
from paths import SHARED

from subbyte.kernels import isas
from subbyte.models import ARCHITECTURES
from subbyte.runtime.gguf.model_file import GGUF

REFS = SHARED / "refs" / "2026"
BLOCKS_OF_INT8 = {"gpt-oss-mxfp4"}  # llama.cpp rounds activations where they meet these: near, but not equal
HALVES = ("gemma4",)  # llama.cpp's GELU is a table of halves
pytestmark = pytest.mark.skipif(not REFS.is_dir(), reason="reference logits are not at hand")


def runs(path: Path) -> bool:
    with GGUF.open(path) as file:
        return file.metadata.str("general.architecture") in ARCHITECTURES


NAMES = sorted(path.stem for path in REFS.glob("*.gguf") if runs(path))


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_llama_cpp(name: str, isa: str) -> None:
    path, ref = REFS / f"{name}.gguf", np.load(REFS / f"{name}.npz")
    tokens = [int(t) for t in ref["tokens"]]
    whole = logits(path, tokens, activations="float32", isa=isa)
    if name in BLOCKS_OF_INT8:
        assert np.abs(whole - ref["logits_hf"]).max() < 1e-4
        assert divergence(log_softmax(ref["logits"]), log_softmax(whole)).max() < 2e-3
    else:
        assert np.abs(whole - ref["logits"]).max() < (5e-3 if name.startswith(HALVES) else 1e-4)
    for steps in ([1] * len(tokens), [1, 7, 30, 32]):
        np.testing.assert_array_equal(logits(path, tokens, steps, activations="float32", isa=isa, threads=3), whole)
