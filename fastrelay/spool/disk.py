"""The disk: the only file of the room that touches files. Ten verbs, each of which a test can fail, tear or reorder.

Paths are text. Every verb raises OSError as the system says it; a write may be short, and says so. Descriptors are
plain numbers, closed on exec. Nothing here waits for the event loop: callers on it use `nowait` or a native thread.
"""

import enum
import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.errors import MachineShort

MAX_BUFFERS = 1000  # per gather write: the kernel refuses 1,025 (UIO_MAXIOV is 1,024)
_NO_NOWAIT = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})  # file systems and kernels without RWF_NOWAIT
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class How(enum.Enum):
    """What a file is opened for."""

    READ = "read"  # an existing plain file; a symbolic link is refused (ELOOP)
    CREATE = "create"  # a new plain file, to write and read (EEXIST when the name is taken)
    LOCK = "lock"  # a directory, to hold its flock; BlockingIOError while another process holds it


class Kind(enum.Enum):
    """What a name in a directory is."""

    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "other"


class Name(NamedTuple):
    """One entry of a directory; size in octets for plain files, else 0."""

    name: str
    kind: Kind
    size: int


class Space(NamedTuple):
    """Of a file system: octets free for us and in all; inodes free, -1 where it does not count them."""

    free: int
    total: int
    inodes: int


class Disk:
    """The real one."""

    def open(self, path: str, how: How) -> int:
        """A descriptor; see How."""
        if how is How.CREATE:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if how is How.READ:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(errno.EINVAL, "not a plain file", path)
            return fd
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held, named = os.fstat(fd), os.stat(path, follow_symlinks=False)
            if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
                raise BlockingIOError(errno.EWOULDBLOCK, "renamed while it was being locked", path)
        except OSError:
            os.close(fd)
            raise
        return fd

    def close(self, fd: int) -> None:
        """Give the descriptor (and a lock it holds) back: that is done whatever the system says about late writes, and
        those are judged by `sync`. OSError only when there is no such descriptor, which is a bug of ours."""
        try:
            os.close(fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise

    def read(self, fd: int, size: int, offset: int, *, nowait: bool = False) -> bytes:
        """Up to `size` octets at `offset`; fewer only at the end of the file.

        nowait: BlockingIOError unless all of it is in memory already.
        """
        if nowait:
            buffer = bytearray(size)
            try:
                count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno in _NO_NOWAIT:
                    raise BlockingIOError(errno.EWOULDBLOCK, "no reading without waiting here") from None
                raise
            if count < size:
                raise BlockingIOError(errno.EWOULDBLOCK, "not all in memory")
            return bytes(buffer)
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        pieces = [data]
        done = len(data)
        while done < size:
            data = os.pread(fd, size - done, offset + done)
            if not data:
                break
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        """Append up to MAX_BUFFERS buffers with one gather write; how many octets were taken."""
        return os.writev(fd, parts)

    def sync(self, target: int | str) -> None:
        """On stable storage when this returns: the data of a descriptor, or the names in a directory."""
        if isinstance(target, int):
            os.fdatasync(target)
            return
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def list(self, path: str) -> list[Name]:
        """Everything in a directory, by name; [] when there is no such directory."""
        try:
            with os.scandir(path) as found:
                return sorted(name for name in map(_name, found) if name is not None)
        except FileNotFoundError:
            return []

    def rename(self, old: str, new: str) -> None:
        """Move a file or a directory; the caller makes sure that `new` is free."""
        os.rename(old, new)

    def remove(self, path: str, *, directory: bool = False) -> None:
        """Unlink a file, or remove an empty directory. FileNotFoundError when it is gone already."""
        if directory:
            os.rmdir(path)
        else:
            os.unlink(path)

    def make_directory(self, path: str) -> bool:
        """True when it was made, False when it was there."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return False
        return True

    def space(self, path: str) -> Space:
        """How much room the file system of `path` has."""
        found = os.statvfs(path)
        free = found.f_bavail * found.f_frsize
        return Space(free, found.f_blocks * found.f_frsize, found.f_favail if found.f_files else -1)


def _name(entry: "os.DirEntry[str]") -> Name | None:
    if entry.is_file(follow_symlinks=False):
        try:
            return Name(entry.name, Kind.FILE, entry.stat(follow_symlinks=False).st_size)
        except FileNotFoundError:
            return None  # unlinked while the directory was read
    if entry.is_dir(follow_symlinks=False):
        return Name(entry.name, Kind.DIRECTORY, 0)
    return Name(entry.name, Kind.OTHER, 0)


def shortage(error: OSError) -> MachineShort:
    """What an error of the disk means to a sender: full is 452 4.3.1, anything else 451 4.3.0."""
    detail = f"{error.strerror or error}"
    if error.errno in _FULL:
        return MachineShort("Insufficient system storage", code=452, enhanced="4.3.1", detail=detail)
    return MachineShort("Temporary failure while storing the message", code=451, enhanced="4.3.0", detail=detail)
