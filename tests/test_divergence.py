"""What int8 activations cost, as KL divergence from float activations, is no more than what llama.cpp's cost it.

Its figures were recorded with `benchmarks/divergence.py MODEL --types TYPE --peer-python PYTHON` (llama-cpp-python
0.3.36, built natively for a Zen 5), on the text and the positions that are used here: 512 tokens of benchmarks/alice.txt.
Where it too has a scale per 32 activations, the two errors are of one size and which is the smaller one is chance: hence
`CHANCE`, some three standard errors of the ratio on SmolLM2.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_mixed_model
from vocabularies import model_file

import subbyte as sb
from subbyte.kernels import isas
from subbyte.runtime.session import Activations

ROOT = Path(__file__).resolve().parents[1]
REFS = ROOT.parent / "shared" / "refs" / "tiny"
SPEC = importlib.util.spec_from_file_location("divergence", ROOT / "benchmarks" / "divergence.py")
assert SPEC and SPEC.loader
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

CHANCE = 1.2
POSITIONS = 512
each_isa = pytest.mark.parametrize("isa", isas())


def cost(path: Path, activations: Activations, isa: str | None = None, cuts: int = POSITIONS) -> float:
    """Mean KL in nats of the activations' logits from those of float activations, evaluated `cuts` tokens at a time."""
    with sb.load(path, isa=isa) as model:
        tokens = model.tokenize(script.TEXT.read_text())[:POSITIONS]

        def logits(activations: Activations, cuts: int) -> np.ndarray:
            with model.session(POSITIONS, "f32", activations) as session:
                return np.concatenate([session.eval(tokens[i : i + cuts], "all") for i in range(0, POSITIONS, cuts)])

        return float(script.divergence(logits("float32", POSITIONS), logits(activations, cuts)).mean())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "m.gguf"
    write_mixed_model(path)
    return path


@pytest.mark.parametrize("cuts", [POSITIONS, 4, 1])
@each_isa
def test_random_blocks_of_every_type(isa: str, cuts: int, mixed: Path) -> None:
    """MODEL is the file of write_mixed_model in tiny_models.py, TYPE is as-is."""
    assert cost(mixed, "int8", isa, cuts) <= 2.43e-4
    assert cost(mixed, "int8x2", isa, cuts) <= 1e-8


@pytest.mark.skipif(not REFS.is_dir(), reason="the reference models are not at hand")
@each_isa
def test_the_reference_model_of_every_type(isa: str) -> None:
    assert cost(REFS / "mixed.gguf", "int8", isa) <= 1.73e-3
    assert cost(REFS / "mixed.gguf", "int8x2", isa) <= 1e-7


@pytest.mark.model
@pytest.mark.parametrize(
    "kind, theirs",
    [("Q4_0", 2.97e-3)],
)
def test_smollm2_in_another_type(kind: str, theirs: float, tmp_path: Path) -> None:
    """Rows of 576, which types of 256 a block do not fill, take the types of the script's NEXT_BEST."""
    script.encode(model_file("smollm2"), tmp_path / "m.gguf", kind)
    assert cost(tmp_path / "m.gguf", "int8") <= theirs * CHANCE
    assert cost(tmp_path / "m.gguf", "int8x2") <= 1e-6
