"""Sound GGUF files: what is written is what is read."""

import gc
import json
import os
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_builder import ARR, BOOL, CODES, F32, F64, I32, STR, U8, U16, U32, U64, array, pair, seed, tensor
from gguf_builder import gguf as build
from hypothesis import given
from hypothesis import strategies as st
from paths import SHARED

from subbyte.errors import FormatError, ModelChanged, SubbyteError
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.inspect.summary import summarize

REFS = sorted(SHARED.glob("refs/*/*.gguf"))


@pytest.fixture
def opened(tmp_path):
    def open_bytes(data: bytes, name: str = "model.gguf") -> GGUF:
        (tmp_path / name).write_bytes(data)
        return GGUF.open(tmp_path / name)

    return open_bytes


@pytest.mark.parametrize("version", [2, 3])
def test_gguf_py_files_are_read(tmp_path, version):
    rng = np.random.default_rng(0)
    path = tmp_path / "ein Modell ü.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    scalars = {"uint8": 7, "int8": -7, "uint16": 65535, "int16": -32768, "uint32": 2**32 - 1, "int32": -(2**31)}
    scalars |= {
        "uint64": 2**64 - 1,
        "int64": -(2**63),
        "float32": 0.5,
        "float64": 0.1,
        "bool": True,
        "string": "Zeile\nä",
    }
    for kind, item in scalars.items():
        getattr(writer, f"add_{kind}")(f"x.{kind}", item)
    arrays = {"ints": [1, 2, 3], "floats": [0.5, 1.5], "strings": ["a", "", "ü"], "bools": [True, False]}
    for name, items in arrays.items():
        writer.add_array(f"x.{name}", items)
    tensors = {"f32": rng.standard_normal((3, 5)).astype(np.float32), "f16": np.ones((2, 3, 4), np.float16)}
    for name, items in tensors.items():
        writer.add_tensor(name, items)
    blocks = rng.integers(0, 256, (6, 2 * 144), dtype=np.uint8)
    writer.add_tensor("q4", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    if version == 2:
        path.write_bytes(b"GGUF\2" + path.read_bytes()[5:])
    with GGUF.open(path) as file:
        assert (file.version, file.size, file.path) == (version, path.stat().st_size, path)
        assert {key: file.metadata[f"x.{key}"] for key in scalars | arrays} == scalars | arrays
        assert list(file.tensors) == ["f32", "f16", "q4"]
        assert file.tensors["f16"].shape == (4, 3, 2)
        for name, items in tensors.items():
            assert np.array_equal(np.frombuffer(file.tensors[name].data, items.dtype).reshape(items.shape), items)
        q4 = file.tensors["q4"]
        assert (q4.type, q4.shape, q4.n_bytes, q4.n_weights) == ("Q4_K", (512, 6), 6 * 288, 512 * 6)
        assert bytes(q4.data) == blocks.tobytes() and q4.data.readonly


@pytest.mark.parametrize("path", REFS, ids=lambda path: path.stem)
def test_reference_files_are_read_as_gguf_py_reads_them(path):
    with GGUF.open(path) as file:
        summary = summarize(file)
        assert json.loads(json.dumps(summary.to_dict()))["n_params"] == summary.n_params
        if path.parent.name == "vocab":  # gguf-py takes seconds for these
            assert file.metadata.span("tokenizer.ggml.tokens").count == summary.n_vocab > 30_000
            return
        reader = gguf.GGUFReader(path)
        assert [t.name for t in reader.tensors] == list(file.tensors)
        for theirs, ours in zip(reader.tensors, file.tensors.values(), strict=True):
            assert (theirs.tensor_type.name, tuple(theirs.shape)) == (ours.type, ours.shape)
            assert theirs.data.tobytes() == ours.data
        for key in file.metadata:
            theirs, ours = reader.fields[key].contents(), file.metadata[key]
            if key == "tokenizer.ggml.tokens":  # gguf-py refuses tokens that are not UTF-8
                theirs, ours = len(theirs), len(ours)
            assert theirs == ours


SCALAR_VALUES = {
    kind: st.floats(width=32 if code == "f" else 64, allow_nan=False)
    if code in "fd"
    else st.booleans()
    if code == "?"
    else st.integers(*((0, 2**n - 1) if code.isupper() else (-(2 ** (n - 1)), 2 ** (n - 1) - 1)))
    for kind, code in CODES.items()
    for n in [8 * {"b": 1, "h": 2, "i": 4, "q": 8}.get(code.lower(), 1)]
}
VALUES = SCALAR_VALUES | {STR: st.text(st.characters(exclude_categories=["Cs"]))}
PAIRS = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind]))
ARRAYS = st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind])))
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(
    st.dictionaries(KEYS.map("x.".__add__), PAIRS),
    st.dictionaries(KEYS.map("y.".__add__), ARRAYS),
    st.dictionaries(KEYS, st.lists(st.integers(1, 3), min_size=1, max_size=4)),
    st.sampled_from([8, 32, 4096]),
    st.integers(0, 2),
)
def test_any_file_reads_back(opened, scalars, arrays, shapes, alignment, gap):
    pairs = [pair("general.alignment", U32, alignment)]
    pairs += [pair(key, *item) for key, item in scalars.items()]
    pairs += [pair(key, ARR, array(*item)) for key, item in arrays.items()]
    tensors, weights, data = [], {}, b""
    for name, shape in shapes.items():
        data += bytes(-len(data) % alignment + gap * alignment)
        tensors.append(tensor(name, shape, 0, len(data)))
        weights[name] = os.urandom(4 * int(np.prod(shape)))
        data += weights[name]
    with opened(build(pairs, tensors, data, alignment=alignment)) as file:
        expected = {key: item for key, (_, item) in (scalars | arrays).items()}
        assert dict(file.metadata) == expected | {"general.alignment": alignment}
        assert {name: list(t.shape) for name, t in file.tensors.items()} == shapes
        assert {name: t.data for name, t in file.tensors.items()} == weights
        json.dumps(summarize(file).to_dict())


def test_sound_oddities_are_accepted(opened):
    """The "must still load" list: each of these is seen in real files."""
    for data in (
        seed(),
        seed() + b"trailing junk" * 9,
        build(),  # no keys, no tensors
        build([pair("tokenizer.ggml.tokens", ARR, array(STR, []))]),
        build([pair("x", ARR, array(I32, []))], [tensor("t", [2], 0, 64)], bytes(72)),  # gap before the tensor
        build([pair("k\n\x1b[2J", STR, b"\3\0\0\0\0\0\0\0\xff\xfe\0")]),  # control characters, not UTF-8
        build([], [tensor("unknown.tensor", [32], 24)], bytes(32)),  # a type that can be named only
        build([pair("b", BOOL, b"\7")]),  # any byte but 0 is true
        build([pair("split.no", U16, 0), pair("split.count", U16, 1)]),
    ):
        with opened(data) as file:
            assert len(summarize(file).metadata) == len(file.metadata)
    with opened(build([pair("b", BOOL, b"\7"), pair("s", STR, b"\2\0\0\0\0\0\0\0\xffa")])) as file:
        assert file.metadata.bool("b") is True and file.metadata.str("s") == "\ufffda"


def test_summary_counts_what_is_there(opened):
    with opened(seed()) as file:
        summary = summarize(file)
    assert (summary.architecture, summary.n_params, summary.n_vocab) == ("llama", 128 + 32 + 64, 4)
    assert summary.bits_per_weight == 8 * (136 + 128 + 68) / 224
    assert [(t.type, t.n_tensors, t.n_bytes) for t in summary.types] == [("Q8_0", 2, 204), ("F32", 1, 128)]
    tokens = next(item for item in summary.metadata if item.key == "tokenizer.ggml.tokens")
    assert (tokens.type, tokens.count, tokens.text) == ("[str]", 4, "['a', 'bc', '', 'def']")


@pytest.mark.parametrize(("count", "number"), [(65535, 0), (2, 2), (2, 65535)])
def test_odd_split_numbers_are_refused(opened, count, number):
    data = build([pair("split.no", U16, number), pair("split.count", U16, count)])
    with pytest.raises(SubbyteError, match="split"):
        opened(data, f"m-00001-of-{count:05}.gguf")


def test_views_outlive_close(opened):
    file = opened(seed())
    weights, tokens = file.tensors["output_norm.weight"].data, file.metadata.span("tokenizer.ggml.tokens")
    before = bytes(weights)
    file.close()
    file.close()
    del file
    gc.collect()
    assert bytes(weights) == before and tokens.values() == ["a", "bc", "", "def"]


def test_a_closed_file_says_so(opened):
    file = opened(seed())
    file.close()
    for use in (lambda: file.tensors, lambda: file.metadata, file.check_unchanged):
        with pytest.raises(SubbyteError, match=r"model.gguf: was closed; open it again"):
            use()


def test_no_descriptor_or_map_is_left(opened):
    def in_use() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("model.gguf")

    before = in_use()
    for _ in range(20):
        opened(seed()).close()
        opened(seed())  # never closed
        with pytest.raises(FormatError):
            opened(seed()[:-1])
    gc.collect()
    assert in_use() == before


def test_a_changed_file_is_noticed(opened):
    file = opened(seed())
    file.check_unchanged()
    with file.path.open("r+b") as same:
        same.truncate(100)
    with pytest.raises(ModelChanged, match=r"model.gguf: was changed from \d+ to 100 bytes"):
        file.check_unchanged()
    file = opened(seed())
    os.utime(file.path, ns=(1, 1))
    with pytest.raises(ModelChanged, match=r"changed in place"):
        file.check_unchanged()
    file = opened(seed())
    file.path.unlink()
    file.check_unchanged()  # the map keeps the old file


METADATA = [
    pair("u8", U8, 200), pair("u64", U64, 2**40), pair("i32", I32, -1), pair("f32", F32, 0.5), pair("f64", F64, 0.25),
    pair("nan", F32, float("nan")), pair("inf", F64, float("inf")), pair("text", STR, "e\x1b[31m"),
    pair("yes", BOOL, True), pair("ints", ARR, array(I32, [1, 2, 3])), pair("strings", ARR, array(STR, ["a"])),
    pair("bools", ARR, array(BOOL, [True, False])), pair("none", ARR, array(STR, [])),
    pair("long", ARR, array(U8, bytes(70_000))),
]  # fmt: skip


def test_typed_getters(opened):
    get = opened(build(METADATA)).metadata
    assert get.u32("u8") == 200 and get.u32("u64", hi=2**41) == 2**40 and get.u32("i32", lo=-1) == -1
    assert get.f32("f32") == 0.5 and get.f32("f64") == 0.25 and type(get.f32("u8")) is float
    assert get.bool("yes") is True and get.str("text") == "e\x1b[31m"
    assert get.u32_array("ints") == get.u32_or_array("ints", 3) == [1, 2, 3] and get.u32_array("none") == []
    assert get.u32_or_array("u8", 2) == [200, 200] and get.u32_or_array("absent", 2, 5) == [5, 5]
    assert get.u32_or_bools("bools", 2, 5) == [True, False]
    assert get.u32_or_bools("u8", 2, 5) == 200 and get.u32_or_bools("absent", 2, 5) == 5
    span = get.span("strings")
    assert (span.element_type, span.count, bytes(span.data)) == (STR, 1, b"\1\0\0\0\0\0\0\0a")
    assert get.span("absent") is None and get.span("long").count == 70_000
    assert (get.u32("absent", 1), get.f32("absent", None), get.bool("absent", False), get.str("absent", "x")) == (
        1, None, False, "x")  # fmt: skip
    assert get.u32_array("absent", None) is None and get.get("absent") is None and "absent" not in get
    with pytest.raises(KeyError):
        get["absent"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda m: m.u32("absent"), r"metadata 'absent' is missing; allowed is an integer from 0 to 4294967295"),
        (lambda m: m.u32("absent", 0, lo=1, hi=9), r"'absent' is missing and would be 0; .* from 1 to 9"),
        (lambda m: m.u32("u64"), r"'u64' is u64 1099511627776; .* an integer from 0 to"),
        (lambda m: m.u32("i32"), r"'i32' is i32 -1; "),
        (lambda m: m.u32("f32"), r"'f32' is f32 0.5; allowed is an integer"),
        (lambda m: m.u32("text"), r"'text' is str 'e\\x1b\[31m'; allowed is an integer"),
        (lambda m: m.u32("yes"), r"'yes' is bool True; allowed is an integer"),
        (lambda m: m.u32("ints"), r"'ints' is an array of 3 i32; allowed is an integer"),
        (lambda m: m.f32("nan"), r"'nan' is f32 nan; allowed is a finite number:"),
        (lambda m: m.f32("inf"), r"'inf' is f64 inf"),
        (lambda m: m.f32("f32", lo=1, hi=2), r"'f32' is f32 0.5; allowed is a finite number from 1 to 2:"),
        (lambda m: m.f32("absent", float("nan")), r"'absent' is missing and would be nan"),
        (lambda m: m.f32("text"), r"'text' is str"),
        (lambda m: m.bool("u8"), r"'u8' is u8 200; allowed is a bool"),
        (lambda m: m.str("u8"), r"'u8' is u8 200; allowed is a string"),
        (lambda m: m.u32_array("u8"), r"'u8' is u8 200; allowed is an array of at most 65536"),
        (lambda m: m.u32_array("ints", length=2), r"'ints' is an array of 3 i32; allowed is an array of 2 integers"),
        (lambda m: m.u32_array("ints", hi=2), r"'ints' is an array of 3 i32 with 3 at index 2; .* from 0 to 2"),
        (lambda m: m.u32_array("strings"), r"'strings' is an array of 1 str; "),
        (lambda m: m.u32_array("long"), r"'long' is an array of 70000 u8; "),
        (lambda m: m.u32_or_array("ints", 4), r"'ints' is an array of 3 i32; allowed is an array of 4"),
        (lambda m: m.u32_or_array("absent", 4), r"'absent' is missing"),
        (lambda m: m.u32_or_bools("bools", 3, 5), r"'bools' is an array of 2 bool; allowed is .* an array of 3 bools"),
        (lambda m: m.u32_or_bools("ints", 3, 5), r"'ints' is an array of 3 i32; allowed is an integer from 0 to"),
        (lambda m: m.u32_or_bools("i32", 3, 5, lo=1), r"'i32' is i32 -1; allowed is an integer from 1 to"),
        (lambda m: m.u32_or_bools("yes", 3, 5), r"'yes' is bool True; allowed is an integer"),
        (lambda m: m.span("u8"), r"'u8' is u8 200; allowed is an array"),
    ],
)
def test_getters_refuse_in_one_line(opened, ask, says):
    with pytest.raises(FormatError, match=r"model\.gguf: metadata .*" + says[says.find("'") :]) as caught:
        ask(opened(build(METADATA)).metadata)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("kind", gguf.GGMLQuantizationType, ids=lambda kind: kind.name)
def test_every_block_type_has_its_size(opened, kind):
    n_weights, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    if kind.name == "Q8_1":
        n_bytes = 36  # two F16 and 32 codes; gguf-py still has its first layout, two F32
    info = opened(build([], [tensor("t", [2 * n_weights, 3], kind)], bytes(6 * n_bytes))).tensors["t"]
    assert (info.type, info.n_bytes) == (kind.name, 6 * n_bytes)
