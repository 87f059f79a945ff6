"""A segment as the room sees it in memory: where it lies, how much of it is needed, its descriptor for reading.

Promises: a name is understood or it is not ours; `live` is the sum of the lengths of the frames that hold the newest
copy of an open message, so a segment is judged without looking into it. Only the loop's side changes a Segment after
the journal has announced it (journal.py); descriptors are opened and closed by Shelf alone.
"""

from collections import OrderedDict

from fastrelay.spool.disk import Disk, How
from fastrelay.spool.format import SegmentHeader

_PREFIX, _LOG, _INDEX = "segment-", ".log", ".index"
_OPEN = 128  # descriptors kept for reading: a few of the 1,024 a careless system gives, enough for a hot backlog


def log_name(number: int) -> str:
    """The file name of segment `number`."""
    return f"{_PREFIX}{number:010d}{_LOG}"


def number_of(name: str, suffix: str = _LOG) -> int | None:
    """The number in a segment's file name, None for any other name."""
    digits = name[len(_PREFIX) : -len(suffix)]
    if name.startswith(_PREFIX) and name.endswith(suffix) and len(digits) == 10 and digits.isascii():
        return int(digits) if digits.isdigit() else None
    return None


def index_number(name: str) -> int | None:
    """The number in an index's file name, None for any other name."""
    return number_of(name, _INDEX)


class Segment:
    """One segment file. size: octets. live: those of the newest copies of open messages. readers: who reads it now.

    closed: never written again. lost: only its index is left. postponed: octets the journal must have written in all
    before it is worth looking at again.
    """

    __slots__ = ("closed", "directory", "fd", "header", "live", "lost", "mark", "path", "postponed", "readers", "size")

    def __init__(self, header: SegmentHeader, directory: str, size: int, path: str = "") -> None:
        self.header = header
        self.mark = header.mark
        self.directory = directory
        self.path = path or f"{directory}/{log_name(header.number)}"
        self.size = size
        self.live = 0
        self.closed = False
        self.lost = False
        self.postponed = 0
        self.fd = -1
        self.readers = 0

    @property
    def index_path(self) -> str:
        """Where its index lies, if it has one."""
        return self.path[: -len(_LOG)] + _INDEX

    def __repr__(self) -> str:
        return f"<Segment {self.path} size={self.size} live={self.live} closed={self.closed}>"


class Shelf:
    """Descriptors for reading, at most 128 open at rest. Not for threads: take and give on one side only."""

    __slots__ = ("_disk", "_open")

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._open: OrderedDict[bytes, Segment] = OrderedDict()

    def take(self, segment: Segment) -> int:
        """A descriptor that stays open until `give`. OSError when it cannot be opened."""
        if segment.fd < 0:
            segment.fd = self._disk.open(segment.path, How.READ)
        segment.readers += 1
        self._open[segment.mark] = segment
        self._open.move_to_end(segment.mark)
        return segment.fd

    def give(self, segment: Segment) -> None:
        """The reader is done."""
        segment.readers -= 1
        if len(self._open) > _OPEN:
            for old in list(self._open.values())[: len(self._open) - _OPEN]:
                if old.closed and not old.readers:
                    self.drop(old)

    def drop(self, segment: Segment) -> None:
        """Close the descriptor now; nobody reads any more."""
        self._open.pop(segment.mark, None)
        if segment.fd >= 0:
            fd, segment.fd = segment.fd, -1
            self._disk.close(fd)

    def __len__(self) -> int:
        return len(self._open)
