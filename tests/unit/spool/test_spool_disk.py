"""The disk: each verb on a real directory, and what the system's refusals look like from above."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastrelay.spool.disk import MAX_BUFFERS, Disk, How, Kind, Name


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk, after which no descriptor is left open that was not open before."""
    before = set(os.listdir("/proc/self/fd"))
    yield Disk()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_new_file_is_written_and_read_through_one_descriptor(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/new", How.CREATE)
    assert disk.write(fd, [b"ab", b"", b"cde"]) == 5
    assert disk.write(fd, [b"f"]) == 1
    assert disk.read(fd, 100, 0) == b"abcdef" and disk.read(fd, 3, 2) == b"cde" and disk.read(fd, 3, 6) == b""
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    disk.sync(fd)
    disk.close(fd)
    assert (tmp_path / "new").read_bytes() == b"abcdef"


def test_a_name_that_is_taken_is_not_created(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("old", "link"):
        with pytest.raises(FileExistsError):
            disk.open(f"{tmp_path}/{name}", How.CREATE)
    assert (tmp_path / "old").read_bytes() == b"old" and not (tmp_path / "nowhere").exists()


def test_only_plain_files_are_read(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, number in (("link", errno.ELOOP), ("pipe", errno.EINVAL), ("folder", errno.EINVAL)):
        with pytest.raises(OSError, match=r".") as caught:
            disk.open(f"{tmp_path}/{name}", How.READ)
        assert caught.value.errno == number, name
    with pytest.raises(FileNotFoundError):
        disk.open(f"{tmp_path}/none", How.READ)
    fd = disk.open(f"{tmp_path}/file", How.READ)
    with pytest.raises(OSError, match=r"."):
        disk.write(fd, [b"never"])
    disk.close(fd)


def test_a_lock_is_held_by_one_and_freed_by_closing(disk: Disk, tmp_path: Path) -> None:
    first = disk.open(str(tmp_path), How.LOCK)
    with pytest.raises(BlockingIOError):
        disk.open(str(tmp_path), How.LOCK)
    disk.close(first)
    disk.close(disk.open(str(tmp_path), How.LOCK))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        disk.open(f"{tmp_path}/file", How.LOCK)


@pytest.mark.parametrize("again", [True, False], ids=["another in its place", "none in its place"])
def test_a_directory_renamed_while_it_is_locked_is_not_held(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    here = tmp_path / "slot"
    here.mkdir()
    real = fcntl.flock

    def adopted(fd: int, how: int) -> None:
        here.rename(tmp_path / "adopted")
        if again:
            here.mkdir()
        real(fd, how)

    monkeypatch.setattr("fcntl.flock", adopted)
    with pytest.raises(BlockingIOError if again else FileNotFoundError):
        disk.open(str(here), How.LOCK)


def test_a_read_the_system_cuts_short_is_gone_on_with(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    fd = disk.open(f"{tmp_path}/file", How.READ)
    real = os.pread
    monkeypatch.setattr("os.pread", lambda fd, size, offset: real(fd, min(size, 7), offset))
    assert disk.read(fd, 30, 10) == bytes(range(10, 40))
    assert disk.read(fd, 1000, 90) == bytes(range(90, 100))
    disk.close(fd)


def test_reading_without_waiting_gives_all_or_says_that_it_would_wait(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    fd = disk.open(f"{tmp_path}/file", How.READ)
    with contextlib.suppress(BlockingIOError):  # on a file system without it
        assert disk.read(fd, 5000, 0, nowait=True) == b"x" * 5000
    with pytest.raises(BlockingIOError):
        disk.read(fd, 5001, 0, nowait=True)
    disk.close(fd)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EOPNOTSUPP, BlockingIOError), (errno.EINVAL, BlockingIOError), (errno.ENOSYS, BlockingIOError),
     (errno.EAGAIN, BlockingIOError), (errno.EIO, OSError)],
)  # fmt: skip
def test_where_reading_without_waiting_is_unknown_it_would_wait(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[OSError]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    fd = disk.open(f"{tmp_path}/file", How.READ)

    def refuse(*args: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.preadv", refuse)
    with pytest.raises(OSError, match=r".") as caught:
        disk.read(fd, 1, 0, nowait=True)
    assert type(caught.value) is kind
    assert disk.read(fd, 1, 0) == b"x", "waiting, it is read"
    disk.close(fd)


def test_as_many_buffers_as_promised_are_taken_at_once(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(f"{tmp_path}/file", How.CREATE)
    assert disk.write(fd, [b"x"] * MAX_BUFFERS) == MAX_BUFFERS
    with pytest.raises(OSError, match=r"."):
        disk.write(fd, [b"x"] * 1025)
    disk.close(fd)


def test_a_directory_is_listed_by_name_with_kinds_and_sizes(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"12345")
    (tmp_path / "a").mkdir()
    (tmp_path / "d").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "c")
    assert disk.list(str(tmp_path)) == [
        Name("a", Kind.DIRECTORY, 0),
        Name("b", Kind.FILE, 5),
        Name("c", Kind.OTHER, 0),
        Name("d", Kind.OTHER, 0),
    ]
    assert disk.list(f"{tmp_path}/none") == []
    with pytest.raises(NotADirectoryError):
        disk.list(f"{tmp_path}/b")


def test_names_are_made_moved_and_removed(disk: Disk, tmp_path: Path) -> None:
    folder = f"{tmp_path}/folder"
    assert disk.make_directory(folder) and not disk.make_directory(folder)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        disk.remove(folder, directory=True)
    disk.rename(folder, f"{tmp_path}/moved")
    disk.remove(f"{tmp_path}/moved/file")
    with pytest.raises(FileNotFoundError):
        disk.remove(f"{tmp_path}/moved/file")
    disk.sync(f"{tmp_path}/moved")
    disk.remove(f"{tmp_path}/moved", directory=True)
    with pytest.raises(FileNotFoundError):
        disk.remove(f"{tmp_path}/moved", directory=True)
    with pytest.raises(FileNotFoundError):
        disk.sync(f"{tmp_path}/moved")
    with pytest.raises(FileNotFoundError):
        disk.make_directory(f"{tmp_path}/none/inside")
    assert os.listdir(tmp_path) == []


def test_a_failing_sync_is_told_and_leaves_no_descriptor(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    fd = disk.open(f"{tmp_path}/file", How.CREATE)
    monkeypatch.setattr("os.fsync", fail)
    monkeypatch.setattr("os.fdatasync", fail)
    for target in (fd, str(tmp_path)):
        with pytest.raises(OSError, match="Input/output"):
            disk.sync(target)
    disk.close(fd)


def test_data_and_names_are_synced_by_the_calls_that_do_so(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def note(call: str) -> Callable[[int], None]:
        return lambda fd: seen.append((call, os.readlink(f"/proc/self/fd/{fd}")))

    monkeypatch.setattr("os.fsync", note("fsync"))
    monkeypatch.setattr("os.fdatasync", note("fdatasync"))
    fd = disk.open(f"{tmp_path}/file", How.CREATE)
    disk.sync(fd)
    disk.sync(str(tmp_path))
    disk.close(fd)
    assert seen == [("fdatasync", f"{tmp_path}/file"), ("fsync", str(tmp_path))]


def test_space_is_that_of_the_file_system(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = disk.space(str(tmp_path)), os.statvfs(tmp_path)
    assert 0 <= found.free <= found.total == told.f_blocks * told.f_frsize
    assert found.inodes == (told.f_favail if told.f_files else -1)
    fields = list(told)
    fields[5] = 0  # f_files: btrfs does not count inodes
    monkeypatch.setattr("os.statvfs", lambda path: os.statvfs_result(fields))
    assert disk.space(str(tmp_path)).inodes == -1
    with pytest.raises(FileNotFoundError):
        monkeypatch.undo()
        disk.space(f"{tmp_path}/none")


def test_closing_is_never_refused_but_for_what_is_not_open(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = disk.open(f"{tmp_path}/file", How.CREATE)
    real = os.close

    def late(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, "Input/output error")  # NFS and FUSE tell of late writes here

    monkeypatch.setattr("os.close", late)
    disk.close(fd)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Bad file"):
        disk.close(fd)
