"""Metadata that users give in place of the file's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.errors import FormatError
from subbyte.runtime.gguf.identical import first_of_same
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.override import parse_override


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


def test_given_values_count(path: Path) -> None:
    given = {"llama.context_length": 77, "general.name": "é", "tokenizer.ggml.add_bos_token": False, "x.y": 0.5}
    with sb.load(path, override_kv=given) as model:
        assert model.info.n_ctx_train == 77 and model.info.name == "é" and not model.tokenizer.add_bos
        assert model.metadata.f32("x.y") == 0.5
    with sb.load(path) as model:
        assert model.info.n_ctx_train != 77 and "x.y" not in model.metadata


def test_a_number_keeps_the_type_that_the_file_has(path: Path) -> None:
    epsilon = "llama.attention.layer_norm_rms_epsilon"
    given = {"llama.context_length": 77, epsilon: 0.1, "llama.block_count": 2**40, "x.y": 5}
    with GGUF.open(path, override_kv=given) as opened:
        types = {key: opened.metadata.entries[key].type_name for key in given}
        assert opened.metadata[epsilon] == float(np.float32(0.1))
    assert types == {**dict.fromkeys(given, "u64"), "llama.context_length": "u32", epsilon: "f32"}


def test_an_odd_id_can_be_given_right(path: Path) -> None:
    for id in (2**32 - 1, -1, 3):
        with sb.load(path, override_kv={"tokenizer.ggml.eos_token_id": id}) as model:
            assert (model.tokenizer.eos == 3) == (id == 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=int:-3", -3), ("a=float:1e-5", 1e-5), ("a=bool:true", True), ("a=str:x=y:z", "x=y:z"), ("a=str:", "")],
)
def test_text_of_the_command_line(text: str, value: Any) -> None:
    key, found = parse_override(text)
    assert key == text.split("=")[0] and found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["", "a", "a=3", "a=u32:3", "=int:3", "a=int:x", "a=int:", "a=bool:1", "a=float:y"])
def test_text_that_says_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"KEY=TYPE:VALUE|allowed is"):
        parse_override(text)


@pytest.mark.parametrize("values", [{"a": 1 << 64}, {"a": float("nan")}, {"a": [1]}, {"": 1}, {1: 1}, {"split.no": 1}])
def test_values_that_can_not_be(path: Path, values: Any) -> None:
    with pytest.raises(ValueError, match="override_kv"):
        GGUF.open(path, override_kv=values)


def test_a_value_of_another_kind_is_refused_where_it_is_read(path: Path) -> None:
    with pytest.raises(FormatError, match=r"context_length.* is str 'long'"):
        sb.load(path, override_kv={"llama.context_length": "long"})


def test_commands_take_it(path: Path, command_line: Any) -> None:
    line = ("generate", str(path), "-p", "a", "-n", "1", "-o", "json", "--override-kv")
    assert command_line(*line, "llama.context_length=int:3", "-c", "2")[0] == 0
    code, _, err = command_line(*line, "llama.context_length=int:0")
    assert code == 3 and "llama.context_length" in err
    code, _, err = command_line(*line, "llama.context_length=3")
    assert code == 2 and "KEY=TYPE:VALUE" in err


def test_a_model_with_other_metadata_is_not_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path)
    other = {"llama.rope.freq_base": 500.0}
    files = [GGUF.open(path), GGUF.open(path, override_kv=other), GGUF.open(path, override_kv=other), GGUF.open(path)]
    assert first_of_same(files) == (0, 1, 1, 0)
