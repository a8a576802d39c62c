"""The file's structure: header, metadata and tensor table that lie, are cut, or are of another format."""

import os
from pathlib import Path

import numpy as np
from gguf_builder import (
    ARR,
    BOOL,
    F32,
    I8,
    Q4_K,
    Q8_0,
    STR,
    U8,
    U16,
    U32,
    U64,
    array,
    pair,
    string,
    tensor,
    u32,
    u64,
)
from gguf_builder import gguf as build
from hostile import Write, content, metadata, model, section
from tiny_models import write_model

from subbyte.errors import FormatError, ModelNotFound, UnsupportedError

NONE_OF_OURS = [
    ("empty", b"", FormatError, "the file is empty"),
    ("one byte", b"G", FormatError, "the magic"),
    ("magic only", b"GGUF", FormatError, "byte 4: the version needs 4 bytes, 0 are left"),
    ("counts cut", b"GGUF" + u32(3) + u64(0), FormatError, "byte 16: the number of metadata keys needs 8 bytes, 0"),
    ("version 0", build(version=0), FormatError, "version 0"),
    ("version 1", build(version=1), UnsupportedError, "GGUF version 1"),
    ("version 4", build(version=4), UnsupportedError, "GGUF version 4"),
    ("big-endian", build(version=3 << 24), UnsupportedError, "a big-endian file (version 3)"),
    ("2^63 tensors", build(n_tensors=2**63), FormatError, f"byte 8: {2**63} tensors"),
    ("2^40 tensors", build(n_tensors=2**40), FormatError, "at most 65536"),
    ("too many tensors", build(n_tensors=3), FormatError, "3 tensors need at least 99 bytes, 0 are left"),
    ("2^63 keys", build(n_pairs=2**63), FormatError, f"byte 16: {2**63} metadata keys"),
    ("too many keys", build(n_pairs=1000), FormatError, "1000 metadata keys"),
    ("a million keys",
        build([pair(b"%07d" % i, U8, 0) for i in range(50_000)], n_pairs=10**6), FormatError, "1000000 metadata keys"),
    ("safetensors", u64(60) + b'{"__metadata__":{}}', FormatError, "safetensors"),
    ("ggjt", b"tjgg" + u32(3), FormatError, "GGJT"),
    ("ggml", b"lmgg" + u32(3), FormatError, "GGML"),
    ("zip", b"PK\3\4" + bytes(30), FormatError, "zip archive"),
    ("pickle", b"\x80\2}q\0.", FormatError, "pickle"),
    ("html", b"\n<!DOCTYPE html><html>", FormatError, "an HTML page"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid", FormatError, "Git LFS pointer"),
    ("gzip", b"\x1f\x8b\x08", FormatError, "gzip"),
    ("zeros", bytes(4096), FormatError, "zeros only"),
    ("text", b"Entry not found\n", FormatError, r"text that starts with 'Entry not found\n'"),
    ("noise", b"\x1b[2J\xff\xfe", FormatError, "starting with bytes 1b 5b 32 4a"),
    ("torch zip", b"PK\3\4" + bytes(26) + b"archive/data.pkl", FormatError, "zip archive"),
    ("bzip2", b"BZh91AY&SY", FormatError, "not GGUF"),
    ("zstd", b"\x28\xb5\x2f\xfd" + bytes(20), FormatError, "not GGUF"),
    ("elf", b"\x7fELF" + bytes(60), FormatError, "not GGUF"),
    ("json", b'{"error": "Repository not found"}', FormatError, "not GGUF"),
    ("magic backwards", b"FUGG" + u32(3) + bytes(16), FormatError, "not GGUF"),
    ("magic in small letters", b"gguf" + u32(3) + bytes(16), FormatError, "not GGUF"),
    ("version 2^32-1", build(version=2**32 - 1), UnsupportedError, "version 4294967295"),
    ("cut in a tensor's shape", build(n_tensors=1) + string("t") + u32(4) + u64(8), FormatError, "1 tensors need"),
    ("cut in its type", build(n_tensors=1) + string("t" * 20) + u32(1) + u64(8) + bytes(2), FormatError, "'tttttt"),
    ("cut in its offset", build(n_tensors=1) + string("t" * 9) + u32(1) + u64(8) + bytes(11), FormatError, "'ttttt"),
]  # fmt: skip

LONG = 2**62
TAIL = bytes(40)  # room for what a wrong count claims to hold
METADATA = [
    ("key length 2^63", u64(2**63) + TAIL, f"the key needs {2**63} bytes"),
    ("key too long", string(b"k" * 70_000) + u32(U8) + TAIL, "the key is 70000 bytes long, at most 65535"),
    ("empty key", pair("", U8, 1) + TAIL, "metadata entry 1 of 1, byte 24: the key is empty"),
    ("key not UTF-8", pair(b"\xff\x1b[2J", U8, 1) + TAIL, r"'\\xff\x1b[2J', which is not UTF-8"),
    ("string length 2^30", pair("s", STR, u64(2**30) + TAIL), "metadata 's', byte 45: the text needs 1073741824 bytes"),
    ("array length 2^62", pair("a", ARR, u32(U8) + u64(LONG) + TAIL), f"an array of {LONG} u8 needs at least"),
    ("strings 2^30", pair("a", ARR, u32(STR) + u64(2**30) + TAIL), "an array of 1073741824 str needs at least"),
    ("strings 2^61", pair("a", ARR, u32(STR) + u64(2**61) + TAIL), f"needs at least {2**64} bytes"),
    ("string in array", pair("a", ARR, u32(STR) + u64(2) + string("x") + u64(2**63) + TAIL), "string 1 of 2 needs"),
    ("nested", pair("a", ARR, (u32(ARR) + u64(1)) * 20_000 + TAIL), "an array of arrays"),
    ("type 13", pair("k", 13, TAIL), "metadata 'k', byte 33: value type 13 is unknown"),
    ("type 2^32-1", pair("k", 2**32 - 1, TAIL), "value type 4294967295"),
    ("element type 99", pair("k", ARR, u32(99) + u64(0) + TAIL), "element type 99"),
    ("alignment 0", pair("general.alignment", U32, 0), "'general.alignment' is u32 0; allowed is an integer from 8"),
    ("alignment 24", pair("general.alignment", U32, 24), "'general.alignment' is 24, a power of two is needed"),
    ("alignment 2^31", pair("general.alignment", U32, 2**31), "from 8 to 65536"),
    ("alignment text", pair("general.alignment", STR, "\x1b[2J"), r"is str '\x1b[2J'; allowed is an integer"),
    ("alignment array", pair("general.alignment", ARR, array(U32, [32])), "is an array of 1 u32"),
    ("duplicate key", [pair("a\nb", U8, 1)] * 2, r"key 'a\nb' occurs twice"),
    ("key of a NUL", [pair(b"a\0b", U8, 1)] * 2, r"key 'a\x00b' occurs twice"),
    ("bools 2^40", pair("a", ARR, u32(BOOL) + u64(2**40) + TAIL), "an array of 1099511627776 bool needs at least"),
    ("u64 2^61", pair("a", ARR, u32(U64) + u64(2**61) + TAIL), f"needs at least {2**64} bytes"),
    ("array cut in its count", pair("a", ARR, u32(U8) + bytes(3)), "metadata 'a'"),
    ("array cut in its type", pair("a", ARR, bytes(2)), "metadata 'a'"),
    ("value cut", pair("a", U64, bytes(7)), "metadata 'a'"),
    ("key without a type", string("abcdef") + bytes(2), "metadata 'abcdef'"),
    ("string not closed", pair("a", STR, u64(5) + b"abcd"), "metadata 'a'"),
    ("split.count of text", pair("split.count", STR, "two"), "split.count"),
    ("split.count 65535 without a name for it", [pair("split.count", U16, 65535), pair("split.no", U16, 3)], ""),
]  # fmt: skip

DATA = bytes(4096)
TENSORS = [
    ("n_dims 0", [tensor("t", [])], FormatError, "tensor 't', byte 33: it has 0 dimensions, 1 to 4"),
    ("n_dims 5", [tensor("t", [1] * 5)], FormatError, "5 dimensions"),
    ("n_dims 10^6", [tensor("t", [1], n_dims=10**6)], FormatError, "1000000 dimensions"),
    ("dim 0", [tensor("t", [32, 0])], FormatError, "its shape is [32, 0]"),
    ("dim 2^63", [tensor("t", [2**63])], FormatError, f"its shape is [{2**63}]"),
    ("elements overflow", [tensor("t", [2**32, 2**32])], FormatError, "F32 of shape [4294967296, 4294967296] fills"),
    ("elements wrap to 0", [tensor("t", [2**62, 2**62, 2**62, 2**62])], FormatError, "the file ends at"),
    ("bytes overflow", [tensor("t", [2**42 + 1, 2**20])], FormatError, "the file ends at"),
    ("padded sum", [tensor("a", [2**61 - 8]), tensor("b", [2**61 - 8], 0, 2**63 - 32)], FormatError, "tensor 'a'"),
    ("type 999", [tensor("t", [32], 999)], UnsupportedError, "tensor 't', byte 45: block type 999"),
    ("type 4", [tensor("t", [32], 4)], UnsupportedError, "(Q4_2) was removed from GGUF"),
    ("type 31", [tensor("t", [32], 31)], UnsupportedError, "(Q4_0_4_4) was removed"),
    ("type 38", [tensor("t", [32], 38)], UnsupportedError, "(IQ4_NL_8_8) was removed"),
    ("type 137", [tensor("t", [256], 137)], UnsupportedError, "(IQ2_K) is none of GGUF's but ik_llama.cpp's own"),
    ("type 230", [tensor("t", [256], 230)], UnsupportedError, "(97 or more) is none of GGUF's but ik_llama.cpp's own"),
    ("type 60", [tensor("t", [256], 60)], UnsupportedError, "unknown; allowed are F32, F16"),
    ("31 of Q8_0", [tensor("t", [31], Q8_0)], FormatError, "its rows have 31 weights, Q8_0 needs a multiple of 32"),
    ("32 of Q4_K", [tensor("t", [32, 8], Q4_K)], FormatError, "Q4_K needs a multiple of 256"),
    ("offset past end", [tensor("t", [32], 0, 1 << 20)], FormatError, "the file ends at"),
    ("offset 2^64-32", [tensor("t", [32], 0, 2**64 - 32)], FormatError, "the file ends at"),
    ("offset unaligned", [tensor("t", [32], 0, 33)], FormatError, "offset 33 is not a multiple of the alignment 32"),
    ("overlap", [tensor("a", [64]), tensor("b", [64], 0, 32)], FormatError, "tensor 'b', byte 82: it starts at"),
    ("equal offsets", [tensor("a", [8]), tensor("b", [8])], FormatError, "but the tensor listed before it ends at"),
    ("wrong order", [tensor("a", [8], 0, 32), tensor("b", [8])], FormatError, "tensor 'b'"),
    ("one byte past end", [tensor("t", [1024], 0, 32)], FormatError, "tensor 't'"),
    ("duplicate", [tensor("t", [8]), tensor("t", [8], 0, 32)], FormatError, "tensor 2 of 2, byte 57: name 't' occurs"),
    ("long name", [tensor("t" * 64, [8])], FormatError, "the name is 64 bytes long, at most 63"),
    ("empty name", [tensor("", [8])], FormatError, "tensor 1 of 1, byte 24: the name is empty"),
    ("name not UTF-8", [tensor(b"\xff\n", [8])], FormatError, "which is not UTF-8"),
    ("name length", [u64(2**63) + bytes(60)], FormatError, "the name needs"),
    ("control name", [tensor("a\x1b]0;x\a", [32], 0, 1)], FormatError, r"tensor 'a\x1b]0;x\x07'"),
    ("row of 2^63-1", [tensor("t", [2**63 - 1])], FormatError, "the file ends at"),
    ("four dimensions of 2^16", [tensor("t", [2**16] * 4)], FormatError, "the file ends at"),
    ("cut in the shape", [string("t") + u32(4) + u64(8)], FormatError, "tensor 't'"),
    ("name of a NUL twice", [tensor("a\0", [8]), tensor("a\0", [8], 0, 32)], FormatError, r"'a\x00'"),
    ("gap in the order", [tensor("a", [8], 0, 64), tensor("b", [8], 0, 32)], FormatError, "tensor 'b'"),
    ("IQ1_S of 255", [tensor("t", [255], 19)], FormatError, "needs a multiple of 256"),
    ("TQ1_0 of 128", [tensor("t", [128], 34)], FormatError, "needs a multiple of 256"),
    ("type 2^31", [tensor("t", [256], 2**31)], UnsupportedError, "block type"),
]  # fmt: skip


def _cut(n: int) -> Write:
    """A whole model, n bytes of which are left; of negative n, all but so many."""

    def write(path: Path) -> None:
        write_model(path)
        os.truncate(path, n if n >= 0 else path.stat().st_size + n)

    return write


def _grown(path: Path) -> None:
    write_model(path)
    with path.open("ab") as file:
        file.write(b"\0" * 1000)


def _instead(path: Path) -> None:
    path.symlink_to(path)


CUTS = [
    *[(f"cut to {n} bytes", _cut(n), FormatError) for n in (5, 23, 24, 30, 100, 1000, 4000, 5000, 5800)],
    ("cut at its last byte", _cut(-1), FormatError, "the file ends at"),
    ("cut in the middle of a tensor", _cut(-40_000), FormatError, "the file ends at"),
    ("cut to its header", _cut(6000), FormatError, "the file ends at"),
    ("bytes behind the end", _grown, None),
]

PLACES = [
    ("a directory", os.mkdir, ModelNotFound, "is a folder"),
    ("a pipe", os.mkfifo, FormatError, "a pipe, not a regular file"),
    ("a link to nothing", lambda path: path.symlink_to("nothing"), ModelNotFound, ""),
    ("a link to itself", _instead, ModelNotFound, ""),
    ("a link to a device", lambda path: path.symlink_to("/dev/zero"), FormatError, "a device, not a regular file"),
    ("a link to a model", lambda path: (write_model(path.with_name("n")), path.symlink_to("n")), None),
    ("nothing", lambda path: None, ModelNotFound, ""),
]  # fmt: skip

SOUND = [
    ("GGUF version 2", lambda path: _version_2(path), None),
    ("unknown keys", metadata({"made.up": 7, "made.up.too": ["a", "b"], "made.up.three": (I8, -1)}), None),
    ("an array of nothing", metadata({"made.up": (ARR, array(STR, []))}), None),
    ("a key of 65535 bytes", metadata({"k" * 65_535: 1}), None),
    ("a text of 1 MB", metadata({"made.up": "x" * 2**20}), None),
    ("a text of control characters", metadata({"general.name": "\x1b[2J\x1b]0;x\a\r\n\0"}), None),
    ("a name that is no UTF-8", metadata({"general.name": (STR, string(b"\xff\xfe"))}), None),
    ("a bool of 7", metadata({"made.up": (BOOL, b"\7")}), None),
    ("numbers that are none", metadata({"made.up": (F32, float("nan")), "made.up.too": [float("inf")]}), None),
    ("an alignment of 64", metadata({"general.alignment": (U32, 64)}), None),
    ("no name", metadata({"general.name": None}), None),
    ("an extra tensor", model(tensors={"extra.weight": np.zeros(8, np.float32)}), None),
]  # fmt: skip


def _version_2(path: Path) -> None:
    write_model(path)
    data = path.read_bytes()
    path.write_bytes(data[:4] + u32(2) + data[8:])


def _pairs(data: bytes | list[bytes]) -> list[bytes]:
    return data if isinstance(data, list) else [data]


CASES = [
    *section("A", [(what, content(data), error, says) for what, data, error, says in NONE_OF_OURS]),
    *section(
        "B",
        [
            (what, content(build(data if isinstance(data, list) else [data])), FormatError, says)
            for what, data, says in METADATA
        ],
    ),
    *section("C", [(what, content(build([], tensors, DATA)), *end) for what, tensors, *end in TENSORS]),
    *section("D", CUTS),
    *section("E", PLACES),
    *section("F", SOUND),
]
