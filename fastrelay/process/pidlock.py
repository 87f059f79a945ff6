"""One master per place: a file with its pid, under flock as long as the house stands.

The lock belongs to the open file, which every child inherits: it is free only when the master and all its children are
gone. So a new master that gets it knows that no orphan of a killed one still holds a slot or counts in an old ledger;
orphans stop by themselves within 5 s of their master's death (they see its life pipe end), and a start waits ORPHANS
seconds for them. A living master is named at once.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastrelay.errors import MachineShort

ORPHANS: Final = 15.0  # seconds a start waits for the workers of a dead master: 5 s to notice, then a quick stop
_LOOK: Final = 0.05  # seconds between two attempts


class PidLock:
    """The lock file at `path`, held until `close` by this process and the children it forks."""

    __slots__ = ("fd", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def take(
        cls,
        path: Path,
        *,
        patience: float = ORPHANS,
        say: Callable[[str], None] = lambda line: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> "PidLock":
        """Lock the file and write our pid into it. MachineShort says who holds it, at once when its master lives.

        say: gets one line when orphans have to be waited for. pause: how to wait between attempts.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise MachineShort(f"cannot open {path}: {error.strerror}; make its directory writable") from None
        waited = 0.0
        try:
            while not _locked(fd):
                holder = _pid_in(fd)
                if holder and holder != os.getpid() and _holds(holder, fd):
                    raise MachineShort(
                        f"already running: process {holder} holds {path}; stop it (fastrelay stop) or give this one a "
                        f"runtime_dir and spool of its own"
                    )
                if waited >= patience:
                    raise MachineShort(
                        f"workers of an ended master ({holder or 'unknown'}) still hold {path} after {waited:.0f} s: "
                        f"process {', '.join(map(str, _holders(fd))) or 'unknown'}; end them and start again"
                    )
                if waited == 0.0:
                    say(f"waiting for the workers of an ended master ({holder or 'unknown'}) to let go of {path}")
                pause(_LOOK)
                waited += _LOOK
            _write_pid(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd)

    def write(self) -> None:
        """This process is the master now."""
        _write_pid(self.fd)

    def leave(self) -> None:
        """Another master holds it, and its pid stays there."""
        os.close(self.fd)

    def close(self) -> None:
        """Give this process's share back; the file stays, empty, so that nobody locks an unlinked one."""
        os.ftruncate(self.fd, 0)
        os.close(self.fd)


def holder(path: Path) -> int | None:
    """The pid of the master that holds the lock at `path`, None when nobody does. 0: orphans only, or no pid in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _locked(fd, shared=True):
            return None
        pid = _pid_in(fd)
        return pid if pid and _holds(pid, fd) else 0
    finally:
        os.close(fd)


def _locked(fd: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _pid_in(fd: int) -> int:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _write_pid(fd: int) -> None:
    text = f"{os.getpid()}\n".encode()
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))


def _holds(pid: int, fd: int) -> bool:
    """Does that process live and have this very file open? Where we may not look, it lives: believe the file."""
    own = os.fstat(fd)
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    return any(_same_file(f"{folder}/{name}", own) for name in names)


def _holders(fd: int) -> list[int]:
    """Every process that has the file open, besides this one. A walk through /proc, for an error message."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and os.access(f"/proc/{pid}/fd", os.R_OK) and _holds(pid, fd)]


def _same_file(link: str, own: os.stat_result) -> bool:
    try:
        other = os.stat(link)
    except OSError:
        return False
    return (other.st_dev, other.st_ino) == (own.st_dev, own.st_ino)
