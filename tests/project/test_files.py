"""Files read only if they are regular, written whole or not at all, and never over what is not ours."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from subbyte.errors import FileExists, ResourceError, SubbyteError
from subbyte.runtime import files
from subbyte.runtime.files import (
    FileKind,
    UnfitFile,
    atomic_write,
    check_place,
    open_regular,
    read_regular,
    try_lock,
)  # fmt: skip

OURS = FileKind("a list of ours", lambda head: head.startswith(b"ours"))


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for overwrite, text in ((False, "ours 1"), (True, "ours 2")):
        with atomic_write(path, OURS, overwrite=overwrite, sync=True) as temporary:
            temporary.write_text(text)
            assert temporary.parent == tmp_path and path.exists() == overwrite
        assert path.read_text() == text and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "out"
    path.write_text("ours")
    with pytest.raises(kind), atomic_write(path, OURS, overwrite=True) as temporary:
        temporary.write_text("new")
        raise kind
    assert path.read_text() == "ours" and os.listdir(tmp_path) == ["out"]


def test_a_block_can_withdraw_its_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "out", OURS) as temporary:
        temporary.unlink()
    assert os.listdir(tmp_path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("real")
    for overwrite in (False, True):
        with atomic_write(link, OURS, overwrite=overwrite) as temporary:
            temporary.write_text("ours")
        assert link.is_symlink() and (tmp_path / "real").read_text() == "ours"


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_file_is_never_overwritten(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "package.json"
    path.write_text("{}")
    with pytest.raises(FileExists, match=r"package\.json: exists and is not a list of ours, so it is never"):
        check_place(path, OURS, overwrite=overwrite)
    with pytest.raises(FileExists), atomic_write(path, OURS, overwrite=overwrite):
        pass
    assert path.read_text() == "{}" and os.listdir(tmp_path) == ["package.json"]


def test_a_file_of_ours_is_overwritten_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("ours")
    with pytest.raises(FileExists, match=r"out: a list of ours exists; overwrite=True replaces it, or give another"):
        check_place(path, OURS)
    assert check_place(path, OURS, overwrite=True) == path
    for odd in ("x" * 5000, str(tmp_path / ("x" * 300)), "a\0b", tmp_path / "none" / "x"):
        with pytest.raises(ResourceError):
            check_place(odd, OURS)


def test_what_has_a_descriptor_and_no_path_is_told_before_the_work() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(ResourceError, match="a pipe, which no file replaces"):
            check_place(f"/dev/fd/{writer}", OURS)
    finally:
        os.close(reader)
        os.close(writer)


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "out"  # as mktemp makes it
    path.touch()
    with atomic_write(path, OURS) as temporary:
        temporary.write_text("ours")
    assert path.read_text() == "ours"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(files, "_link", lambda *_: False)  # as on FAT
    path = tmp_path / "out"
    with pytest.raises(FileExists), atomic_write(path, OURS) as temporary:
        temporary.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs" and os.listdir(tmp_path) == ["out"]
    with atomic_write(tmp_path / "other", OURS) as temporary:
        temporary.write_text("ours")
    assert (tmp_path / "other").read_text() == "ours"


def test_a_file_that_came_in_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "out", os.link

    def late(source: Path, target: Path) -> None:
        target.write_text("theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(FileExists, match="was made while"), atomic_write(path, OURS):
        pass
    assert path.read_text() == "theirs" and os.listdir(tmp_path) == ["out"]


def null(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("make", "kind"), [(os.mkdir, "a directory"), (os.mkfifo, "a pipe"), (null, "a device"), (listener, "a socket")]
)
def test_what_is_no_regular_file_is_neither_replaced_nor_read(
    tmp_path: Path, make: Callable[[Path], None], kind: str, overwrite: bool
) -> None:
    path = tmp_path / "out"
    make(path)
    before = path.lstat().st_mode
    with pytest.raises(ResourceError, match=f"out: {kind}, which no file replaces"):
        check_place(path, OURS, overwrite=overwrite)
    with pytest.raises(SubbyteError), atomic_write(path, OURS, overwrite=overwrite):
        pass
    assert path.lstat().st_mode == before and os.listdir(tmp_path) == ["out"]
    with pytest.raises((UnfitFile, PermissionError)) as refused:
        open_regular(path)
    assert kind in str(refused.value)


def test_reading_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(2048))
    assert read_regular(path, 2048) == bytes(2048)
    with pytest.raises(UnfitFile, match="longer than 1 KiB, the most that is read"):
        read_regular(path, 2047)


def test_only_paths_are_opened(tmp_path: Path) -> None:
    with (tmp_path / "in").open("w") as file:
        with pytest.raises(TypeError):
            open_regular(file.fileno())  # type: ignore[arg-type]
        os.fstat(file.fileno())  # it is still open
    with pytest.raises(FileNotFoundError, match="zero byte"):
        open_regular("a\0b")
    with pytest.raises(OSError, match="too long"):
        open_regular("a" * 5000)


def test_permissions_and_long_names(tmp_path: Path) -> None:
    for mode, name in ((0o600, "ü" * 120), (0o640, "x")):
        with atomic_write(tmp_path / name, OURS, mode=mode):
            pass
        assert (tmp_path / name).stat().st_mode & 0o777 & ~0o640 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_by_a_signal_leaves_no_temporary_file(tmp_path: Path, number: signal.Signals) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "out"), str(int(number))], check=False)
    assert ended.returncode == -number and os.listdir(tmp_path) == []


_KILLED = """
import os, signal, sys, time
from subbyte.cli import entry, main
from subbyte.runtime.files import FileKind, atomic_write

def run(args):
    with atomic_write(args[0], FileKind("anything", lambda head: True)) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), int(args[1]))
        time.sleep(60)

main.run = run
entry.main()
"""


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.touch()
    with path.open("rb") as first, path.open("rb") as second:
        assert try_lock(first) and not try_lock(second)
    with path.open("rb") as third:
        assert try_lock(third)
