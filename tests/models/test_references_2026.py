"""Tiny models that llama.cpp's converter wrote, with its logits: every file whose architecture runs here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_logits import divergence, log_softmax, logits
from paths import SHARED

import subbyte as sb
from subbyte.kernels import isas
from subbyte.models import ARCHITECTURES
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.session.runner import Segment

REFS = SHARED / "refs" / "2026"
BLOCKS_OF_INT8 = {"gpt-oss-mxfp4"}  # llama.cpp rounds activations where they meet these: near, but not equal
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
        assert np.abs(whole - ref["logits"]).max() < 1e-4
        assert np.abs(whole - ref["logits_hf"]).max() < 1e-3
    for steps in ([1] * len(tokens), [1, 7, 30, 32]):
        np.testing.assert_array_equal(logits(path, tokens, steps, activations="float32", isa=isa, threads=3), whole)


@pytest.mark.parametrize("name", NAMES)
def test_logits_after_going_back_in_forks_from_files_and_in_company(name: str, tmp_path: Path) -> None:
    path, ref = REFS / f"{name}.gguf", np.load(REFS / f"{name}.npz")
    tokens = [int(t) for t in ref["tokens"]]
    with sb.load(path, threads=2) as model, model.session(80, "f32", "float32") as session:
        whole = session.eval(tokens, "all")
        session.rewind(0)
        session.eval(tokens[:25], "none")
        session.checkpoint()
        session.eval([*tokens[25:40], *tokens[:9]], "none")
        session.rewind(33)
        with session.fork() as other:
            np.testing.assert_array_equal(other.eval(tokens[33:], "all"), whole[33:])
        session.save(tmp_path / "s")
        np.testing.assert_array_equal(session.eval(tokens[33:], "all"), whole[33:])
        session.load(tmp_path / "s")
        np.testing.assert_array_equal(session.eval(tokens[33:], "all"), whole[33:])
        runner, _ = session._opened()
        sequences = [runner.new_sequence("f32") for _ in range(3)]
        rows = [
            runner.step([
                Segment(sequence, np.array(tokens[start + i : start + 10 + i], np.int32), range(10))
                for i, sequence in enumerate(sequences)
            ])
            for start in (0, 10)
        ]  # fmt: skip
        assert rows[0] is not None and rows[1] is not None
        np.testing.assert_array_equal(np.concatenate([rows[0][:10], rows[1][:10]]), whole[:20])
