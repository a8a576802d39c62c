"""Broken, foreign and malicious files: each ends in one typed error of one line, soon and in little memory."""

import json
import os
import resource
import socket
import time
from xml.etree import ElementTree

import pytest
from gguf_builder import (
    ARR,
    Q4_K,
    Q8_0,
    STR,
    U8,
    U32,
    array,
    pair,
    seed,
    string,
    tensor,
    u32,
    u64,
)
from gguf_builder import gguf as build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subbyte.errors import FormatError, ModelNotFound, ResourceError, SubbyteError, UnsupportedError
from subbyte.runtime.gguf._strings import scan_strings, split_strings
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.inspect.diff import diff, tables
from subbyte.runtime.inspect.heatmap import chart
from subbyte.runtime.inspect.summary import summarize

MIB = 1 << 20


@pytest.fixture
def refused(tmp_path):
    """Open bytes that must be refused within the contract's limits; return the message."""

    def check(data: bytes, kind: type[SubbyteError] = FormatError) -> str:
        path = tmp_path / "bad.gguf"
        path.write_bytes(data)
        memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with pytest.raises(SubbyteError) as caught:
            GGUF.open(path)
        assert time.process_time() - start < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024 + 4 * len(data) // 1024
        message = str(caught.value)
        assert type(caught.value) is kind and message.startswith(str(path)) and message.isprintable(), message
        return message.removeprefix(str(path))

    return check


def sound(path) -> bool:
    """Open a file and use all of it; False when it is refused. Any other error is a bug."""
    try:
        file = GGUF.open(path)
    except SubbyteError as error:
        assert str(error).isprintable()
        return False
    with file:
        for info in file.tensors.values():
            assert len(info.data) == info.n_bytes
        json.dumps(summarize(file).to_dict())
        dict(file.metadata)
        ElementTree.fromstring(chart(file).svg("type"))
    return True


def test_every_truncation_is_refused(tmp_path):
    path, data = tmp_path / "cut.gguf", seed()
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(FormatError, match=r"cut\.gguf: .*byte \d+: .+; .+"):
            GGUF.open(path)
    path.write_bytes(data)
    assert sound(path)


@pytest.mark.thorough
def test_every_header_byte_may_lie(tmp_path):
    path, data = tmp_path / "bytes.gguf", seed()
    header = data.index(bytes(range(64)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for at in range(header):
        for lie in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[at] ^ 1):
            path.write_bytes(data[:at] + bytes([lie]) + data[at + 1 :])
            sound(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024


@pytest.mark.parametrize(
    "lie", [0, 1, 2**31 - 1, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1]
)
@pytest.mark.thorough
def test_every_field_may_lie(tmp_path, lie):
    path, data = tmp_path / "fields.gguf", seed()
    for at in range(4, data.index(bytes(range(64))) - 8):
        path.write_bytes(data[:at] + u64(lie) + data[at + 8 :])
        sound(path)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.thorough
def test_random_damage(tmp_path, data):
    path, bytes_ = tmp_path / "random.gguf", bytearray(seed())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bytes_) - 1))
        bytes_[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=12))
    path.write_bytes(bytes_)
    if sound(path):
        (tmp_path / "seed.gguf").write_bytes(seed())
        found = diff(tmp_path / "seed.gguf", path, weights=True)
        assert all(row for table in tables(found) for row in table.rows) and found._repr_html_()
        json.dumps(found.to_dict())


HEADERS = {
    "empty": (b"", FormatError, "the file is empty"),
    "one byte": (b"G", FormatError, "the magic"),
    "magic only": (b"GGUF", FormatError, "byte 4: the version needs 4 bytes, 0 are left"),
    "counts cut": (b"GGUF" + u32(3) + u64(0), FormatError, "byte 16: the number of metadata keys needs 8 bytes, 0"),
    "version 0": (build(version=0), FormatError, "version 0"),
    "version 1": (build(version=1), UnsupportedError, "GGUF version 1"),
    "version 4": (build(version=4), UnsupportedError, "GGUF version 4"),
    "big-endian": (build(version=3 << 24), UnsupportedError, "a big-endian file (version 3)"),
    "2^63 tensors": (build(n_tensors=2**63), FormatError, f"byte 8: {2**63} tensors"),
    "2^40 tensors": (build(n_tensors=2**40), FormatError, "at most 65536"),
    "too many tensors": (build(n_tensors=3), FormatError, "3 tensors need at least 99 bytes, 0 are left"),
    "2^63 keys": (build(n_pairs=2**63), FormatError, f"byte 16: {2**63} metadata keys"),
    "too many keys": (build(n_pairs=1000), FormatError, "1000 metadata keys"),
    "a million keys": (
        build([pair(b"%07d" % i, U8, 0) for i in range(50_000)], n_pairs=10**6), FormatError, "1000000 metadata keys"),
    "safetensors": (u64(60) + b'{"__metadata__":{}}', FormatError, "safetensors"),
    "ggjt": (b"tjgg" + u32(3), FormatError, "GGJT"),
    "ggml": (b"lmgg" + u32(3), FormatError, "GGML"),
    "zip": (b"PK\3\4" + bytes(30), FormatError, "zip archive"),
    "pickle": (b"\x80\2}q\0.", FormatError, "pickle"),
    "html": (b"\n<!DOCTYPE html><html>", FormatError, "an HTML page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", FormatError, "Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08", FormatError, "gzip"),
    "zeros": (bytes(4096), FormatError, "zeros only"),
    "text": (b"Entry not found\n", FormatError, r"text that starts with 'Entry not found\n'"),
    "noise": (b"\x1b[2J\xff\xfe", FormatError, "starting with bytes 1b 5b 32 4a"),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_header(refused, case):
    data, kind, says = HEADERS[case]
    assert says in refused(data, kind)


LONG = 2**62
TAIL = bytes(40)  # room for what a wrong count claims to hold
METADATA = {
    "key length 2^63": (u64(2**63) + TAIL, f"the key needs {2**63} bytes"),
    "key too long": (string(b"k" * 70_000) + u32(U8) + TAIL, "the key is 70000 bytes long, at most 65535"),
    "empty key": (pair("", U8, 1) + TAIL, "metadata entry 1 of 1, byte 24: the key is empty"),
    "key not UTF-8": (pair(b"\xff\x1b[2J", U8, 1) + TAIL, r"'\\xff\x1b[2J', which is not UTF-8"),
    "string length 2^30": (pair("s", STR, u64(2**30) + TAIL), "metadata 's', byte 45: the text needs 1073741824 bytes"),
    "array length 2^62": (pair("a", ARR, u32(U8) + u64(LONG) + TAIL), f"an array of {LONG} u8 needs at least"),
    "strings 2^30": (pair("a", ARR, u32(STR) + u64(2**30) + TAIL), "an array of 1073741824 str needs at least"),
    "strings 2^61": (pair("a", ARR, u32(STR) + u64(2**61) + TAIL), f"needs at least {2**64} bytes"),
    "string in array": (pair("a", ARR, u32(STR) + u64(2) + string("x") + u64(2**63) + TAIL), "string 1 of 2 needs"),
    "nested": (pair("a", ARR, (u32(ARR) + u64(1)) * 20_000 + TAIL), "an array of arrays"),
    "type 13": (pair("k", 13, TAIL), "metadata 'k', byte 33: value type 13 is unknown"),
    "type 2^32-1": (pair("k", 2**32 - 1, TAIL), "value type 4294967295"),
    "element type 99": (pair("k", ARR, u32(99) + u64(0) + TAIL), "element type 99"),
    "alignment 0": (pair("general.alignment", U32, 0), "'general.alignment' is u32 0; allowed is an integer from 8"),
    "alignment 24": (pair("general.alignment", U32, 24), "'general.alignment' is 24, a power of two is needed"),
    "alignment 2^31": (pair("general.alignment", U32, 2**31), "from 8 to 65536"),
    "alignment text": (pair("general.alignment", STR, "\x1b[2J"), r"is str '\x1b[2J'; allowed is an integer"),
    "alignment array": (pair("general.alignment", ARR, array(U32, [32])), "is an array of 1 u32"),
}  # fmt: skip


@pytest.mark.parametrize("case", METADATA)
def test_metadata(refused, case):
    pairs, says = METADATA[case]
    assert says in refused(build([pairs]))


def test_duplicate_key(refused):
    assert r"key 'a\nb' occurs twice" in refused(build([pair("a\nb", U8, 1)] * 2))


def test_many_keys_take_linear_time(tmp_path):
    path = tmp_path / "many.gguf"
    path.write_bytes(build([pair(b"%05d" % i, U8, 0) for i in range(65_536)]))
    start = time.process_time()
    assert len(GGUF.open(path).metadata) == 65_536
    assert time.process_time() - start < 5  # growing with the square: minutes


DATA = bytes(4096)
TENSORS = {
    "n_dims 0": ([tensor("t", [])], FormatError, "tensor 't', byte 33: it has 0 dimensions, 1 to 4"),
    "n_dims 5": ([tensor("t", [1] * 5)], FormatError, "5 dimensions"),
    "n_dims 10^6": ([tensor("t", [1], n_dims=10**6)], FormatError, "1000000 dimensions"),
    "dim 0": ([tensor("t", [32, 0])], FormatError, "its shape is [32, 0]"),
    "dim 2^63": ([tensor("t", [2**63])], FormatError, f"its shape is [{2**63}]"),
    "elements overflow": ([tensor("t", [2**32, 2**32])], FormatError, "F32 of shape [4294967296, 4294967296] fills"),
    "elements wrap to 0": ([tensor("t", [2**62, 2**62, 2**62, 2**62])], FormatError, "the file ends at"),
    "bytes overflow": ([tensor("t", [2**42 + 1, 2**20])], FormatError, "the file ends at"),
    "padded sum": ([tensor("a", [2**61 - 8]), tensor("b", [2**61 - 8], 0, 2**63 - 32)], FormatError, "tensor 'a'"),
    "type 999": ([tensor("t", [32], 999)], UnsupportedError, "tensor 't', byte 45: block type 999"),
    "type 4": ([tensor("t", [32], 4)], UnsupportedError, "(Q4_2) was removed from GGUF"),
    "type 31": ([tensor("t", [32], 31)], UnsupportedError, "(Q4_0_4_4) was removed"),
    "type 38": ([tensor("t", [32], 38)], UnsupportedError, "(IQ4_NL_8_8) was removed"),
    "type 137": ([tensor("t", [256], 137)], UnsupportedError, "(IQ2_K) is none of GGUF's but ik_llama.cpp's own"),
    "type 230": ([tensor("t", [256], 230)], UnsupportedError, "(97 or more) is none of GGUF's but ik_llama.cpp's own"),
    "type 60": ([tensor("t", [256], 60)], UnsupportedError, "unknown; allowed are F32, F16"),
    "31 of Q8_0": ([tensor("t", [31], Q8_0)], FormatError, "its rows have 31 weights, Q8_0 needs a multiple of 32"),
    "32 of Q4_K": ([tensor("t", [32, 8], Q4_K)], FormatError, "Q4_K needs a multiple of 256"),
    "offset past end": ([tensor("t", [32], 0, 1 << 20)], FormatError, "the file ends at"),
    "offset 2^64-32": ([tensor("t", [32], 0, 2**64 - 32)], FormatError, "the file ends at"),
    "offset unaligned": ([tensor("t", [32], 0, 33)], FormatError, "offset 33 is not a multiple of the alignment 32"),
    "overlap": ([tensor("a", [64]), tensor("b", [64], 0, 32)], FormatError, "tensor 'b', byte 82: it starts at"),
    "equal offsets": ([tensor("a", [8]), tensor("b", [8])], FormatError, "but the tensor listed before it ends at"),
    "wrong order": ([tensor("a", [8], 0, 32), tensor("b", [8])], FormatError, "tensor 'b'"),
    "one byte past end": ([tensor("t", [1024], 0, 32)], FormatError, "tensor 't'"),
    "duplicate": ([tensor("t", [8]), tensor("t", [8], 0, 32)], FormatError, "tensor 2 of 2, byte 57: name 't' occurs"),
    "long name": ([tensor("t" * 64, [8])], FormatError, "the name is 64 bytes long, at most 63"),
    "empty name": ([tensor("", [8])], FormatError, "tensor 1 of 1, byte 24: the name is empty"),
    "name not UTF-8": ([tensor(b"\xff\n", [8])], FormatError, "which is not UTF-8"),
    "name length": ([u64(2**63) + bytes(60)], FormatError, "the name needs"),
    "control name": ([tensor("a\x1b]0;x\a", [32], 0, 1)], FormatError, r"tensor 'a\x1b]0;x\x07'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_tensors(refused, case):
    tensors, kind, says = TENSORS[case]
    assert says in refused(build([], tensors, DATA), kind)


def test_many_tensors_take_linear_time(tmp_path):
    path = tmp_path / "many.gguf"
    path.write_bytes(build([], [tensor(b"%05d" % i, [8], 0, 32 * i) for i in range(20_000)], bytes(640_000)))
    start = time.process_time()
    assert len(GGUF.open(path).tensors) == 20_000
    assert time.process_time() - start < 5  # growing with the square: minutes


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, kind, says in [
            (tmp_path, FormatError, "a directory, not a regular file"),
            (tmp_path / "pipe", FormatError, "a pipe, not a regular file"),
            (tmp_path / "socket", FormatError, "a socket, not a regular file"),
            ("/dev/zero", FormatError, "a device, not a regular file"),
            ("/dev/null", FormatError, "a device, not a regular file"),
            (tmp_path / "dangling", ModelNotFound, "No such file"),
            (tmp_path / "loop", ModelNotFound, "symbolic link"),
            (tmp_path / "no\nsuch", ModelNotFound, "No such file"),
            (tmp_path / ("x" * 300), ModelNotFound, "too long"),
            ("a\0b", ModelNotFound, "zero byte"),
        ]:
            with pytest.raises(kind, match=says) as caught:
                GGUF.open(name)
            assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.gguf"
    path.touch(mode=0)
    with pytest.raises(ResourceError, match="Permission denied; make it readable"):
        GGUF.open(path)


def test_sizes_are_64_bit(tmp_path):
    """A sparse file of 5 GiB with a tensor behind the first 4."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(build([], [tensor("t", [16], 0, 2**32 + 64)], b"\0"))
    with pytest.raises(FormatError, match=f"fills bytes {2**32 + 64 + 64} to {2**32 + 128 + 64}"):
        GGUF.open(path)
    os.truncate(path, 5 << 30)
    with GGUF.open(path) as file:
        assert bytes(file.tensors["t"].data) == bytes(64)


def test_scanning_stops_at_the_end():
    strings = string("a") + string("") + string("bcd")
    assert scan_strings(strings, 0, 3, 100) == (3, len(strings))
    assert scan_strings(strings, 0, 4, 100) == (3, len(strings))
    assert scan_strings(strings, 0, 3, 2) == (2, 17)
    assert split_strings(strings, 2) == [b"a", b""]
    for end in range(len(strings)):
        n_whole, pos = scan_strings(strings[:end], 0, 3, 100)
        assert n_whole < 3 and pos <= end
    for count in (4, 2**64 - 1):
        with pytest.raises(ValueError, match=r"string 3 of \d+ leaves"):
            split_strings(strings, count)
    with pytest.raises(ValueError, match="outside"):
        scan_strings(strings, len(strings) + 1, 1, 1)
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            scan_strings(strings, 0, wrong, 100)
