"""Quarantine: what was found damaged is kept aside in `quarantine/`, told in one event, and counted. Never sent.

Best effort by nature: a disk that is full or failing must not stop the rest from going on, so what could not be kept is
told as such. Keeping the same stretch again (a restart before its index was written) changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastrelay.mail import ident as idents
from fastrelay.metrics import Counts
from fastrelay.spool.bodies import write_all
from fastrelay.spool.disk import Disk, How
from fastrelay.spool.segment import Segment

_BLOCK = 1024 * 1024

Note = Callable[..., None]
"""note(kind, **fields): one line of the event log."""


class Quarantine:
    """Of one slot. count: stretches kept or tried to since the start."""

    __slots__ = ("_counts", "_directory", "_disk", "_note", "_slot", "count")

    def __init__(self, disk: Disk, slot: str, note: Note, counts: Counts | None = None) -> None:
        self._counts = counts
        self._disk = disk
        self._slot = slot
        self._directory = f"{slot}/quarantine"
        self._note = note
        self.count = 0

    def keep(self, segment: Segment, offset: int, length: int, why: str) -> bool:
        """Copy a stretch of a segment aside, in whichever thread. False when that was not possible."""
        name = segment.path.rpartition("/")[2].removesuffix(".log")
        return self._copy(segment.path, offset, length, f"{name}-{segment.mark.hex()}-{offset}.{why}")

    def keep_file(self, path: str, why: str) -> bool:
        """Move a whole file aside, in whichever thread."""
        new = f"{self._directory}/{path.rpartition('/')[2]}.{why}"
        try:
            if self._disk.make_directory(self._directory):
                self._disk.sync(self._slot)
            taken = {name.name for name in self._disk.list(self._directory)}
            while new.rpartition("/")[2] in taken:
                new += "+"
            self._disk.rename(path, new)
            self._disk.sync(self._directory)
            self._disk.sync(path.rpartition("/")[0])
        except OSError:
            return False
        return True

    def tell(
        self, why: str, where: str, octets: int, kept: bool, messages: Sequence[bytes], *, least: int = 1, **more: Any
    ) -> None:
        """Say so, loudly: one event line, and the counts. least: messages lost where none can be named."""
        self.count += 1
        if self._counts is not None:
            self._counts.quarantined += max(least, len(messages))
        self._note(
            "Quarantine",
            reason=why,
            file=where,
            octets=octets,
            kept=kept,
            messages=[idents.to_text(ident) for ident in messages],
            **more,
        )

    def _copy(self, path: str, offset: int, length: int, name: str) -> bool:
        disk = self._disk
        try:
            if disk.make_directory(self._directory):
                disk.sync(self._slot)
            try:
                out = disk.open(f"{self._directory}/{name}", How.CREATE)
            except FileExistsError:
                return True
            try:
                fd = disk.open(path, How.READ)
                try:
                    while length > 0:
                        octets = disk.read(fd, min(length, _BLOCK), offset)
                        if not octets:
                            break
                        write_all(disk, out, octets)
                        offset += len(octets)
                        length -= len(octets)
                finally:
                    disk.close(fd)
                disk.sync(out)
            finally:
                disk.close(out)
            disk.sync(self._directory)
        except OSError:
            return False
        return True
