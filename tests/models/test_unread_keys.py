"""Hyper-parameters that nothing reads: what would change the results is refused, whatever gguf-py can write."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
from tiny_models import SHAPES, write_model

import subbyte as sb
from subbyte.models._unread import NO_MATTER, OFF

BY_THE_MODEL = {
    "attention.key_length_swa", "attention.value_length_swa", "attention.scale", "embedding_length_out",
    "rope.dimension_count_swa", "rope.freq_base_swa", "attention.sliding_window",
}  # fmt: skip
ELSEWHERE = {
    "wkv.head_size", "posnet.embedding_length", "posnet.block_count", "convnext.embedding_length",
    "convnext.block_count", "shortconv.l_cache", "kda.head_dim", "classifier.output_labels", "{dense}_feat_in",
    "{dense}_feat_out",
}  # fmt: skip
"""Of architectures that are not run here, which would lack their tensors: a warning says that they are not known."""


def keys_of(kind: type) -> Iterator[str]:
    """The keys of a model that gguf-py knows, without the architecture's prefix."""
    for name, value in vars(kind).items():
        if isinstance(value, str) and value.startswith("{arch}."):
            yield value.removeprefix("{arch}.")
        elif isinstance(value, type) and not name.startswith("_"):
            yield from keys_of(value)


def open_model(path: Path, arch: str = "llama", **keys: Any) -> set[str]:
    """Loads a tiny model with these keys; the keys that were read."""
    write_model(path, arch, **keys)
    with sb.load(path) as model:
        return {key.removeprefix(f"{arch}.") for key in model.metadata.used}


def test_every_key_of_gguf_py_is_known_here(tmp_path: Path) -> None:
    read = set.union(*(open_model(tmp_path / f"{arch}.gguf", arch) for arch in SHAPES)) - {"expert_count"}
    known = read | OFF.keys() | NO_MATTER | BY_THE_MODEL | {"expert_count"}
    assert set(keys_of(gguf.constants.Keys)) - ELSEWHERE <= known
    assert not OFF.keys() & NO_MATTER


@pytest.mark.parametrize("key", [*OFF, *sorted(BY_THE_MODEL - {"attention.sliding_window"})])
def test_what_would_change_the_results_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(sb.UnsupportedError, match=rf"llama\.{key} = 7.* is not computed for llama"):
        open_model(tmp_path / "m.gguf", **{key: 7})
    open_model(tmp_path / "m.gguf", **{key: OFF.get(key, (None,))[-1]})


def test_what_says_the_same_as_another_key_is_taken(tmp_path: Path) -> None:
    same = {"attention.key_length_swa": 16, "attention.scale": 0.25, "rope.freq_base_swa": 10000.0}
    open_model(tmp_path / "m.gguf", **same)


def test_a_key_that_one_architecture_reads_is_refused_in_another(tmp_path: Path) -> None:
    assert "final_logit_softcapping" in open_model(tmp_path / "m.gguf", "gemma3", final_logit_softcapping=30.0)
    with pytest.raises(sb.UnsupportedError, match="final_logit_softcapping"):
        open_model(tmp_path / "m.gguf", "qwen3", final_logit_softcapping=30.0)


def test_a_window_left_out_and_unknown_keys_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "subbyte"):
        open_model(tmp_path / "m.gguf", **{"attention.sliding_window": 1 << 30, "vocab_size": 7})
        assert not caplog.records
        open_model(tmp_path / "m.gguf", **{"attention.sliding_window": 32, "warp_factor": 9})
    assert "no window of 32" in caplog.text and "passed over: warp_factor" in caplog.text
