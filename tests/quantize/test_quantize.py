"""Writing quantized files: the encoders' bytes, what is copied, runs that are interrupted, and what is refused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import gguf
import libgguf
import numpy as np
import pytest
from gguf_builder import I32, STR, array, pair, string, tensor
from gguf_builder import gguf as gguf_bytes
from tiny_models import MIXED, write_mixed_model, write_model
from tiny_synthetic import TINY_MOE

import subbyte as sb
from subbyte.cli.commands.quantize import size
from subbyte.cli.main import run
from subbyte.kernels import FORMATS, dequantize
from subbyte.runtime.quantize import encode
from subbyte.runtime.quantize.importances import ENCODER_NEEDS_IMATRIX, NEED_IMATRIX, importances_of
from subbyte.runtime.quantize.plan import LADDER, LADDER_WITHOUT_IMATRIX
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.recipes.rule import Rule
from subbyte.runtime.synthetic.write import Synthetic, write

WEIGHTS = [f for f in FORMATS if f != "F32"]
TEXT = "the thin man and the other one are in an old inn near the river, " * 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "m.gguf"
    write_model(path, shape=MIXED)
    return path


@pytest.fixture(scope="module")
def imatrix(source: Path) -> sb.Imatrix:
    """Of all matrices, the embeddings too, which no text gives importances."""
    with sb.load(source) as model:
        found = sb.imatrix(model, TEXT, n_ctx=32, process_output=True)
    name, embeddings = "token_embd.weight", np.linspace(1, 9, 256)[None]
    return replace(found, squares={**found.squares, name: embeddings}, counts={**found.counts, name: np.ones(1)})


def pure(type: str) -> Recipe:
    return Recipe(type, type, pure=True)


SLOW_ENCODERS = {"IQ1_M", "IQ1_S", "IQ2_S", "IQ2_XS"}  # seconds for each


@pytest.mark.parametrize(
    "type, with_imatrix",
    [
        pytest.param(type, with_imatrix, marks=[pytest.mark.slow] if type in SLOW_ENCODERS else [])
        for type, with_imatrix in [*product(WEIGHTS, [True]), *product(sorted(set(WEIGHTS) - NEED_IMATRIX), [False])]
    ],
)
@pytest.mark.thorough
def test_bytes_are_the_encoders(
    type: str, with_imatrix: bool, imatrix: sb.Imatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded whole by the library, and by us in pieces that do not divide the tensor, with three threads."""
    monkeypatch.setattr(encode, "PIECE", 256 * 7)
    out = tmp_path / "q.gguf"
    source = tmp_path / "m.gguf"
    write_model(source, shape={**MIXED, "n_layer": 1}, n_vocab=40)
    result = sb.quantize(source, out, pure(type), imatrix=imatrix if with_imatrix else None, threads=3)
    assert result.n_bytes == out.stat().st_size
    kind = libgguf.GGMLQuantizationType(FORMATS[type].id)
    with sb.GGUF.open(source) as before, sb.GGUF.open(out) as after:
        assert before.tensors.keys() == after.tensors.keys()
        for name, old in before.tensors.items():
            new = after.tensors[name]
            if len(old.shape) == 1:
                assert (new.type, bytes(new.data)) == ("F32", bytes(old.data))
                continue
            x = np.frombuffer(old.data, np.float32).reshape(old.shape[::-1])
            weights = imatrix.weights(name) if with_imatrix else None
            expected = libgguf.quantize_rows_raw(kind, x, *x.shape, None if weights is None else weights[0])
            assert new.type == type and bytes(new.data) == expected, name


def test_each_expert_is_weighed_by_its_own_importances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In pieces that end where an expert ends. The router stays as it is; experts never chosen are named."""
    monkeypatch.setattr(encode, "PIECE", 256 * 7)
    write(Synthetic(TINY_MOE, "F32"), tmp_path / "m.gguf")
    rng, names = np.random.default_rng(1), [f"blk.{i}.ffn_{k}_exps.weight" for i in (0, 1) for k in ("gate", "down")]
    squares, counts = {n: rng.random((4, 256)) for n in names}, {n: np.array([3.0, 2, 0, 1]) for n in names}
    imatrix = sb.Imatrix(squares, counts, {}, (), 1, 64)
    sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", pure("Q3_K"), imatrix=imatrix, threads=2)
    assert "layer 0: 2 of 4; layer 1: 2 of 4; a longer" in caplog.text
    kind = libgguf.GGMLQuantizationType.Q3_K
    with sb.GGUF.open(tmp_path / "m.gguf") as before, sb.GGUF.open(tmp_path / "q.gguf") as after:
        for name in (*names, "blk.0.ffn_up_exps.weight"):
            weights = imatrix.weights(name)
            experts = np.frombuffer(before.tensors[name].data, np.float32).reshape(4, 256, 256)
            of_each = [None] * 4 if weights is None else list(weights)
            expected = [libgguf.quantize_rows_raw(kind, x, 256, 256, w) for x, w in zip(experts, of_each, strict=True)]
            assert after.tensors[name].type == "Q3_K" and bytes(after.tensors[name].data) == b"".join(expected), name
        router = "blk.1.ffn_gate_inp.weight"
        assert after.tensors[router].type == "F32" and after.tensors[router].data == before.tensors[router].data
    old = sb.Imatrix({names[0]: squares[names[0]].reshape(1, -1)}, {names[0]: np.ones(1)}, {}, (), 1, 0)
    of_each = importances_of(names[0], (256, 256, 4), old)  # the older format has them all in one row
    assert of_each is not None and np.array_equal(of_each, squares[names[0]].astype(np.float32))
    imatrix = sb.Imatrix({names[0]: np.ones((3, 256))}, {names[0]: np.ones(3)}, {}, (), 1, 64)
    with pytest.raises(
        sb.ModelRefused, match="rows of 4 experts have 256 weights, the importance matrix has 3 x 256; it"
    ):
        sb.quantize(tmp_path / "m.gguf", tmp_path / "r.gguf", pure("Q3_K"), imatrix=imatrix)


@pytest.mark.parametrize(
    "name", ["Q4_K_M", "IQ2_XS", pytest.param("DynamicGate-IQ1_S", marks=pytest.mark.slow), "bf16-q8_0"]
)
@pytest.mark.thorough
def test_a_quantized_model_runs(name: str, source: Path, imatrix: sb.Imatrix, tmp_path: Path) -> None:
    result = sb.quantize(source, tmp_path / "q.gguf", name, imatrix=imatrix)
    with sb.load(source) as before, sb.load(tmp_path / "q.gguf") as after:
        a, b = (model.score(TEXT) for model in (before, after))
        assert np.isfinite(b.logprobs[1:]).all() and len(a.logprobs) == len(b.logprobs)
        assert after.info.bits_per_weight == pytest.approx(result.plan.bits_per_weight)
    if name == "bf16-q8_0":
        assert b.logprobs[1:] == pytest.approx(a.logprobs[1:], abs=0.3)


@pytest.mark.thorough
def test_metadata_is_copied_but_for_what_quantizing_changes(source: Path, imatrix: sb.Imatrix, tmp_path: Path) -> None:
    imatrix.save(tmp_path / "i.gguf")
    sb.quantize(source, tmp_path / "q.gguf", "Q4_K_M", imatrix=tmp_path / "i.gguf")
    with sb.GGUF.open(source) as before, sb.GGUF.open(tmp_path / "q.gguf") as after:
        old, new = dict(before.metadata), dict(after.metadata)
    assert {key: new[key] for key in old} == old
    assert {key: value for key, value in new.items() if key not in old} == {
        "general.quantization_version": 2, "general.file_type": int(gguf.LlamaFileType.MOSTLY_Q4_K_M),
        "quantize.imatrix.file": str(tmp_path / "i.gguf"), "quantize.imatrix.dataset": imatrix.datasets[0],
        "quantize.imatrix.entries_count": len(imatrix.squares), "quantize.imatrix.chunks_count": imatrix.chunk_count,
    }  # fmt: skip
    assert len(gguf.GGUFReader(tmp_path / "q.gguf").tensors) == len(before_names(source))


def before_names(path: Path) -> list[str]:
    with sb.GGUF.open(path) as opened:
        return list(opened.tensors)


def test_odd_metadata_is_copied_byte_for_byte(tmp_path: Path) -> None:
    """An empty array, texts that are not UTF-8, another alignment, tensors that are no matrix."""
    pairs = [
        pair("general.architecture", STR, "llama"), pair("llama.block_count", I32, 1),
        pair("llama.attention.head_count", I32, 1), pair("x.empty", 9, array(I32, [])),
        pair("x.bytes", STR, string(b"\xff\x00\xfe")), pair("x.strings", 9, array(STR, [b"\xff", "ok"])),
        pair("x.f64", 12, 1e300),
        pair("general.alignment", 4, 128), pair("quantize.imatrix.file", STR, "old"),
    ]  # fmt: skip
    data = np.arange(64, dtype="<f4").tobytes() + bytes(range(256)) + np.linspace(-1, 1, 64).astype("<f4").tobytes()
    tensors = [tensor("a.bias", [64]), tensor("ids.weight", [64], 26, 256), tensor("b.weight", [32, 2], 0, 512)]
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, tensors, data, alignment=128))
    sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0")
    with sb.GGUF.open(tmp_path / "m.gguf") as before, sb.GGUF.open(tmp_path / "q.gguf") as after:
        for key in ("x.empty", "x.bytes", "x.strings", "x.f64"):
            old, new = before.metadata.entries[key], after.metadata.entries[key]
            assert old.type == new.type and repr(before.metadata[key]) == repr(after.metadata[key])
        assert bytes(after.metadata.entries["x.bytes"].data) == b"\xff\x00\xfe"
        assert "quantize.imatrix.file" not in after.metadata
        assert [(t.type, t.n_bytes) for t in after.tensors.values()] == [("F32", 256), ("I32", 256), ("Q8_0", 68)]
        assert bytes(after.tensors["ids.weight"].data) == bytes(range(256))


def test_all_parts_of_a_split_model_become_one_file(source: Path, tmp_path: Path) -> None:
    w = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama", split_max_tensors=10)
    reader = gguf.GGUFReader(source)
    w.add_block_count(MIXED["n_layer"])
    w.add_head_count(4)
    w.add_head_count_kv(2)
    for each in reader.tensors:
        w.add_tensor(each.name, each.data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    parts = sorted(tmp_path.glob("m-*.gguf"))
    assert len(parts) > 1
    sb.quantize(parts[0], tmp_path / "split.gguf", "Q4_K_M")
    sb.quantize(source, tmp_path / "whole.gguf", "Q4_K_M")
    with sb.GGUF.open(tmp_path / "split.gguf") as a, sb.GGUF.open(tmp_path / "whole.gguf") as b:
        assert {k: bytes(t.data) for k, t in a.tensors.items()} == {k: bytes(t.data) for k, t in b.tensors.items()}
        assert not any(key.startswith("split.") for key in a.metadata)


def test_quantizing_again_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_mixed_model(tmp_path / "m.gguf")
    result = sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0")
    assert "lose a second time" in caplog.text and len(result.plan.requantized) > 10
    with sb.GGUF.open(tmp_path / "m.gguf") as before, sb.GGUF.open(tmp_path / "q.gguf") as after:
        for name, old in before.tensors.items():
            new = after.tensors[name]
            if old.type == new.type:
                assert bytes(old.data) == bytes(new.data)
            else:
                a, b = dequantize(old.data, old.type), dequantize(new.data, new.type)
                assert np.abs(a - b).max() <= np.abs(a).max() / 127


def test_types_for_single_tensors(source: Path, tmp_path: Path) -> None:
    result = sb.quantize(
        source,
        tmp_path / "q.gguf",
        "Q4_K_M",
        tensor_types=["ffn_down=q6_k", "blk.0.*=BF16", "output=F16"],
        dry_run=True,
    )
    found = {change.name: change.type for change in result.plan.changes}
    assert found["blk.0.ffn_down.weight"] == "Q6_K" == found["blk.3.ffn_down.weight"]
    assert found["blk.0.attn_q.weight"] == "BF16" and found["output.weight"] == "F16"
    assert found["blk.1.attn_q.weight"] == "Q4_K" and found["blk.0.attn_norm.weight"] == "F32"
    assert not (tmp_path / "q.gguf").exists()
    assert f"<td>{list(found.values()).count('BF16')}</td>" in result._repr_html_()
    for wrong, message in [("ffn_dwn=Q6_K", "fits no tensor"), ("ffn_down", "PATTERN=TYPE"), ("a=Q9", "no block type")]:
        with pytest.raises(ValueError, match=message):
            sb.quantize(source, tmp_path / "q.gguf", "Q8_0", tensor_types=[wrong])


@pytest.mark.parametrize("recipe, tensor_name", [
    ("IQ2_XS", "blk.0.attn_q.weight"), ("IQ3_XS", "blk.0.attn_q.weight"), ("Q2_K_S", "blk.0.attn_q.weight"),
    (Recipe("x", "Q8_0", (Rule("token_embd", "IQ1_S"),)), "token_embd.weight"),
])  # fmt: skip
def test_importances_that_are_missing(recipe: str | Recipe, tensor_name: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(sb.ModelRefused, match=f"{tensor_name}.*--imatrix") as error:
        sb.quantize(source, tmp_path / "q.gguf", recipe)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []
    dry = sb.quantize(source, tmp_path / "q.gguf", recipe, dry_run=True)
    assert dry.n_bytes > 0 and list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_importances_that_do_not_fit(source: Path, imatrix: sb.Imatrix, tmp_path: Path) -> None:
    name = "blk.1.ffn_up.weight"
    few = sb.Imatrix({k: v for k, v in imatrix.squares.items() if k != name}, imatrix.counts, {}, (), 1, 32)
    with pytest.raises(sb.ModelRefused, match=f"{name}.*none for this tensor"):
        sb.quantize(source, tmp_path / "q.gguf", "IQ2_XS", imatrix=few)
    long = sb.Imatrix({**imatrix.squares, name: np.ones((1, 999))}, imatrix.counts, {}, (), 1, 32)
    with pytest.raises(sb.ModelRefused, match=f"{name}.*256 weights.*999.*another model"):
        sb.quantize(source, tmp_path / "q.gguf", "IQ2_XS", imatrix=long)
    for rule in ("Q4_0", "IQ3_S", "IQ3_M", "IQ4_XS", "Q2_K"):
        sb.quantize(source, tmp_path / "q.gguf", rule, overwrite=True)


def test_sizes_to_fit(source: Path, imatrix: sb.Imatrix, tmp_path: Path) -> None:
    for importances, ladder in [(imatrix, LADDER), (None, LADDER_WITHOUT_IMATRIX)]:
        sizes = {
            name: sb.quantize(source, tmp_path / "q", name, imatrix=importances, dry_run=True).n_bytes
            for name in ladder
        }
        for name, n_bytes in sizes.items():
            result = sb.quantize(source, tmp_path / "q", imatrix=importances, target_size=n_bytes, dry_run=True)
            assert result.n_bytes <= n_bytes and result.plan.recipe.name in ladder
            finer = ladder[ladder.index(result.plan.recipe.name) + 1 :]
            assert all(sizes[each] > n_bytes for each in finer) and ladder.index(name) <= ladder.index(
                result.plan.recipe.name
            )
        with pytest.raises(ValueError, match=f"the smallest, .* takes {min(sizes.values())} bytes"):
            sb.quantize(source, tmp_path / "q", imatrix=importances, target_size=1000)
    result = sb.quantize(source, tmp_path / "q.gguf", target_size=max(sizes.values()))
    assert (tmp_path / "q.gguf").stat().st_size == result.n_bytes == max(sizes.values())


def test_progress_goes_on_within_a_tensor(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "PIECE", 256 * 16)
    told: list[tuple[str, int, int]] = []
    result = sb.quantize(source, tmp_path / "q.gguf", "Q8_0", on_progress=lambda *each: told.append(each))
    done = [each[1] for each in told]
    assert done == sorted(done) and done[0] == 0 and {each[2] for each in told} == {result.plan.n_weights}
    assert len({each[0] for each in told}) == len(result.plan.changes) < len(told) / 4


class Stop:
    """Interrupts a run when its nth tensor is next."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.left, self.error, self.what = at, error, ""

    def __call__(self, what: str, done: int, total: int) -> None:
        assert 0 <= done < total
        if what != self.what:
            self.left, self.what = self.left - 1, what
            if self.left < 0:
                raise self.error


@pytest.mark.thorough
def test_an_interrupted_run_is_taken_up(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, out = tmp_path / "whole.gguf", tmp_path / "q.gguf"
    sb.quantize(source, whole, "Q4_K_M")
    with pytest.raises(KeyboardInterrupt):
        sb.quantize(source, out, "Q4_K_M", on_progress=Stop(7, KeyboardInterrupt()))
    (part,) = set(tmp_path.iterdir()) - {whole}
    assert part.name.startswith("q.gguf.") and part.name.endswith(".part") and "goes on from there" in caplog.text
    part.write_bytes(part.read_bytes() + b"half a tensor")
    sb.quantize(source, out, "Q8_0", dry_run=True)  # another command does not touch it
    result = sb.quantize(source, out, "Q4_K_M")
    assert result.resumed == 7 and out.read_bytes() == whole.read_bytes()
    assert set(tmp_path.iterdir()) == {whole, out}


def test_the_part_lies_beside_what_a_link_points_to(source: Path, tmp_path: Path) -> None:
    """Beside the link it might be on another file system, and could not take the place of OUT once it is whole."""
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "q.gguf", tmp_path / "disk" / "model.gguf"
    link.symlink_to(target)
    with pytest.raises(KeyboardInterrupt):
        sb.quantize(source, link, "Q8_0", on_progress=Stop(3, KeyboardInterrupt()))
    (part,) = (tmp_path / "disk").iterdir()
    assert part.name.startswith("model.gguf.") and list(tmp_path.glob("*.part")) == []
    assert sb.quantize(source, link, "Q8_0").resumed == 3
    assert link.is_symlink() and list((tmp_path / "disk").iterdir()) == [target]


def test_another_recipe_source_or_imatrix_does_not_take_it_up(
    source: Path, imatrix: sb.Imatrix, tmp_path: Path
) -> None:
    copy, out = tmp_path / "m.gguf", tmp_path / "q.gguf"
    copy.write_bytes(source.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        sb.quantize(copy, out, "Q4_K_M", on_progress=Stop(7, KeyboardInterrupt()))
    os.utime(copy, (1, 1))
    other = sb.Imatrix(imatrix.squares, {k: v * 2 for k, v in imatrix.counts.items()}, {}, (), 0, 0)
    for found in (None, imatrix, other):
        with pytest.raises(KeyboardInterrupt):
            sb.quantize(copy, out, "Q4_K_M", imatrix=found, on_progress=Stop(3, KeyboardInterrupt()))
    assert len(list(tmp_path.glob("*.part"))) == 4
    assert sb.quantize(copy, out, "Q8_0").resumed == 0
    assert set(tmp_path.iterdir()) == {copy, out}  # what was left over went with the first that ended


def test_another_file_in_the_place_of_the_part_stays(source: Path, tmp_path: Path) -> None:
    out, letter = tmp_path / "q.gguf", tmp_path / "letter"
    with pytest.raises(KeyboardInterrupt):
        sb.quantize(source, out, "Q8_0", on_progress=Stop(3, KeyboardInterrupt()))
    (part,) = tmp_path.glob("*.part")
    part.write_text("a letter")
    with pytest.raises(sb.FileExists, match="was not begun by this command"):
        sb.quantize(source, out, "Q8_0")
    assert part.read_text() == "a letter"
    part.rename(letter)
    part.symlink_to(letter)
    with pytest.raises(sb.ResourceError, match="can't write"):
        sb.quantize(source, out, "Q8_0")
    assert letter.read_text() == "a letter" and not out.exists()


@pytest.mark.parametrize("error, left", [
    (KeyboardInterrupt(), 0), (sb.NumericError("x"), 0), (RuntimeError("x"), 0), (sb.NumericError("x"), 5),
])  # fmt: skip
def test_a_run_that_fails_leaves_nothing(error: BaseException, left: int, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    out.write_text("GGUF, the old one")
    with pytest.raises(type(error)):
        sb.quantize(source, out, "Q4_K_M", overwrite=True, on_progress=Stop(left, error))
    assert list(tmp_path.iterdir()) == [out] and out.read_text() == "GGUF, the old one"


KILLED = """
import os, signal, sys, subbyte as sb
met = set()
def stop(what, done, total):
    met.add(what)
    if len(met) > int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
sb.quantize(sys.argv[1], sys.argv[2], "Q4_K_M", on_progress=stop)
"""


@pytest.mark.thorough
def test_a_killed_run_is_taken_up(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    for at in (4, 20):
        ended = subprocess.run([sys.executable, "-c", KILLED, source, out, str(at)], timeout=60)
        assert ended.returncode == -signal.SIGKILL and not out.exists()
    assert len(list(tmp_path.iterdir())) == 1
    result = sb.quantize(source, out, "Q4_K_M")
    sb.quantize(source, tmp_path / "whole.gguf", "Q4_K_M")
    assert result.resumed >= 4 and out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_two_at_once(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    seen = []

    def second(what: str, done: int, total: int) -> None:
        if not seen:
            with pytest.raises(sb.ResourceError, match="another run") as error:
                sb.quantize(source, out, "Q8_0")
            seen.append(error)

    sb.quantize(source, out, "Q8_0", on_progress=second)
    assert seen and out.exists() and len(list(tmp_path.iterdir())) == 1


def test_what_another_run_writes_is_not_taken_away(source: Path, tmp_path: Path) -> None:
    other = tmp_path / f"q.gguf.{'a' * 16}.part"
    with other.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sb.quantize(source, tmp_path / "q.gguf", "Q8_0")
    assert other.exists()


def test_a_full_disk(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(sb.ResourceError, match=r"MB are needed and 0 MB are free; make room"):
        sb.quantize(source, tmp_path / "q.gguf", "Q8_0")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_in_the_middle(source: Path, tmp_path: Path) -> None:
    """A limit for files stands in for a disk that fills up."""
    code = (
        "import resource, sys; from subbyte.cli.main import run;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20,) * 2); sys.exit(run(['quantize', *sys.argv[1:]]))"
    )
    out = tmp_path / "q.gguf"
    ended = subprocess.run(
        [sys.executable, "-c", code, source, out, "BF16"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 4 and "File too large" in ended.stderr and "Traceback" not in ended.stderr
    assert not out.exists()
    assert sb.quantize(source, out, "BF16").resumed > 0
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("values, type, message", [
    (np.nan, "Q4_K_M", "not finite"), (np.inf, "BF16", "not finite"), (1e30, "F16", "too large for F16"),
    (1e30, "Q8_0", "too large for Q8_0"),
])  # fmt: skip
def test_weights_that_can_not_be_encoded(values: float, type: str, message: str, tmp_path: Path) -> None:
    weights = np.ones((256, 256), np.float32)
    weights[3, 5] = values
    write_model(tmp_path / "m.gguf", shape=MIXED, tensors={"blk.2.attn_output.weight": weights})
    with pytest.raises(sb.NumericError, match=f"blk.2.attn_output.weight.*{message}"):
        sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", type)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_places_that_would_destroy_something(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(source.read_bytes())
    (tmp_path / "link").symlink_to(copy)
    (tmp_path / "folder").mkdir()
    for out, message in [(copy, "the model itself"), (tmp_path / "link", "the model itself"),
                         (tmp_path / "folder", "a directory, which no file replaces"),
                         (Path("/dev/null"), "a device, which no file replaces"),
                         (tmp_path / "none" / "q", "there is no folder")]:  # fmt: skip
        for overwrite in (False, True):
            with pytest.raises((sb.FileExists, sb.ResourceError), match=message):
                sb.quantize(copy, out, "Q8_0", overwrite=overwrite)
    assert copy.read_bytes() == source.read_bytes()


def test_only_models_are_overwritten_and_when_asked(source: Path, imatrix: sb.Imatrix, tmp_path: Path) -> None:
    out, text, importances = tmp_path / "q.gguf", tmp_path / "text.gguf", tmp_path / "i.gguf"
    text.write_text("a letter")
    imatrix.save(importances)
    for other in (text, importances):
        before = other.read_bytes()
        with pytest.raises(sb.FileExists, match="is not a GGUF model, so it is never overwritten"):
            sb.quantize(source, other, "Q8_0", overwrite=True)
        assert other.read_bytes() == before
    sb.quantize(source, out, "Q8_0")
    first = out.read_bytes()
    with pytest.raises(sb.FileExists, match="a GGUF model exists; overwrite=True replaces it"):
        sb.quantize(source, out, "Q4_0")
    assert out.read_bytes() == first
    sb.quantize(source, out, "Q4_0", dry_run=True)
    sb.quantize(source, out, "Q4_0", overwrite=True)
    assert len(out.read_bytes()) < len(first)
    assert not list(tmp_path.glob("*.part"))


def test_a_model_that_changes_while_it_is_read(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"

    def change(what: str, done: int, total: int) -> None:
        os.truncate(copy, 1000)

    for recipe in ("Q8_0", pure("F32")):  # encoded, and copied
        copy.write_bytes(source.read_bytes())
        with pytest.raises(sb.ModelChanged):
            sb.quantize(copy, tmp_path / "q.gguf", recipe, on_progress=change)
        assert list(tmp_path.iterdir()) == [copy]


def test_misuse(source: Path, tmp_path: Path) -> None:
    for arguments in ({}, {"recipe": "Q8_0", "target_size": 10}, {"recipe": "Q8_0", "threads": 0}, {"recipe": "Q9"}):
        with pytest.raises(ValueError):
            sb.quantize(source, tmp_path / "q.gguf", **arguments)
    (tmp_path / "no.gguf").write_bytes(
        gguf_bytes([pair("general.architecture", STR, "x"), pair("x.block_count", 4, 1)])
    )
    with pytest.raises(sb.ModelRefused, match="no tensors"):
        sb.quantize(tmp_path / "no.gguf", tmp_path / "q.gguf", "Q8_0")


def test_types_that_can_not_be_read(tmp_path: Path) -> None:
    pairs = [pair("general.architecture", STR, "x"), pair("x.block_count", 4, 1), pair("x.attention.head_count", 4, 1)]
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, [tensor("blk.0.a.weight", [256, 2], 15)], bytes(584)))
    for dry_run in (True, False):
        with pytest.raises(sb.UnsupportedError, match=r"blk.0.a.weight': Q8_K can't be read"):
            sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0", dry_run=dry_run)


def test_without_the_encoders(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libgguf", None)
    with pytest.raises(sb.ResourceError, match=r"pip install 'subbyte\[quantize\]'"):
        sb.quantize(source, tmp_path / "q.gguf", "Q8_0")
    assert sb.quantize(source, tmp_path / "q.gguf", "Q8_0", dry_run=True).n_bytes > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_encoders_let_go_of_the_gil(source: Path) -> None:
    """So that threads are enough: this thread runs on while another encodes."""
    x = np.random.default_rng(0).standard_normal((64, 2048)).astype(np.float32)
    worker = threading.Thread(target=lambda: libgguf.quantize_rows_raw(FORMATS["IQ2_XS"].id, x, 64, 2048, x[0] ** 2))
    turns = 0
    worker.start()
    while worker.is_alive():
        turns += 1
        worker.join(0.001)
    assert turns > 5


@pytest.mark.thorough
def test_the_command(source: Path, imatrix: sb.Imatrix, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imatrix.save(tmp_path / "i.gguf")
    out = str(tmp_path / "q.gguf")
    assert run(["quantize", str(source), out, "DynamicGate-IQ2_XS", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "IQ4_NL" not in shown and "IQ3_S" in shown and "bits per weight, nothing was written" in shown
    assert run(["quantize", str(source), out, "DynamicGate-IQ2_XS"]) == 3
    assert "subbyte imatrix" in capsys.readouterr().err
    assert run(["quantize", str(source), out, "IQ2_XS", "--imatrix", str(tmp_path / "i.gguf"), "-o", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file_bytes"] == os.path.getsize(out) and facts["types"]["IQ2_XS"] > 0
    assert run(["quantize", str(source), out, "--target-size", "5MB", "--overwrite"]) == 0
    assert os.path.getsize(out) <= 5_000_000
    for wrong in (["Q9"], [], ["Q8_0", "--target-size", "1GB"], ["Q8_0", "--tensor-type", "x"]):
        assert run(["quantize", str(source), out, *wrong]) == 2


def test_the_command_for_importances(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text(TEXT)
    out = tmp_path / "i.gguf"
    assert run(["imatrix", str(source), str(out), "-f", str(tmp_path / "t.txt"), "-c", "32", "--process-output"]) == 0
    assert "chunks of 32 tokens" in capsys.readouterr().out
    found = sb.Imatrix.open(out)
    assert found.datasets == (str(tmp_path / "t.txt"),) and "output.weight" in found.squares
    assert run(["imatrix", str(source), str(out), "-f", str(tmp_path / "t.txt"), "--overwrite"]) == 2


@pytest.mark.parametrize("text, n_bytes", [
    ("100000", 100_000), ("100B", 100), ("1k", 1000), ("2.5GB", 2_500_000_000), ("2GiB", 2 << 30),
    ("700M", 700_000_000), ("1 MB", 1_000_000),
])  # fmt: skip
def test_sizes(text: str, n_bytes: int) -> None:
    assert size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "x", "-1", "1X", "nan", "inf", "1e400", "GB", "0"])
def test_no_sizes(text: str) -> None:
    import click

    with pytest.raises(click.BadParameter, match="no size"):
        size(text)


def test_what_a_dry_run_says(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It shows sizes of what lacks importances, and says that it can't be written so."""
    found = sb.quantize(source, tmp_path / "q.gguf", "IQ2_XS", dry_run=True)
    assert found.n_bytes > 0 and "can't be written yet: tensor" in caplog.text and "--imatrix" in caplog.text


def test_types_whose_encoders_need_importances() -> None:
    assert {name for name, f in FORMATS.items() if libgguf.quantize_requires_imatrix(f.id)} == ENCODER_NEEDS_IMATRIX


def test_what_a_recipe_does_not_get_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_model(tmp_path / "m.gguf")  # rows of 64 and 96 weights
    rules = (Rule("attn_vv", "Q8_0"), Rule("ffn_down", "Q8_0", "7-9"), Rule("attn_v", "Q8_0", when=("is_70b",)))
    found = sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", Recipe("own", "Q6_K", rules, pure=True), dry_run=True)
    first, second, *substitutes = found.plan.notes
    assert first == "rule 1 of own fits no tensor of the model: attn_vv"
    assert second == "rule 2 of own fits no tensor of the model: ffn_down, layers 7-9"
    assert substitutes and all("in place of Q6_K: rows of" in each for each in substitutes)
    assert found.to_dict()["notes"] == list(found.plan.notes)
    assert set(found.plan.notes) <= {record.message for record in caplog.records}
    whole = sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0", dry_run=True)
    assert whole.plan.notes == ()


def test_floats_of_quantized_tensors_lose_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_model(tmp_path / "m.gguf", types=["Q4_1"])
    for type in ("F16", "BF16", "F32"):
        assert sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", pure(type), dry_run=True).plan.requantized == ()
    assert caplog.text == ""
    assert sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q8_0", dry_run=True).plan.requantized


def test_a_size_without_a_unit() -> None:
    with pytest.raises(click.BadParameter, match="write 60MB or 60GB"):
        size("60")


def test_what_another_command_left_is_said(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    out = tmp_path / "q.gguf"
    with pytest.raises(KeyboardInterrupt):
        sb.quantize(source, out, "Q8_0", on_progress=stop)
    (left,) = tmp_path.iterdir()
    sb.quantize(source, out, "Q6_K")
    assert f"{left} (" in caplog.text and "is what another command left of the same file" in caplog.text
    assert [*tmp_path.iterdir()] == [out]
