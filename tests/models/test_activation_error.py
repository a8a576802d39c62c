"""What int8 activations cost, as KL divergence from float activations, is no more than what llama.cpp's cost it.

Its figures were recorded with `benchmarks/divergence.py MODEL --types TYPE --positions N --peer-python PYTHON`
(llama-cpp-python 0.3.36, built natively for a Zen 5), on the text and the positions used here. Where it too has a scale
per 32 activations, the two errors are of one size and which is the smaller is chance: hence `CHANCE`, some three
standard errors of the ratio on SmolLM2, see docs/accuracy.md.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT, SHARED
from tiny_models import write_mixed_model
from vocabularies import model_file

import subbyte as sb
from subbyte.runtime.types import Activations

REFS = SHARED / "refs" / "tiny"
SPEC = importlib.util.spec_from_file_location("divergence", ROOT / "benchmarks" / "divergence.py")
assert SPEC and SPEC.loader
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

# llama.cpp's mean KL in nats.
MIXED, REFERENCE = 2.98e-4, 1.91e-3
SMOLLM2 = {"Q4_0": 3.03e-3, "Q6_K": 4.60e-3, "IQ3_S": 1.04e-2}
CHANCE = 1.15


def cost(path: Path, activations: Activations, positions: int, at_once: int = 512) -> float:
    """Mean KL in nats of the activations' logits, evaluated some tokens at once, from those of float activations."""
    with sb.load(path) as model:
        tokens = model.tokenize(script.TEXT.read_text())[:positions]

        def logits(activations: Activations, n: int) -> np.ndarray:
            with model.session(positions, "f32", activations) as session:
                return np.concatenate([session.eval(tokens[i : i + n], "all") for i in range(0, positions, n)])

        return float(script.divergence(logits("float32", positions), logits(activations, at_once)).mean())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "m.gguf"
    write_mixed_model(path)
    return path


@pytest.mark.parametrize("at_once", [128, 4, 1])
def test_random_blocks_of_every_type(at_once: int, mixed: Path) -> None:
    """MODEL is the file of write_mixed_model in tiny_models.py, TYPE as-is, N 128."""
    assert cost(mixed, "int8", 128, at_once) <= MIXED
    assert cost(mixed, "int8x2", 128, at_once) <= MIXED / 1e4


@pytest.mark.skipif(not REFS.is_dir(), reason="the reference models are not at hand")
def test_the_reference_model_of_every_type() -> None:
    assert cost(REFS / "mixed.gguf", "int8", 128) <= REFERENCE
    assert cost(REFS / "mixed.gguf", "int8x2", 128) <= REFERENCE / 1e4


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("kind, theirs", SMOLLM2.items())
def test_smollm2_in_another_type(kind: str, theirs: float, tmp_path: Path) -> None:
    """N 512. Rows of 576, which types of 256 a block do not fill, take what the script's NEXT_BEST says."""
    script.encode(model_file("smollm2"), tmp_path / "m.gguf", kind)
    assert cost(tmp_path / "m.gguf", "int8", 512) <= theirs * CHANCE
    assert cost(tmp_path / "m.gguf", "int8x2", 512) <= theirs / 1e4
