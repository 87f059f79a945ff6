"""Slots: one directory of the spool for each worker, owned by holding its flock.

Promises: a claim takes the lowest `slot-NNN` nobody holds, at most 128 of them, and two processes never hold one; an
adoption is one atomic rename of the whole directory into the adopter's (`slot-000/adopted-7`), durable when it returns.
Nothing is copied, and a slot that somebody holds is never touched.
"""

import contextlib
import re
from pathlib import Path

from fastrelay.errors import MachineShort
from fastrelay.spool.disk import Disk, How, Kind
from fastrelay.spool.segment import number_of

SLOTS = 128  # the ledger's columns and the width of the shared page
BODIES = "bodies"
_SLOT = re.compile(r"slot-(\d{3})\Z")
_ADOPTED = re.compile(r"adopted-\d{1,3}(?:-\d+)?\Z")


class Slot:
    """A claimed slot: its number and directory, held until `close`."""

    __slots__ = ("_disk", "_fd", "number", "path")

    def __init__(self, number: int, path: str, fd: int, disk: Disk) -> None:
        self.number = number
        self.path = path
        self._fd = fd
        self._disk = disk

    def close(self) -> None:
        """Let others have it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._disk.close(fd)


def slot_path(spool: str | Path, number: int) -> str:
    """The directory of slot `number`."""
    return f"{spool}/slot-{number:03d}"


def slot_number(name: str) -> int | None:
    """The number in a slot's directory name, None for any other name."""
    match = _SLOT.match(name)
    return int(match[1]) if match and int(match[1]) < SLOTS else None


def claim(spool: str | Path, disk: Disk | None = None) -> Slot:
    """Hold the lowest free slot, made if need be. MachineShort when all 128 are held; OSError as the disk says."""
    disk = disk or Disk()
    for number in range(SLOTS):
        slot = take(spool, number, disk)
        if slot is not None:
            return slot
    raise MachineShort(f"all {SLOTS} slots of {spool} are held by other processes")


def take(spool: str | Path, number: int, disk: Disk | None = None) -> Slot | None:
    """Hold slot `number`, made if need be; None while somebody else does."""
    disk = disk or Disk()
    path = slot_path(spool, number)
    while True:
        if disk.make_directory(path):
            disk.sync(str(spool))
        try:
            return Slot(number, path, disk.open(path, How.LOCK), disk)
        except BlockingIOError:
            return None
        except FileNotFoundError:
            continue  # adopted by somebody between the two calls


def unowned(spool: str | Path, disk: Disk | None = None) -> list[Path]:
    """Slots with mail in them that no process holds, lowest first."""
    disk = disk or Disk()
    found = []
    for name in disk.list(str(spool)):
        if name.kind is not Kind.DIRECTORY or slot_number(name.name) is None:
            continue
        path = f"{spool}/{name.name}"
        if not _holds_mail(path, disk):
            continue
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            disk.close(disk.open(path, How.LOCK))
            found.append(Path(path))
    return found


def adopt(slot: Slot, path: str | Path, disk: Disk | None = None) -> str | None:
    """Make the unowned slot at `path` a part of `slot`: its new directory, None when somebody else was first."""
    disk = disk or Disk()
    path = str(path)
    parent, _, name = path.rpartition("/")
    number = slot_number(name)
    if number is None or path == slot.path:
        return None
    try:
        fd = disk.open(path, How.LOCK)
    except (BlockingIOError, FileNotFoundError):
        return None
    try:
        taken = {name.name for name in disk.list(slot.path)}
        home, again = f"adopted-{number}", 1
        while home in taken:
            again += 1
            home = f"adopted-{number}-{again}"
        new = f"{slot.path}/{home}"
        disk.rename(path, new)
    finally:
        disk.close(fd)
    disk.sync(slot.path)
    disk.sync(parent)
    return new


def places(path: str, disk: Disk) -> list[str]:
    """The directories whose segments make up the slot at `path`: itself, and what it and they have adopted."""
    found = [path]
    for name in disk.list(path):
        if name.kind is Kind.DIRECTORY and _ADOPTED.match(name.name):
            found += places(f"{path}/{name.name}", disk)
    return found


def _holds_mail(path: str, disk: Disk) -> bool:
    for name in disk.list(path):
        if name.kind is Kind.FILE and number_of(name.name) is not None:
            return True
        if name.kind is Kind.DIRECTORY and (
            _ADOPTED.match(name.name) or (name.name == BODIES and disk.list(f"{path}/{BODIES}"))
        ):
            return True
    return False


def tidy(directory: str, disk: Disk) -> None:
    """Remove an adopted directory that holds nothing any more, and adopters of it likewise. Harmless where it does."""
    while _ADOPTED.match(directory.rpartition("/")[2]):
        parent = directory.rpartition("/")[0]
        try:
            for name in (BODIES, "quarantine"):
                with contextlib.suppress(FileNotFoundError):
                    disk.remove(f"{directory}/{name}", directory=True)
            disk.remove(directory, directory=True)
            disk.sync(parent)
        except OSError:
            return
        directory = parent
