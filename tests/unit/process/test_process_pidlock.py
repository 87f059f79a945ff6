"""One master per place, orphans waited for."""

import os
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.process.pidlock import ORPHANS, PidLock, holder

NOBODY = 2**22 + 1  # beyond the largest pid of Linux


def test_the_first_writes_its_pid_and_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4194305 left by a crash, longer than ours\n")
    lock = PidLock.take(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert holder(path) == os.getpid()
    lock.close()
    assert path.read_text() == "" and holder(path) is None


def test_no_file_is_nobody(tmp_path: Path) -> None:
    assert holder(tmp_path / "pid") is None


def test_a_living_holder_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    read, write = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        lock = PidLock.take(path)
        os.write(tell, b"!")
        os.read(read, 1)
        lock.close()
        os._exit(0)
    os.close(read)
    os.close(tell)
    assert os.read(told, 1) == b"!"
    os.close(told)
    assert holder(path) == child
    naps: list[float] = []
    with pytest.raises(MachineShort, match=f"already running: process {child} holds"):
        PidLock.take(path, pause=naps.append)
    assert naps == []
    os.close(write)
    os.waitpid(child, 0)
    PidLock.take(path, pause=naps.append).close()


def test_orphans_are_waited_for_and_then_named(tmp_path: Path) -> None:
    """A lock whose pid is dead is held by what it left behind."""
    path = tmp_path / "pid"
    left = PidLock.take(path)
    path.write_text(f"{NOBODY}\n")
    naps: list[float] = []
    said: list[str] = []
    with pytest.raises(MachineShort, match=rf"workers of an ended master \({NOBODY}\) still hold .* after 15 s"):
        PidLock.take(path, say=said.append, pause=naps.append)
    assert sum(naps) == pytest.approx(ORPHANS, abs=0.1) and len(said) == 1
    assert holder(path) == 0

    def free_soon(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            os.close(left.fd)

    naps.clear()
    PidLock.take(path, pause=free_soon).close()
    assert len(naps) == 3


def test_a_place_where_it_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineShort, match=r"cannot open .*/nowhere/pid"):
        PidLock.take(tmp_path / "nowhere/pid")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineShort):
        PidLock.take(tmp_path / "pid")
    assert not (tmp_path / "elsewhere").exists()
