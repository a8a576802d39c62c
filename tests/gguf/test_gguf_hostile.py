"""Broken, foreign and malicious files: each ends in one typed error of one line, soon and in little memory."""

import json
import os
import resource
import socket
import time
from xml.etree import ElementTree

import pytest
from gguf_builder import (
    U8,
    pair,
    seed,
    string,
    tensor,
    u64,
)
from gguf_builder import gguf as build
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import FormatError, ModelNotFound, ResourceError, SubbyteError
from subbyte.runtime.gguf._strings import scan_strings, split_strings
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.inspect.diff import diff, tables
from subbyte.runtime.inspect.heatmap import chart
from subbyte.runtime.inspect.summary import summarize

MIB = 1 << 20


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
        for lie in (0x00, 0x80, 0xFF, data[at] ^ 1):
            path.write_bytes(data[:at] + bytes([lie]) + data[at + 1 :])
            sound(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024


LIES = [2**32, 2**63, 2**64 - 1]
MORE_LIES = [0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 32]


@pytest.mark.parametrize("lie", [*LIES, *(pytest.param(lie, marks=pytest.mark.slow) for lie in MORE_LIES)])
@pytest.mark.thorough
def test_every_field_may_lie(tmp_path, lie):
    path, data = tmp_path / "fields.gguf", seed()
    for at in range(4, data.index(bytes(range(64))) - 8):
        path.write_bytes(data[:at] + u64(lie) + data[at + 8 :])
        sound(path)


@settings(max_examples=300)
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


def test_many_keys_take_linear_time(tmp_path):
    path = tmp_path / "many.gguf"
    path.write_bytes(build([pair(b"%05d" % i, U8, 0) for i in range(65_536)]))
    start = time.process_time()
    assert len(GGUF.open(path).metadata) == 65_536
    assert time.process_time() - start < 5  # growing with the square: minutes


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
            ("a\0b", ValueError, "null character"),
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
