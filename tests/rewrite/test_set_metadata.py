"""Metadata set and removed: types as gguf-py reads them, tensors untouched, files replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.runtime.gguf.shard import Shard
from subbyte.runtime.gguf.values import MetadataValue
from subbyte.runtime.rewrite.copy import layout_of
from subbyte.runtime.rewrite.typed_value import parse_value

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf", shape={**MIXED, "n_layer": 1})
    return tmp_path / "m.gguf"


@pytest.mark.parametrize("text, type, value", [
    ("str:a: b=c", "STRING", "a: b=c"), ("str:", "STRING", ""), ("bool:true", "BOOL", True), ("u8:255", "UINT8", 255),
    ("i64:-9223372036854775808", "INT64", -(2**63)), ("f64:1e300", "FLOAT64", 1e300), ("f32:0.5", "FLOAT32", 0.5),
    ("int:7", "UINT32", 7), ("int:-7", "INT32", -7), ("int:4294967296", "UINT64", 2**32), ("float:2", "FLOAT32", 2.0),
    ('[str]:["é", ""]', "STRING", ["é", ""]), ("[u16]:[1, 65535]", "UINT16", [1, 65535]),
    ("[f32]:[1, 0.5]", "FLOAT32", [1.0, 0.5]),
    ("[bool]:[true, false]", "BOOL", [True, False]),
])  # fmt: skip
def test_values_are_of_the_type_that_is_asked_for(text: str, type: str, value: Any, model: Path) -> None:
    sb.set_metadata(model, [f"x.new={text}"], in_place=True)
    field = gguf.GGUFReader(model).fields["x.new"]
    assert field.contents() == value and field.types[-1].name == type


@pytest.mark.parametrize("text, says", [
    ("4", "no TYPE:VALUE"), ("word:4", "'word' is no type of a value; allowed are int, float, str, u8"),
    ("int:4.5", "no whole number"), ("u8:256", "256 is out of the range of u8"), ("u32:-1", "out of the range of u32"),
    ("int:" + "9" * 30, "out of the range of i64"), ("f32:1e39", "out of the range of f32"), ("f32:nan", "no finite"),
    ("bool:yes", "allowed are true and false"), ("[u8]:7", "no array in JSON"), ("[u8]:[300]", "range of u8"),
    ("[u8]:[true]", "true in an array of u8"), ("[str]:[1]", "1 in an array of str"),
    ("[f32]:[NaN]", "NaN in an array"),
    ("[[u8]]:[]", "no type of a value"), ("[u8]:" + "[" * 100_000, "no array in JSON"), ("str:\udcff", "not UTF-8"),
])  # fmt: skip
def test_what_is_no_value(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        parse_value(text, None)
    assert says in str(error.value)


def test_int_and_float_keep_the_type_that_is_there() -> None:
    assert parse_value("int:3", MetadataValue(11, 5)) == (11, 3)
    assert parse_value("float:3", MetadataValue(12, 5.0)) == (12, 3.0)
    was_float = parse_value("int:3", MetadataValue(6, 5.0))
    assert was_float == (6, 3.0) and type(was_float.data) is float
    with pytest.raises(ValueError, match="is u8 in the file; give int:"):
        parse_value("float:3", MetadataValue(0, 5))
    with pytest.raises(ValueError, match="range of f32"):
        parse_value("int:1" + "0" * 400, MetadataValue(6, 5.0))
    with pytest.raises(ValueError, match="range of u8"):
        parse_value("int:256", MetadataValue(0, 5))


def test_all_else_stays(model: Path, tmp_path: Path) -> None:
    before = gguf.GGUFReader(model)
    result = sb.set_metadata(
        model, ["general.name=str:new", "x.y=int:1"], remove=["tokenizer.ggml.add_bos_token"], out=tmp_path / "out.gguf"
    )
    after = gguf.GGUFReader(tmp_path / "out.gguf")
    assert [change.key for change in result.changes] == ["general.name", "x.y", "tokenizer.ggml.add_bos_token"]
    assert [change.now for change in result.changes] == ["str:new", "u32:1", None]
    assert [change.was is None for change in result.changes] == [False, True, False]
    changed = {change.key for change in result.changes}
    kept = [key for key in before.fields if key not in changed]
    assert [key for key in after.fields if key not in changed] == kept
    assert all(after.fields[key].contents() == before.fields[key].contents() for key in kept if key[:4] != "GGUF")
    assert [(t.name, t.data.tobytes()) for t in after.tensors] == [(t.name, t.data.tobytes()) for t in before.tensors]
    back = ["general.name=str:" + before.fields["general.name"].contents()]
    sb.set_metadata(tmp_path / "out.gguf", back, remove=["x.y"], in_place=True)
    assert (tmp_path / "out.gguf").stat().st_size < model.stat().st_size


def test_in_place_is_the_old_file_or_the_new_one(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.chmod(0o640)
    before = model.read_bytes()

    def crash(*_: object) -> None:
        assert model.read_bytes() == before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sb.set_metadata(model, ["general.name=str:x"], in_place=True, on_progress=crash)
    with monkeypatch.context() as patch, pytest.raises(sb.ResourceError, match="can't write"):
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "input/output error")))
        sb.set_metadata(model, ["general.name=str:x"], in_place=True)
    assert model.read_bytes() == before
    with sb.load(model, threads=1) as loaded:  # which goes on with the file that it has open
        expected = loaded.score("the thing").logprobs
        sb.set_metadata(loaded, ["general.name=str:" + "long " * 99], in_place=True)
        assert np.array_equal(loaded.score("the thing").logprobs, expected, equal_nan=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"] and model.stat().st_mode & 0o777 == 0o640
    with sb.load(model, threads=1) as loaded:
        assert loaded.metadata["general.name"] == "long " * 99
        assert np.array_equal(loaded.score("the thing").logprobs, expected, equal_nan=True)


def test_of_a_split_model_the_first_file_changes(model: Path, tmp_path: Path) -> None:
    parts = [Path(part.path) for part in sb.split(model, tmp_path / "s", max_tensors=5).parts]
    before = [path.read_bytes() for path in parts]
    sb.set_metadata(parts[1], ["general.name=str:new"], in_place=True)
    assert [path.read_bytes() == old for path, old in zip(parts, before, strict=True)] == [
        False,
        *[True] * (len(parts) - 1),
    ]
    sb.set_metadata(parts[1], ["x=int:1"], out=tmp_path / "whole.gguf")
    with sb.GGUF.open(parts[0]) as split, sb.GGUF.open(tmp_path / "whole.gguf") as whole, sb.GGUF.open(model) as old:
        assert split.metadata["general.name"] == whole.metadata["general.name"] == "new" and len(whole.paths) == 1
        assert {n: bytes(t.data) for n, t in whole.tensors.items()} == {
            n: bytes(t.data) for n, t in old.tensors.items()
        }


def test_what_another_file_has_too_is_not_changed_in_one(model: Path, tmp_path: Path) -> None:
    first, *_, last = [Path(part.path) for part in sb.split(model, tmp_path / "s", max_tensors=5).parts]
    with sb.GGUF.open(first) as split, Shard(last) as shard:
        own = {**shard.metadata.entries, "general.name": split.metadata.entries["general.name"]}
        tensors = [t for t in split.tensors.values() if t.file == split.files[-1]]
        padded = [bytes(t.data).ljust(-(-t.n_bytes // 32) * 32, b"\0") for t in tensors]
        (tmp_path / "new").write_bytes(layout_of(own, tensors, 32).head + b"".join(padded))
    (tmp_path / "new").rename(last)
    with pytest.raises(sb.ModelRefused, match=rf"{last.name} has 'general.name' too, .*; write .* into one file"):
        sb.set_metadata(first, ["general.name=str:new"], in_place=True)
    sb.set_metadata(first, ["general.name=str:new"], out=tmp_path / "whole.gguf")


def test_refusals(model: Path, tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("m.gguf", "link.gguf")
    (tmp_path / "t.jinja").write_text("{{ messages }}\n")
    for line, code, says in [
        ("m.gguf a=int:1", 2, "give either --out OUT or --in-place"),
        ("m.gguf a=int:1 --in-place --out b", 2, "give either --out OUT or --in-place"),
        ("m.gguf --in-place", 2, "nothing to change"),
        ("m.gguf a --in-place", 2, "'a' is no KEY=TYPE:VALUE"),
        ("m.gguf a=int:x --in-place", 2, "a: 'x' is no whole number"),
        ("m.gguf a=int:1 a=int:2 --in-place", 2, "'a' is given twice"),
        ("m.gguf --remove general.nam --in-place", 2, "no metadata 'general.nam' (did you mean general.name?)"),
        ("m.gguf general.alignment=int:64 --in-place", 2, "says how the file is built"),
        ("m.gguf split.count=int:2 --in-place", 2, "says how the file is built"),
        ("m.gguf a=int:1 --out m.gguf --overwrite", 4, "is the model itself"),
        ("link.gguf a=int:1 --in-place", 4, "a link, as stores of models have"),
        ("smollm2 a=int:1 --in-place", 4, "no such file"),
        ("t.jinja a=int:1 --in-place", 3, "not GGUF"),
        ("m.gguf --from-file x --in-place", 2, "no KEY=FILE"),
        ("m.gguf --from-file x=none --in-place", 4, "none"),
        ("m.gguf --from-file x=m.gguf --in-place", 2, "m.gguf is not UTF-8"),
        ("m.gguf GGUF.version=int:4 --in-place", 2, "says how the file is built"),
        ("m.gguf --remove general.architecture --in-place", 3, "the model could not be loaded any more: m.gguf: met"),
        ("m.gguf llama.block_count=str:two --out o", 3, "the model could not be loaded any more"),
        ("m.gguf llama.block_count=int:9 --in-place", 3, "could not be loaded any more: tensor blk.1."),
        ("m.gguf llama.feed_forward_length=int:8 --in-place", 3, "could not be loaded any more: m.gguf: tensor"),
        ("m.gguf --from-file tokenizer.chat_template=t.jinja --in-place", 0, ""),
    ]:
        found = command_line("set-metadata", *line.split())
        assert found[0] == code and says in found[2] and found[2].count("\n") == bool(says), (line, found)
    with sb.GGUF.open("m.gguf") as gguf_file:
        assert gguf_file.metadata["tokenizer.chat_template"] == "{{ messages }}\n"
        assert np.isfinite(np.frombuffer(gguf_file.tensors["output_norm.weight"].data, np.float32)).all()
