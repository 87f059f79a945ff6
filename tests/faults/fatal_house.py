"""A house that is killed with -9 at a named point: `python fatal_house.py CONFIG VICTIM POINT NTH`.

Everything is real but the disk of the spool, which counts what happens to it. At the NTH time of POINT, in whichever
worker comes first, the VICTIM ends there and then: `worker` is that worker, `tree` every process of the house. A file
`killed` beside the config says when (monotonic seconds) and how long the longest visit to the disk had been (seconds);
with it there, nobody is killed any more.
"""

import contextlib
import enum
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fastrelay.admin import run_admin
from fastrelay.config import load
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.process.seat import Seat
from fastrelay.spool.disk import Disk, How
from fastrelay.spool.format import DONE, MESSAGE, SEAL, UPDATE, decode_segment
from fastrelay.worker import run_worker


class Point(enum.Enum):
    """Where a life may end. A batch is what holds a new message, records what holds none."""

    BEFORE_BATCH = "before the write of a batch"
    TORN_BATCH = "in the middle of the write of a batch"
    BATCH_UNSYNCED = "between write and sync of a batch"
    BATCH_SYNCED = "between the sync of a batch and its replies"
    BEFORE_RECORDS = "between the peer's reply and its record"
    RECORDS_UNSYNCED = "behind the write of records"
    BEFORE_SEGMENT = "before a new segment is made"
    SEGMENT_EMPTY = "with a new segment still empty"
    SEGMENT_UNNAMED = "before the name of a new segment is synced"
    BEFORE_SEAL = "before a segment is sealed"
    SEALED = "between the seal and the index"
    INDEX_TORN = "in the middle of the index"
    BEFORE_FREEING = "before a segment is unlinked"
    FREED = "with a segment unlinked and the directory unsynced"
    RECOVERY_READ = "while a start reads what is there"
    RECOVERY_WRITE = "before what a start writes again"
    BEFORE_ADOPTION = "before a slot is taken over"
    ADOPTED = "with a slot taken over and its new name unsynced"


class FatalDisk(Disk):
    """The real one, until the NTH time of a point."""

    def __init__(self, folder: Path, victim: str, point: Point, nth: int) -> None:
        self._marker = folder / "killed"
        self._victim = victim
        self._point = point
        self._left = nth
        self._marks: dict[int, bytes] = {}  # of the segments this life writes, by descriptor
        self._batches: dict[int, bool] = {}  # what was written last there: a batch, not records
        self._written = False  # this life has written
        self._visit = 0.0  # seconds the longest write and sync took

    def open(self, path: str, how: How) -> int:
        if how is How.CREATE and path.endswith(".log"):
            self._reached(Point.BEFORE_SEGMENT)
        fd = super().open(path, how)
        if how is How.CREATE and path.endswith(".log"):
            self._reached(Point.SEGMENT_EMPTY)
            self._marks[fd] = b""
        elif how is How.CREATE:
            self._marks.pop(fd, None)  # an index or a body, under a number that was a segment's
        return fd

    def read(self, fd: int, size: int, offset: int, *, nowait: bool = False) -> bytes:
        if not self._written:
            self._reached(Point.RECOVERY_READ)
        return super().read(fd, size, offset, nowait=nowait)

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        if fd not in self._marks:
            self._reached(Point.INDEX_TORN, fd, parts)
            return super().write(fd, parts)
        if not self._marks[fd]:
            self._marks[fd] = decode_segment(b"".join(parts)).mark
            return super().write(fd, parts)
        kinds = {part[8] for part in parts if part[:8] == self._marks[fd] and len(part) >= 80}
        batch = MESSAGE in kinds
        if not self._written:
            self._reached(Point.RECOVERY_WRITE)
        self._written = True
        if batch:
            self._reached(Point.BEFORE_BATCH)
            self._reached(Point.TORN_BATCH, fd, parts)
        elif SEAL in kinds:
            self._reached(Point.BEFORE_SEAL)
        elif kinds & {UPDATE, DONE}:
            self._reached(Point.BEFORE_RECORDS)
        began = time.monotonic()
        taken = super().write(fd, parts)
        self._visit = max(self._visit, time.monotonic() - began)
        self._batches[fd] = batch
        if SEAL in kinds:
            self._reached(Point.SEALED)
        elif kinds & {UPDATE, DONE} and not batch:
            self._reached(Point.RECORDS_UNSYNCED)
        return taken

    def sync(self, target: int | str) -> None:
        if isinstance(target, str):
            self._reached(Point.SEGMENT_UNNAMED)
        elif self._batches.get(target):
            self._reached(Point.BATCH_UNSYNCED)
        began = time.monotonic()
        super().sync(target)
        self._visit = max(self._visit, 2 * (time.monotonic() - began))  # with the write before it
        if isinstance(target, int) and self._batches.get(target):
            self._reached(Point.BATCH_SYNCED)

    def close(self, fd: int) -> None:
        self._marks.pop(fd, None)
        self._batches.pop(fd, None)
        super().close(fd)

    def rename(self, old: str, new: str) -> None:
        self._reached(Point.BEFORE_ADOPTION)
        super().rename(old, new)
        self._reached(Point.ADOPTED)

    def remove(self, path: str, *, directory: bool = False) -> None:
        if path.endswith(".log"):
            self._reached(Point.BEFORE_FREEING)
        super().remove(path, directory=directory)
        if path.endswith(".log"):
            self._reached(Point.FREED)

    def _reached(self, point: Point, fd: int = -1, parts: Sequence[bytes] = ()) -> None:
        """fd, parts: half of this is written before the end."""
        if point is not self._point:
            return
        self._left -= 1
        if self._left > 0:
            return
        try:
            self._marker.touch(exist_ok=False)
        except FileExistsError:
            return
        octets = b"".join(parts)
        if octets:
            os.write(fd, octets[: len(octets) // 2])
        self._marker.write_text(f"{time.monotonic():.6f} {self._visit:.6f}")
        if self._victim == "tree":
            master = os.getppid()
            children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
            for pid in (master, *(int(child) for child in children if int(child) != os.getpid())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    config = load(sys.argv[1])
    disk = (Path(sys.argv[1]).parent, sys.argv[2], Point[sys.argv[3]], int(sys.argv[4]))
    premises = Premises.take(config)

    def fatal(seat: Seat) -> int:
        return run_worker(seat, FatalDisk(*disk))

    try:
        return Master(config, premises, fatal, run_admin).run()
    finally:
        premises.close()


if __name__ == "__main__":
    sys.exit(main())
