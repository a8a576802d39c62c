"""What differs between two files: nothing is missed, nothing is made up, and no file makes it slow or large."""

import json
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blocks import random_matrix
from gguf_builder import ARR, F32, F64, I32, STR, U32, array, gguf, pair, tensor, u64
from gguf_builder import string as gguf_string
from tiny_models import LLAMA, tensor_shapes, write_mixed_model, write_model

import subbyte as sb
from subbyte.cli.main import run
from subbyte.kernels import FORMATS
from subbyte.runtime.inspect.diff import tables
from subbyte.runtime.inspect.diff_metadata import MAX_TEXT
from subbyte.runtime.inspect.diff_tensors import layers_of, ranges
from subbyte.runtime.inspect.diff_text import MAX_LINES, changed_lines

Q8_0 = FORMATS["Q8_0"].id
Files = Callable[[list[bytes], list[bytes]], sb.Diff]


@pytest.fixture
def of_metadata(tmp_path: Path) -> Files:
    """The difference of two files with these pairs and no tensors."""

    def compare(a: list[bytes], b: list[bytes]) -> sb.Diff:
        (tmp_path / "a.gguf").write_bytes(gguf(a))
        (tmp_path / "b.gguf").write_bytes(gguf(b))
        return sb.diff(tmp_path / "a.gguf", tmp_path / "b.gguf")

    return compare


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Two llamas: layer 1's ffn_down is of another type, output has other weights, one tensor is only in each."""
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    weights = write_model(a, tensors={"extra.weight": np.ones(4, np.float32)})
    rows = tensor_shapes("llama", LLAMA)["blk.1.ffn_down"]
    blocks = random_matrix(FORMATS["Q8_0"], *rows)
    others = {
        "blk.1.ffn_down.weight": (blocks, "Q8_0"),
        "output.weight": weights["output"] * np.float32(1.25),
        "more.weight": np.ones((2, 4), np.float32),
        "output_norm.weight": np.ones(32, np.float32),
    }
    write_model(b, tensors=others, context_length=1024)
    return a, b


def test_a_file_and_its_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    write_mixed_model(a)
    b.write_bytes(a.read_bytes())
    found = sb.diff(a, b, weights=True)
    assert found.same and found.errors == () and found.to_dict()["same"] is True
    assert run(["diff", str(a), str(b)]) == 0
    assert "no difference" in capsys.readouterr().out


def test_the_order_of_keys_and_tensors_does_not_count(tmp_path: Path) -> None:
    keys = [pair("general.architecture", STR, "x"), pair("k", U32, 7)]
    names, data = ("t", "u"), (b"\x01" * 32, b"\x02" * 32)
    for file, step in (("a.gguf", 1), ("b.gguf", -1)):
        tensors = [tensor(name, [8], 0, 32 * i) for i, name in enumerate(names[::step])]
        (tmp_path / file).write_bytes(gguf(keys[::step], tensors, b"".join(data[::step])))
    assert sb.diff(tmp_path / "a.gguf", tmp_path / "b.gguf").same


def test_every_byte_of_a_file_counts(tmp_path: Path) -> None:
    """A changed byte is a difference, or the file is refused; all but the format's version, 2 or 3, and the padding."""
    pairs = [pair("k", STR, "text"), pair("n", I32, 5), pair("l", ARR, array(STR, ["a", "bc"])), pair("f", F64, 0.5)]
    tensors, values = [tensor("t", [8], 0, 0), tensor("u", [32, 1], Q8_0, 32)], bytes(range(66))
    data, head = gguf(pairs, tensors, values), len(gguf(pairs, tensors))
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    a.write_bytes(data)
    silent = []
    for at in range(len(data)):
        b.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            if sb.diff(a, b).same:
                silent.append(at)
        except sb.ModelRefused:
            continue
    assert silent == [4, *range(head, len(data) - len(values))]


def test_values(of_metadata: Files) -> None:
    found = of_metadata(
        [pair("same", U32, 1), pair("x", U32, 1), pair("type", U32, 2), pair("gone", STR, "y" * 200),
         pair("nan", F32, math.nan), pair("f", F32, 0.1), pair("name", STR, "one\x1b[31m")],
        [pair("name", STR, "two"), pair("f", F32, np.nextafter(np.float32(0.1), np.float32(1))), pair("x", U32, 2),
         pair("type", I32, 2), pair("nan", F32, math.nan), pair("same", U32, 1), pair("new", U32, 3)],
    )  # fmt: skip
    changes = {of.key: (of.a, of.b) for of in found.values}
    assert list(changes) == ["x", "type", "gone", "f", "name", "new"]
    assert changes["x"] == ("1", "2") and changes["type"] == ("u32 2", "i32 2")
    assert changes["name"] == (r"'one\x1b[31m'", "'two'") and changes["new"] == (None, "3")
    assert changes["f"] == ("0.1", "0.10000001") and changes["gone"] == ("'" + "y" * 60 + "…'", None)
    assert not found.same and not (found.texts or found.arrays or found.tensors)


def test_bytes_that_are_no_text_are_told_apart(of_metadata: Files) -> None:
    (change,) = of_metadata([pair("k", STR, gguf_string(b"a\xff"))], [pair("k", STR, gguf_string(b"a\xfe"))]).values
    assert (change.a, change.b) == (r"'a\\xff'", r"'a\\xfe'")


def test_arrays(of_metadata: Files) -> None:
    tokens = [f"t{i}" for i in range(70_000)]
    other = [*tokens[:65_535], "x\x1b", "y", *tokens[65_537:-2]]
    found = of_metadata(
        [pair("tokens", ARR, array(STR, tokens)), pair("same", ARR, array(STR, ["a"])),
         pair("n", ARR, array(I32, range(9))), pair("kind", ARR, array(I32, [1]))],
        [pair("tokens", ARR, array(STR, other)), pair("same", ARR, array(STR, ["a"])),
         pair("n", ARR, array(I32, [0, 1, -2, 3, 5, 5, 7, 8, 8])), pair("kind", ARR, array(F32, [1.0]))],
    )  # fmt: skip
    words, numbers = found.arrays
    assert (words.key, words.count_a, words.count_b, words.n_differing) == ("tokens", 70_000, 69_998, 2)
    assert words.first == ((65_535, "'t65535'", r"'x\x1b'"), (65_536, "'t65536'", "'y'"))
    assert (numbers.n_differing, numbers.first) == (4, ((2, "2", "-2"), (4, "4", "5"), (6, "6", "7")))
    assert [(of.key, of.a, of.b) for of in found.values] == [("kind", "[i32] [1]", "[f32] [1]")]
    odd = [[math.nan, 0.0, 1.0], [math.nan, -0.0, 1.0, 2.0]]
    (floats,) = of_metadata(*([pair("f", ARR, array(F64, items))] for items in odd)).arrays
    assert (floats.count_a, floats.count_b, floats.first) == (3, 4, ((1, "0.0", "-0.0"),))
    (empty,) = of_metadata(*([pair("e", ARR, array(kind, items))] for kind, items in ((I32, []), (I32, [1])))).arrays
    assert (empty.n_differing, empty.first) == (0, ())


def test_the_template(of_metadata: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, lines = "tokenizer.chat_template", [f"line {i}" for i in range(40)]
    changed = [*lines[:20], "new\x1b[2J", *lines[21:30], *lines[31:]]
    (text,) = of_metadata([pair(key, STR, "\n".join(lines))], [pair(key, STR, "\n".join(changed))]).texts
    assert (text.key, text.n_removed, text.n_added) == (key, 2, 1)
    assert text.lines == (
        "@@ -19 +19 @@", " line 18", " line 19", "-line 20", "+new\x1b[2J", " line 21", " line 22",
        "@@ -29 +29 @@", " line 28", " line 29", "-line 30", " line 31", " line 32",
    )  # fmt: skip
    assert run(["diff", str(tmp_path / "a.gguf"), str(tmp_path / "b.gguf")]) == 1
    out = capsys.readouterr().out
    assert "2 lines removed, 1 added" in out and "\n-line 20\n+new\\x1b[2J\n" in out and "\x1b" not in out


def test_a_template_of_one_long_line(of_metadata: Files) -> None:
    before = "{% for m in messages %}" + "{{ m.content }}{% if m.role %}x{% endif %}" * 20 + "{% endfor %}"
    (text,) = of_metadata([pair("k", STR, before)], [pair("k", STR, before.replace("endfor", "end for"))]).texts
    assert text.lines[-2:] == ("-{% endfor %}", "+{% end for %}") and (text.n_removed, text.n_added) == (1, 1)


def rebuilt(a: str, b: str) -> str:
    """What a patch makes of `a`, by the removed and added lines."""
    lines, result, at = a.split("\n"), [], 0
    for line in changed_lines(a, b)[2]:
        if line.startswith("@@"):
            start = int(line.split()[1]) * -1 - 1
            result += lines[at:start]
            at = start
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert lines[at] == line[1:]
            result += [line[1:]] * (line[0] == " ")
            at += 1
    return "\n".join(result + lines[at:])


@pytest.mark.parametrize("size", [5, 60, 420])
def test_changed_lines_are_a_patch(size: int) -> None:
    """Also where the middle is too large for difflib (420 lines)."""
    rng = np.random.default_rng(size)
    for n in range(30):
        a, b = ("\n".join(rng.choice(list("abcdef"), max(size - n, 1))) for _ in "ab")
        assert rebuilt(a, b) == b and rebuilt(b, a) == a
    assert changed_lines("a\n", "a") == (1, 0, ("@@ -1 +1 @@", " a", "-"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ab" * 8_000_000, "ba" * 8_000_000),
        ("\n" * 16_000_000, "a" + "\n" * 16_000_000),
        ("{% a %}" * 2_000_000, "{% b %}" * 2_000_000),
        ("\n".join("ab" * 180), "\n".join("acb" * 120)),
        ("\n".join("ab" * 100_000), "\n".join("acb" * 60_000)),
    ],
)
@pytest.mark.thorough
def test_hostile_texts(of_metadata: Files, a: str, b: str) -> None:
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    (text,) = of_metadata([pair("k", STR, a)], [pair("k", STR, b)]).texts
    assert time.process_time() - start < 20  # growing with the square: minutes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < (200 << 10) + 8 * len(a) // 1024
    assert 0 < len(text.lines) <= MAX_LINES and text.n_removed + text.n_added > 0


def test_a_text_that_differs_late(of_metadata: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = of_metadata([pair("k", STR, "x" * MAX_TEXT + "a")], [pair("k", STR, "x" * MAX_TEXT + "b")])
    assert not found.same and found.texts[0].lines == ()
    assert run(["diff", str(tmp_path / "a.gguf"), str(tmp_path / "b.gguf")]) == 1
    assert f"0 lines removed, 0 added in the first {MAX_TEXT} bytes" in capsys.readouterr().out


@pytest.mark.thorough
def test_long_arrays_take_little(of_metadata: Files) -> None:
    n = 3_000_000
    arrays = [u64(0) * n, u64(0) * (n - 1) + gguf_string("z")]
    sides = [[pair("k", ARR, (8).to_bytes(4, "little") + u64(n) + items)] for items in arrays]
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    (change,) = of_metadata(*sides).arrays
    assert change.first == ((n - 1, "''", "'z'"),) and change.n_differing == 1
    assert time.process_time() - start < 20  # growing with the square: minutes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10


@pytest.mark.thorough
def test_many_keys_and_tensors_take_linear_time(tmp_path: Path) -> None:
    for file, mark in (("a.gguf", b"a"), ("b.gguf", b"b")):
        keys = [pair(mark + b"%05d" % i, U32, i) for i in range(30_000)]
        tensors = [tensor(f"blk.{i}.".encode() + mark, [8], 0, 32 * i) for i in range(30_000)]
        (tmp_path / file).write_bytes(gguf(keys, tensors, bytes(32 * 30_000)))
    start = time.process_time()
    found = sb.diff(tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert time.process_time() - start < 20  # growing with the square: minutes
    assert len(found.values) == 60_000 and [of.kind for of in found.tensors] == ["a", "b"]
    assert all(of.layers == tuple(range(30_000)) and of.count == 30_000 for of in found.tensors)


def test_tensors(models: tuple[Path, Path]) -> None:
    found = sb.diff(*models)
    changes = {(of.kind, *of.layers): (of.what, of.a, of.b) for of in found.tensors}
    assert changes == {
        ("extra.weight",): ("only in a", "F32 4", None),
        ("more.weight",): ("only in b", None, "F32 4 x 2"),
        ("output.weight",): ("bytes", "F32", "F32"),
        ("output_norm.weight",): ("shape", "F32 64", "F32 32"),
        ("ffn_down.weight", 1): ("type", "F32", "Q8_0"),
    }
    assert [(of.key, of.a, of.b) for of in found.values] == [("llama.context_length", "512", "1024")]
    assert found.errors is None and found.a.n_tensors == found.b.n_tensors == 22
    bits = found.b.bits_per_weight
    with sb.GGUF.open(models[1]) as file:
        weights = [(t.n_bytes, t.n_weights) for t in file.tensors.values()]
    assert bits == 8 * sum(n for n, _ in weights) / sum(n for _, n in weights) < 32


def test_layers_alike_are_told_as_one(tmp_path: Path) -> None:
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    shape = {**LLAMA, "n_layer": 12}
    write_model(a, shape=shape, types=["Q8_0"])
    rows = tensor_shapes("llama", shape)["blk.0.ffn_down"]
    blocks = {kind: random_matrix(FORMATS[kind], *rows) for kind in ("Q4_0", "Q5_0")}
    kinds = {i: "Q4_0" if i in (0, 1, 2, 5, 11) else "Q5_0" for i in range(12) if i != 7}
    others = {f"blk.{i}.ffn_down.weight": (blocks[kind], kind) for i, kind in kinds.items()}
    write_model(b, shape=shape, types=["Q8_0"], tensors=others)
    found = sb.diff(a, b)
    assert [(of.kind, ranges(of.layers), of.count, of.a, of.b) for of in found.tensors] == [
        ("ffn_down.weight", "0-2,5,11", 5, "Q8_0", "Q4_0"),
        ("ffn_down.weight", "3-4,6,8-10", 6, "Q8_0", "Q5_0"),
    ]
    n = rows[0] * rows[1]
    assert [of.bytes_b - of.bytes_a for of in found.tensors] == [-5 * n // 2, -6 * n * 3 // 8]
    assert layers_of(["blk.10.x", "blk.9.x", "output", "blk.0.x", "blk.01.x"]) == (0, 9, 10)


def test_weight_errors(models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = sb.diff(*models, weights=True)
    errors = {of.tensor: of for of in found.errors or ()}
    assert list(errors) == ["output.weight", "blk.1.ffn_down.weight"]  # other shapes have none
    assert errors["output.weight"].relative == pytest.approx(0.25, rel=1e-6)
    with sb.GGUF.open(models[0]) as a, sb.GGUF.open(models[1]) as b:
        from gguf.quants import GGMLQuantizationType, dequantize

        x = np.frombuffer(a.tensors["blk.1.ffn_down.weight"].data, np.float32).astype(np.float64)
        raw = np.frombuffer(b.tensors["blk.1.ffn_down.weight"].data, np.uint8)
        y = dequantize(raw, GGMLQuantizationType.Q8_0).astype(np.float64)
    error = errors["blk.1.ffn_down.weight"]
    assert error.rms == pytest.approx(np.sqrt(np.mean(x**2)))
    assert error.rms_error == pytest.approx(np.sqrt(np.mean((x - y.ravel()) ** 2)))
    assert error.relative == error.rms_error / error.rms
    for n in (1, 3):
        monkeypatch.setattr("subbyte.runtime.inspect.diff_weights.default_threads", lambda n=n: (n, ""))
        monkeypatch.setattr("subbyte.runtime.inspect.diff_weights.PIECE", 1 << 10)
        again = sb.diff(*models, weights=True)
        if n == 1:
            first = again
        assert again == first  # whatever the number of threads
    assert {of.tensor: of.relative for of in first.errors or ()} == pytest.approx(
        {name: of.relative for name, of in errors.items()}, rel=1e-9
    )


def test_weights_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    for file, values in ((a, [1, 0, 1]), (b, [np.nan, 2, np.inf])):
        data = b"".join(np.full(8, value, np.float32).tobytes() for value in values)
        file.write_bytes(gguf([], [tensor(name, [8], 0, 32 * i) for i, name in enumerate("xyz")], data))
    found = sb.diff(a, b, weights=True)
    assert [str(of.relative) for of in found.errors or ()] == ["nan", "inf", "inf"]
    assert run(["diff", str(a), str(b), "--weights", "--tensors"]) == 1 and "inf" in capsys.readouterr().out
    assert run(["diff", str(a), str(b), "--weights", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["errors"][0]["relative"] is None


def test_types_that_can_only_be_named_have_no_errors(tmp_path: Path) -> None:
    for file, fill in (("a", 0), ("b", 1)):
        (tmp_path / file).write_bytes(gguf([], [tensor("t", [8], 24)], bytes([fill]) * 8))
    found = sb.diff(tmp_path / "a", tmp_path / "b", weights=True)
    assert [of.what for of in found.tensors] == ["bytes"] and found.errors == ()


def test_progress_ends_with_all(models: tuple[Path, Path]) -> None:
    seen: list[tuple[str, int, int]] = []
    sb.diff(*models, weights=True, on_progress=lambda *step: seen.append(step))
    for what in ("comparing bytes", "measuring weights"):
        steps = [(done, total) for name, done, total in seen if name == what]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1] > 0


def test_the_command(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = map(str, models)
    assert run(["diff", a, b, "--weights"]) == 1
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert err == "" and ["a", a] in lines and ["b", b] in lines
    assert ["-", "llama.context_length", "512"] in lines and ["+", "llama.context_length", "1024"] in lines
    assert "ffn_down F32 -> Q8_0".split() in [line[:4] for line in lines]
    assert ["output", "F32", "1", "0.25000", "0.25000"] in lines
    assert run(["diff", a, b, "-o", "json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["same"] is False and facts["errors"] is None and facts["tensors"][0]["what"] == "only in a"
    assert run(["diff", a, b, "--tensors"]) == 2 and run(["diff", a]) == 2
    assert run(["diff", a, "/nowhere"]) == 4
    Path(b).write_bytes(b"junk")
    capsys.readouterr()
    assert run(["diff", a, b]) == 3 and capsys.readouterr().err.count("\n") == 1


def test_in_a_notebook(models: tuple[Path, Path]) -> None:
    html = sb.diff(*models, weights=True)._repr_html_()
    assert html.count("<table>") == 5 and "F32 -&gt; Q8_0" in html and "<p>no difference</p>" not in html
    assert "no difference" in sb.diff(models[0], models[0])._repr_html_()


def test_long_keys_are_shortened(of_metadata: Files) -> None:
    found = of_metadata([pair(b"k" * 60_000, U32, 1)], [])
    rows = [row for table in tables(found) for row in table.rows]
    assert max(len(cell) for row in rows for cell in row) < 300
