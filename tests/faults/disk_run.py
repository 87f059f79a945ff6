"""Each call a spool makes of its disk fails, one a day: `python tests/faults/disk_run.py [TROUBLE ...]`.

The calls of one course of work (tests/peers/spool_day.py) are counted; then it runs again for each of them, with that
call failing: once; where it changes something also for good, as on a full disk and on one that turned read-only, with a
kill before it is well again; and writes that take only part. Each day keeps its account: what a sender was told stays
so, what was refused leaves nothing, the next minute is served again, no descriptor is left open.

Syncs cost nothing here: that they come in the right order is the business of power_run.py. Exit code 1 when an account
is wrong, with the call.
"""

import argparse
import enum
import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fastrelay.errors import MachineShort
from fastrelay.spool.disk import Disk, How, Name, Space
from tests.peers.spool_day import Account, Day, day_box
from tests.peers.strongbox import KIB

CHANGING = frozenset({"create", "write", "sync", "rename", "remove", "make_directory"})
ROOM = frozenset({"create", "write", "make_directory", "rename"})  # what a full disk refuses; a sync as well, once
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)


class Trouble(enum.Enum):
    """How a disk fails from a call on."""

    FULL = "ENOSPC, for all that needs room, until somebody makes some"
    ONCE = "one call fails"
    READ_ONLY = "EROFS, for all that changes something, and the process is killed"
    SHORT = "a write takes half, and goes on"
    SHORT_TWICE = "a write takes half, and half of the rest"


class FailingDisk(Disk):
    """Call number `at` (negative: none) meets `trouble`; `verbs` are the calls in order."""

    def __init__(self, at: int = -1, trouble: Trouble = Trouble.ONCE) -> None:
        self.verbs: list[str] = []
        self.struck = False
        self.well = False
        self.at = at
        self._trouble = trouble
        self.number = ERRORS[at % 3] if trouble is Trouble.ONCE else errno.ENOSPC
        if trouble is Trouble.READ_ONLY:
            self.number = errno.EROFS
        self._halves = 0

    def heal(self) -> None:
        self.well = True

    def _call(self, verb: str) -> None:
        self.verbs.append(verb)
        now = len(self.verbs) - 1 == self.at
        if now:
            self.struck = True
            if self._trouble in (Trouble.SHORT, Trouble.SHORT_TWICE):
                self._halves = 1 if self._trouble is Trouble.SHORT else 2
                return
        lasting = {Trouble.FULL: ROOM, Trouble.READ_ONLY: CHANGING}.get(self._trouble, frozenset())
        if now or (self.struck and not self.well and verb in lasting):
            raise OSError(self.number, os.strerror(self.number))

    def open(self, path: str, how: How) -> int:
        self._call(how.value)
        return super().open(path, how)

    def read(self, fd: int, size: int, offset: int, *, nowait: bool = False) -> bytes:
        self._call("read")
        return super().read(fd, size, offset, nowait=nowait)

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        self._call("write")
        if self._halves:
            self._halves -= 1
            octets = b"".join(parts)
            parts = [octets[: len(octets) // 2]]
        return super().write(fd, parts)

    def sync(self, target: int | str) -> None:
        self._call("sync")

    def list(self, path: str) -> list[Name]:
        self._call("list")
        return super().list(path)

    def rename(self, old: str, new: str) -> None:
        self._call("rename")
        super().rename(old, new)

    def remove(self, path: str, *, directory: bool = False) -> None:
        self._call("remove")
        super().remove(path, directory=directory)

    def make_directory(self, path: str) -> bool:
        self._call("make_directory")
        return super().make_directory(path)

    def space(self, path: str) -> Space:
        self._call("space")
        return super().space(path)


def spent(folder: Path, disk: FailingDisk, trouble: Trouble) -> None:
    """A day on `disk`; whatever was refused, the next minute is served again."""
    account = Account()
    day = Day(day_box(folder, disk), account, other=FailingDisk)
    for step in day.steps():
        if step == day.start and day.running:
            continue
        refused = attempt(day, step, disk)
        if refused:
            assert disk.struck and not disk.well, "refused though the disk does what it is told"
        if disk.struck and not disk.well:
            if trouble is Trouble.READ_ONLY and day.running:
                day.crash()
            disk.heal()
            if day.running:
                day.box.store._committer._retry_at = 0.0  # a second later
            else:
                day.start()
            day.put("z", 100)
            day.read("z")
            day.done("z", synced=True)
            assert day.box.store.statistics()["memory"] == 0, "no octet of a body is counted that is not there"
            assert disk.verbs[disk.at] == "remove" or not list(folder.rglob("draft-*"))
    if day.running:
        day.crash()
    day.box.disk = FailingDisk()
    day.start()
    bodies = sorted(path.name for path in folder.rglob("bodies/*"))
    assert bodies == sorted(ident.hex() for ident in account.open() if account.content[ident][1] > 30 * KIB)
    day.stop()


def attempt(day: Day, step: Callable[[], None], disk: FailingDisk) -> bool:
    """True when it was refused, in the words for it."""
    try:
        step()
    except MachineShort as short:
        full = disk.number == errno.ENOSPC
        assert (short.code, short.enhanced) == ((452, "4.3.1") if full else (451, "4.3.0")), short
    except OSError:  # of claiming a slot, or of looking for one
        assert not day.running or step == day.adopt
    else:
        return False
    return True


def calls(folder: Path) -> list[str]:
    """The verbs of a day on which nothing fails."""
    disk = FailingDisk()
    for step in Day(day_box(folder, disk), Account(), other=FailingDisk).steps():
        step()
    return disk.verbs


def each_call_fails(folder: Path, trouble: Trouble) -> int:
    """As many days as there are calls that meet it; how many. Raises what an account has against it."""
    (folder / "well").mkdir(parents=True)
    verbs = calls(folder / "well")
    changing = [n for n, verb in enumerate(verbs) if verb in CHANGING]
    writes = [n for n in changing if verbs[n] == "write"]
    some: list[int] = {
        Trouble.FULL: changing,
        Trouble.ONCE: [*range(len(verbs))],
        Trouble.READ_ONLY: changing,
        Trouble.SHORT: writes,
        Trouble.SHORT_TWICE: writes,
    }[trouble]
    before = len(os.listdir("/proc/self/fd"))
    for n in some:
        (folder / str(n)).mkdir()
        disk = FailingDisk(n, trouble)
        try:
            spent(folder / str(n), disk, trouble)
            assert disk.struck
            assert len(os.listdir("/proc/self/fd")) == before, "a descriptor is left open"
        except BaseException as error:
            error.add_note(f"call {n} of {len(verbs)}: {verbs[n]}, {trouble.value}")
            raise
    return len(some)


def main() -> int:
    names = [trouble.name.lower().replace("_", "-") for trouble in Trouble]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("troubles", nargs="*", metavar="TROUBLE", help=f"of {', '.join(names)}; default: all")
    chosen = parser.parse_args().troubles or names
    began = time.monotonic()
    days = 0
    for name in chosen:
        trouble = Trouble[name.upper().replace("-", "_")]
        with tempfile.TemporaryDirectory(prefix="fastrelay-disk-") as folder:
            some = each_call_fails(Path(folder), trouble)
        print(f"{some:5} days: {trouble.value}", flush=True)
        days += some
    print(f"{days:,} days, each with its failure: nothing lost, nothing left open; {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
