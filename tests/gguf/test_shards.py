"""Models in several files: any part opens all, and a part that is missing or does not belong is named."""

import io
import json
import shutil
import sys
from functools import partial

import gguf
import numpy as np
import pytest
from gguf_builder import I32, STR, U16, pair, tensor
from gguf_builder import gguf as build
from tiny_models import LLAMA, write_model

import subbyte as sb
from subbyte.cli.main import run
from subbyte.errors import FormatError, ModelChanged, ModelNotFound
from subbyte.runtime.gguf.model_file import GGUF

N_PARTS, N_TENSORS = 4, 21


@pytest.fixture
def write_parts(tmp_path, monkeypatch):
    """Writes a tiny model with gguf-py in parts of at most `most` tensors, and returns their paths."""

    def write(name="m", most=6, **options):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(gguf, "GGUFWriter", partial(gguf.GGUFWriter, split_max_tensors=most))
        write_model(folder / "m.gguf", **options)
        monkeypatch.undo()
        return sorted(folder.iterdir())

    return write


@pytest.fixture
def parts(write_parts):
    parts = write_parts()
    assert len(parts) == N_PARTS
    return parts


def name_of(number, count=N_PARTS):
    return f"m-{number:05}-of-{count:05}.gguf"


def logits(path):
    with sb.load(path, threads=1) as model, model.session(16) as session:
        return session.eval([1, 2, 3])


def test_any_part_is_the_whole_model(parts, tmp_path):
    write_model(tmp_path / "whole.gguf")
    expected = logits(tmp_path / "whole.gguf")
    for name in (name_of(1, 2), name_of(5), "n-00001-of-00004.gguf", "m.gguf"):
        (parts[0].parent / name).write_bytes(b"another file of the folder")
    with GGUF.open(tmp_path / "whole.gguf") as whole:
        for path in parts:
            with GGUF.open(path) as file:
                assert {name: bytes(t.data) for name, t in file.tensors.items()} == {
                    name: bytes(t.data) for name, t in whole.tensors.items()
                }
                assert file.size == sum(part.stat().st_size for part in parts)
                assert file.files == tuple(map(str, parts))
                assert file.metadata.u32("llama.block_count") == 2
            assert np.array_equal(logits(path), expected)


@pytest.mark.parametrize("lost", range(N_PARTS))
def test_a_missing_part_is_named(parts, lost):
    parts[lost].unlink()
    for given in set(parts) - {parts[lost]}:
        with pytest.raises(ModelNotFound) as caught:
            GGUF.open(given)
        number = parts.index(given) + 1
        assert str(caught.value) == (
            f"{given}: is part {number} of 4, missing: {name_of(lost + 1)}; fetch all parts into one folder"
        )
    with pytest.raises(ModelNotFound, match=rf"no file and no model named '.*{name_of(lost + 1)}'"):
        sb.load(parts[lost])


def test_many_missing_parts_are_shortened(tmp_path):
    path = tmp_path / "m-00700-of-65535.gguf"
    path.write_bytes(build([pair("split.no", U16, 699), pair("split.count", U16, 65535)]))
    with pytest.raises(ModelNotFound, match=r"m-00001-of-65535.gguf, .*, m-00003-of-65535.gguf and maybe more; fetch"):
        GGUF.open(path)


def shard(number, count, tensors=(), total=N_TENSORS, data=b""):
    pairs = [
        pair("split.no", U16, number - 1),
        pair("split.count", U16, count),
        pair("split.tensors.count", I32, total),
    ]
    return build(pairs, tensors, data)


CLAIMS = [pair("split.no", U16, 1), pair("split.count", U16, N_PARTS), pair("split.tensors.count", I32, N_TENSORS)]
TWICE = [tensor(f"output.{i}" if i else "token_embd.weight", [2], 0, 32 * i) for i in range(6)]
ITS_PLACE = "its name says 2 of 4: fetch the right part"
OF_ANOTHER = "the part is of another model: fetch it again"
CUT = "the file is cut short or damaged: fetch it again"
# What lies where the second part should be, and what the error says after that part's name.
FOREIGN = {
    "the third part": (lambda parts: parts[2].read_bytes(), f"says it is part 3 of 4; {ITS_PLACE}"),
    "of a model in 3 parts": (lambda parts: shard(2, 3), f"says it is part 2 of 3; {ITS_PLACE}"),
    "a whole model": (lambda parts: build([]), f"is no part of a split model; {ITS_PLACE}"),
    "of a model with more tensors": (
        lambda parts: shard(2, 4, total=22),
        f"metadata 'split.tensors.count' is '22', in m-00001-of-00004.gguf it is '21'; {OF_ANOTHER}",
    ),
    "of a model of another name": (
        lambda parts: build([*CLAIMS, pair("general.name", STR, "other")]),
        f"metadata 'general.name' is 'other', in m-00001-of-00004.gguf it is 'tiny llama'; {OF_ANOTHER}",
    ),
    "with a tensor of the first part": (
        lambda parts: build(CLAIMS, TWICE, bytes(6 * 32)),
        "tensor 'token_embd.weight' is also in m-00001-of-00004.gguf; one of the two is of another model: fetch all",
    ),
    "a web page": (lambda parts: b"<html>", "header, byte 0: not GGUF, but an HTML page"),
    "empty": (lambda parts: b"", "header, byte 0: the file is empty; fetch it again"),
    "cut in its header": (lambda parts: parts[1].read_bytes()[:100], CUT),
    "cut in its data": (lambda parts: parts[1].read_bytes()[:-1], CUT),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_part_is_named(parts, what):
    make, says = FOREIGN[what]
    parts[1].write_bytes(make(parts))
    for given in (parts[0], parts[3]):
        with pytest.raises(FormatError) as caught:
            GGUF.open(given)
        assert str(caught.value).startswith(f"{parts[1]}: ") and says in str(caught.value), str(caught.value)


def test_a_folder_in_place_of_a_part(parts):
    parts[1].unlink()
    parts[1].mkdir()
    with pytest.raises(FormatError, match=rf"{name_of(2)}: a directory, not a regular file"):
        GGUF.open(parts[0])


def test_parts_that_do_not_add_up(parts):
    parts[1].write_bytes(shard(2, 4, [tensor("t", [2])], data=bytes(8)))
    with pytest.raises(FormatError) as caught:
        GGUF.open(parts[2])
    assert str(caught.value) == (
        f"{parts[0]}: 'split.tensors.count' is 21, the 4 parts hold 16 tensors; "
        "a part is of another model: fetch all parts again"
    )


def test_a_part_of_a_model_of_other_sizes(parts, write_parts):
    others = write_parts("other", shape={**LLAMA, "n_ff": 128})
    shutil.copy(others[1], parts[1])
    with pytest.raises(FormatError) as caught:
        sb.load(parts[0])
    assert str(caught.value).startswith(f"{parts[1]}: tensor blk.0.ffn_gate.weight has shape [64, 128]; ")
    assert "ask for [64, 96]: " in str(caught.value)


def test_a_part_of_another_quantization_is_a_mixture(parts, write_parts):
    """Nothing in a part tells that it was quantized otherwise than the rest; the model computes with what is there."""
    shutil.copy(write_parts("other", types=["Q8_0"])[1], parts[1])
    assert np.isfinite(logits(parts[0])).all()


def test_a_part_that_is_cut_while_in_use(parts):
    for part in parts:
        whole = part.read_bytes()
        with sb.load(parts[0]) as model, model.session(16) as session:
            session.eval([1])
            part.write_bytes(whole[:-1])
            with pytest.raises(ModelChanged, match=rf"{part.name}: was changed from \d+ to \d+ bytes while in use"):
                session.eval([2])
        part.write_bytes(whole)


def test_a_renamed_part_says_which_it_is(parts):
    renamed = parts[1].rename(parts[1].with_name("mine.gguf"))
    with pytest.raises(FormatError) as caught:
        GGUF.open(renamed)
    assert str(caught.value) == (
        f"{renamed}: is part 2 of 4 of a split model; name the parts PREFIX-00002-of-00004.gguf"
    )


@pytest.mark.parametrize("given", range(N_PARTS))
def test_commands_take_any_part(parts, capsys, given):
    assert run(["inspect", str(parts[given]), "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_files"], facts["architecture"]) == (4, "llama")
    assert facts["n_bytes"] == sum(part.stat().st_size for part in parts)
    assert run(["inspect", str(parts[given])]) == 0
    assert " in 4 files, " in capsys.readouterr().out
    assert run(["generate", str(parts[given]), "-p", "the", "-n", "3", "--temp", "0"]) == 0
    first = capsys.readouterr().out
    assert run(["generate", str(parts[0]), "-p", "the", "-n", "3", "--temp", "0"]) == 0
    assert capsys.readouterr().out == first != ""


@pytest.mark.parametrize("command", [["inspect"], ["generate", "-p", "a"], ["chat"], ["perplexity", "-f", __file__]])
@pytest.mark.parametrize("missing", [True, False])
def test_commands_name_the_part_and_end_with_its_code(parts, capsys, monkeypatch, command, missing):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello")))
    if missing:
        parts[2].unlink()
        says = f"{parts[0]}: is part 1 of 4, missing: {name_of(3)}; fetch all parts into one folder"
    else:
        parts[2].write_bytes(b"")
        says = f"{parts[2]}: header, byte 0: the file is empty; fetch it again"
    assert run([command[0], str(parts[0]), *command[1:]]) == (4 if missing else 3)
    assert capsys.readouterr().err == f"subbyte: {says}\n"
