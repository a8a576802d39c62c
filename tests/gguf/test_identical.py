"""Whether two files hold the same model: every byte of tensors and hyper-parameters counts, names don't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import SHAPES, write_model

from subbyte.runtime.gguf.identical import first_of_same, same_model
from subbyte.runtime.gguf.model_file import GGUF

OTHERS: dict[str, tuple[dict[str, Any], bool]] = {
    "equal": ({}, True),
    "another name": ({"strings": {"general.name": "b"}}, True),
    "another chat template": ({"strings": {"tokenizer.chat_template": "{{ messages }}"}}, True),
    "other weights": ({"seed": 2}, False),
    "other types": ({"types": ["Q8_0"]}, False),
    "one tensor more": ({"tensors": {"x.weight": np.ones(4, np.float32)}}, False),
    "another hyper-parameter": ({"rope.freq_base": 5000.0}, False),
    "other tokens": ({"n_unused": 3}, False),
    "a shape of its own": ({"shape": {**SHAPES["llama"], "n_layer": 1}}, False),
}


@pytest.mark.parametrize("other", OTHERS)
def test_same_model(other: str, tmp_path: Path) -> None:
    arguments, expected = OTHERS[other]
    write_model(tmp_path / "a.gguf")
    write_model(tmp_path / "b.gguf", **arguments)
    with GGUF.open(tmp_path / "a.gguf") as a, GGUF.open(tmp_path / "b.gguf") as b:
        assert same_model(a, b) is same_model(b, a) is expected
        assert first_of_same([a, b, a, b]) == ((0, 0, 0, 0) if expected else (0, 1, 0, 1))


def test_the_last_byte_counts(tmp_path: Path) -> None:
    write_model(tmp_path / "a.gguf")
    data = bytearray((tmp_path / "a.gguf").read_bytes())
    data[-1] ^= 1
    (tmp_path / "b.gguf").write_bytes(data)
    with GGUF.open(tmp_path / "a.gguf") as a, GGUF.open(tmp_path / "b.gguf") as b:
        assert not same_model(a, b)
