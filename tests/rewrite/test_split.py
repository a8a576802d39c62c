"""Models split and merged: what gguf-py reads in the files, the same bytes after a round trip, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gguf
import pytest
from gguf_builder import STR, U16, U32, array, pair, string, tensor
from gguf_builder import gguf as gguf_bytes
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.runtime.quantize import part_file

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.gguf"
    write_model(path, shape={**MIXED, "n_layer": 2}, types=["Q8_0", "F16"])
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("limits", [{"max_tensors": 7}, {"max_bytes": 300_000}, {"max_bytes": 1, "max_tensors": 9}])
def test_gguf_py_reads_the_files_and_merging_gives_the_model_back(
    limits: dict[str, int], model: Path, tmp_path: Path
) -> None:
    result = sb.split(model, tmp_path / "s.gguf", **limits)
    whole = gguf.GGUFReader(model)
    readers = [gguf.GGUFReader(part.path) for part in result.parts]
    assert names(tmp_path) == [f"s-{i:05}-of-{len(readers):05}.gguf" for i in range(1, len(readers) + 1)]
    found = [tensor for reader in readers for tensor in reader.tensors]
    assert [t.name for t in found] == [t.name for t in whole.tensors]
    assert all(a.data.tobytes() == b.data.tobytes() for a, b in zip(found, whole.tensors, strict=True))
    for i, (reader, part) in enumerate(zip(readers, result.parts, strict=True)):
        claims = {key: reader.fields[f"split.{key}"] for key in ("no", "count", "tensors.count")}
        assert [field.contents() for field in claims.values()] == [i, len(readers), len(found)]
        assert [field.types[0].name for field in claims.values()] == ["UINT16", "UINT16", "INT32"]
        assert (part.n_bytes, part.n_tensors) == (os.path.getsize(part.path), len(reader.tensors))
        assert part.n_tensors <= limits.get("max_tensors", 99)
        assert part.n_bytes <= limits.get("max_bytes", 10**9) or part.n_tensors == 1
        assert i == 0 or len(reader.fields) == 3 + 3  # what gguf-py counts as fields of the header
    assert len(readers[0].fields) == len(whole.fields) + 3
    merged = sb.merge(result.parts[-1].path, tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == model.read_bytes()
    assert (merged.n_files, merged.n_tensors, merged.n_bytes) == (len(readers), len(found), model.stat().st_size)


def test_files_are_as_full_as_they_may_be(model: Path, tmp_path: Path) -> None:
    sizes = [part.n_bytes for part in sb.split(model, tmp_path / "s", max_bytes=300_000, dry_run=True).parts]
    at_limit = sb.split(model, tmp_path / "s", max_bytes=max(sizes), dry_run=True).parts
    below = sb.split(model, tmp_path / "s", max_bytes=sizes[0] - 1, dry_run=True).parts
    assert [part.n_bytes for part in at_limit][: sizes.index(max(sizes)) + 1] == sizes[: sizes.index(max(sizes)) + 1]
    assert below[0].n_bytes < sizes[0] and names(tmp_path) == []


def test_odd_metadata_and_alignment_come_back(tmp_path: Path) -> None:
    pairs = [
        pair("general.architecture", STR, "none"), pair("general.alignment", U32, 128),
        pair("x.bytes", STR, string(b"\xff\x00")), pair("x.strings", 9, array(STR, [b"\xff", "ok"])),
    ]  # fmt: skip
    tensors = [tensor("a", [64], 0, 0), tensor("ids", [3], 26, 256), tensor("b", [32], 0, 384)]
    data = bytes(range(256)) + b"123456789abc" + bytes(116) + bytes(range(128))
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, tensors, data, alignment=128))
    parts = sb.split(tmp_path / "m.gguf", tmp_path / "s", max_tensors=1).parts
    sb.merge(parts[1].path, tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "m.gguf").read_bytes()


def test_a_split_model_is_split_otherwise(model: Path, tmp_path: Path) -> None:
    first = sb.split(model, tmp_path / "a", max_tensors=5).parts
    again = sb.split(first[2].path, tmp_path / "b", max_tensors=9).parts
    direct = sb.split(model, tmp_path / "c", max_tensors=9).parts
    assert [Path(p.path).read_bytes() for p in again] == [Path(p.path).read_bytes() for p in direct]


def test_what_llama_gguf_split_merged_is_one_file(tmp_path: Path) -> None:
    """It says that it is of 0 parts; merging gives it without these keys."""
    w = gguf_bytes([pair("split.no", U16, 0), pair("split.count", U16, 0)], [tensor("t", [8])], bytes(32))
    (tmp_path / "w.gguf").write_bytes(w)
    sb.merge(tmp_path / "w.gguf", tmp_path / "plain.gguf")
    with sb.GGUF.open(tmp_path / "w.gguf") as left, sb.GGUF.open(tmp_path / "plain.gguf") as plain:
        assert len(left.metadata) == 2 and len(plain.metadata) == 0
        assert left.tensors.keys() == plain.tensors.keys()


class Stop(BaseException):
    """What a kill is like to those who write: no handler of errors sees it."""


def test_an_interrupted_run_is_taken_up(model: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def stop(name: str, done: int, total: int) -> None:
        assert 0 <= done < total
        seen.append(name)
        if len(seen) == 15:
            raise Stop

    with pytest.raises(Stop):
        sb.split(model, tmp_path / "s", max_tensors=6, on_progress=stop)
    left = names(tmp_path)
    assert left and all(name.endswith(".part") for name in left)
    more: list[str] = []
    parts = sb.split(model, tmp_path / "s", max_tensors=6, on_progress=lambda name, *_: more.append(name)).parts
    assert not set(more) & set(seen[:-1])
    assert names(tmp_path) == [Path(part.path).name for part in parts]
    sb.merge(parts[0].path, tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == model.read_bytes()


def test_a_part_that_vanished_is_no_part(model: Path, tmp_path: Path) -> None:
    """Another command for the same place has removed it: what is left must not take its place."""

    def remove(*_: object) -> None:
        for path in tmp_path.glob("s-00001-of-*.part"):
            path.unlink()

    with pytest.raises(sb.ResourceError, match="was removed or cut by another program"):
        sb.split(model, tmp_path / "s", max_tensors=6, on_progress=remove)
    assert not list(tmp_path.glob("s-*.gguf"))


def test_refusals(model: Path, tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(model, tmp_path / "m.gguf")
    monkeypatch.chdir(tmp_path)
    first = "s-00001-of-00002.gguf"
    for line, code, says in [
        ("split m.gguf s", 2, "give --max-size or --max-tensors, or both"),
        ("split m.gguf none/s --max-tensors 20", 4, "there is no folder"),
        ("split m.gguf . --max-tensors 20", 2, "out is '.', but must be how the files' names begin"),
        ("split m.gguf ../" + tmp_path.name + " --max-tensors 20", 2, "must be how the files' names begin"),
        ("merge m.gguf w", 3, "m.gguf: is one file already; give a part of a split model"),
        ("split m.gguf s --max-tensors 14", 0, ""),
        ("split m.gguf s --max-tensors 14", 4, f"{first}: a GGUF model exists; --overwrite replaces it"),
        (f"split {first} s --max-tensors 14 --overwrite", 4, "is the model itself"),
        (f"merge {first} {first} --overwrite", 4, "is the model itself"),
        ("split m.gguf s --max-tensors 14 --overwrite", 0, ""),
    ]:
        assert (found := command_line(*line.split()))[0] == code, (line, found)
        assert says in found[2] and found[2].count("\n") == bool(says), line
    os.rename("s-00002-of-00002.gguf", "away")
    assert "missing: s-00002-of-00002.gguf" in command_line("merge", first, "w")[2]
    own = [pair("split.no", U16, 1), pair("split.count", U16, 2), pair("split.tensors.count", 5, 21)]
    (tmp_path / "s-00002-of-00002.gguf").write_bytes(
        gguf_bytes(
            [*own, pair("a.note", STR, "lost")], [tensor(f"t{i}", [8], 0, 32 * i) for i in range(7)], bytes(7 * 32)
        )
    )
    said = command_line("merge", first, "w")[2]
    assert "s-00002-of-00002.gguf: has metadata 'a.note' that s-00001" in said and "it would be lost" in said


def test_the_room_for_all_files_is_looked_at_first(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(sb.ResourceError, match=r"[1-9] MB are needed and 0 MB are free; make room"):
        sb.split(model, tmp_path / "s", max_tensors=3)
    assert names(tmp_path) == []
