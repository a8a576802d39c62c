"""Files written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from subbyte.runtime.files import atomic_write, try_lock


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with atomic_write(path, sync=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(kind), atomic_write(path) as temporary:
        temporary.write_text("new")
        raise kind
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out"]


def test_a_block_can_withdraw_its_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "out") as temporary:
        temporary.unlink()
    assert os.listdir(tmp_path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    link = tmp_path / "link"
    link.symlink_to("real")
    with atomic_write(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize(("make", "reason"), [(os.mkdir, "Is a directory"), (os.mkfifo, "no plain file")])
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "out")
    with pytest.raises(OSError, match=reason), atomic_write(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"]


def test_permissions_and_long_names(tmp_path: Path) -> None:
    for mode, name in ((0o600, "ü" * 120), (0o640, "x")):
        with atomic_write(tmp_path / name, mode=mode):
            pass
        assert (tmp_path / name).stat().st_mode & 0o777 & ~0o640 == 0


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.touch()
    with path.open("rb") as first, path.open("rb") as second:
        assert try_lock(first) and not try_lock(second)
    with path.open("rb") as third:
        assert try_lock(third)
