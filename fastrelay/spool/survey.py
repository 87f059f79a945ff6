"""What lies in a slot at a start: every segment, adopted ones too, and the indexes that may be believed.

Reads 128 octets a segment and the prelude of its index, changes nothing. MisuseError for a format newer than ours,
before anything was touched.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastrelay.errors import MisuseError
from fastrelay.spool.bodies import listed
from fastrelay.spool.disk import Disk, How, Kind, Name
from fastrelay.spool.format import SEGMENT_HEADER, Foreign, Newer, decode_segment
from fastrelay.spool.index import PRELUDE_READ, Prelude, decode_prelude, prelude_size
from fastrelay.spool.segment import Segment, index_number, log_name, number_of
from fastrelay.spool.slots import BODIES, places


class Piece:
    """One segment to replay. prelude: of an index that fits it, else it is scanned. size: octets of the log there are.

    An index without a log (lost), or with a log shorter than it says, still tells which messages were there.
    """

    __slots__ = ("prelude", "segment", "size")

    def __init__(self, segment: Segment, prelude: Prelude | None, size: int) -> None:
        self.segment = segment
        self.prelude = prelude
        self.size = size


class Survey(NamedTuple):
    """highest: number of the newest segment file in the slot's own directory.

    unborn: logs whose header was never written whole, so nothing was ever committed to them. strange: logs whose header
    is damaged, or which are no plain files. bodies: path -> id, None for drafts of an earlier life.
    """

    pieces: list[Piece]
    highest: int
    unborn: list[str]
    strange: list[str]
    bodies: dict[str, bytes | None]


def survey(disk: Disk, path: str) -> Survey:
    """Look at the slot in `path`. OSError as the disk says."""
    found = Survey([], 0, [], [], {})
    highest = 0
    for directory in places(path, disk):
        names = disk.list(directory)
        logs = {number: name for name in names if (number := number_of(name.name)) is not None}
        indexes = {number: name for name in names if (number := index_number(name.name)) is not None}
        if directory == path:
            highest = max([0, *logs, *indexes])
        for number in sorted(logs.keys() | indexes.keys()):
            _look(disk, directory, number, logs.get(number), number in indexes, found)
        found.bodies.update(listed(disk, f"{directory}/{BODIES}"))
    return found._replace(highest=highest)


def _look(disk: Disk, directory: str, number: int, log: Name | None, indexed: bool, found: Survey) -> None:
    path = f"{directory}/{log_name(number)}"
    prelude = _prelude(disk, path.removesuffix(".log") + ".index") if indexed else None
    if log is None:
        if prelude is not None:
            segment = Segment(prelude.header, directory, prelude.size, path)
            segment.lost = segment.closed = True
            found.pieces.append(Piece(segment, prelude, 0))
        return
    if log.kind is not Kind.FILE:
        found.strange.append(path)
        return
    octets = _start(disk, path, SEGMENT_HEADER)
    try:
        header = decode_segment(octets)
    except Newer as newer:
        raise MisuseError(
            f"{path} was written by a newer release ({newer}); nothing was changed: start that release again"
        ) from None
    except Foreign:
        unborn = log.size <= SEGMENT_HEADER or not octets.strip(b"\0")
        (found.unborn if unborn and log.size <= 2 * SEGMENT_HEADER else found.strange).append(path)
        return
    if prelude is not None and (prelude.header.nonce != header.nonce or prelude.size < log.size):
        prelude = None
    segment = Segment(header, directory, log.size, path)
    segment.closed = True
    found.pieces.append(Piece(segment, prelude, log.size))


def _start(disk: Disk, path: str, size: int) -> bytes:
    fd = disk.open(path, How.READ)
    try:
        return disk.read(fd, size, 0)
    finally:
        disk.close(fd)


def _prelude(disk: Disk, path: str) -> Prelude | None:
    try:
        octets = _start(disk, path, PRELUDE_READ)
        size = prelude_size(octets)
        if size > len(octets):
            octets = _start(disk, path, size)
    except OSError:
        return None
    return decode_prelude(octets)


def read_whole(disk: Disk, path: str, beat: Callable[[int], None] = lambda octets: None) -> bytes:
    """All octets of a file."""
    fd = disk.open(path, How.READ)
    try:
        parts = []
        offset = 0
        while part := disk.read(fd, 4 * 1024 * 1024, offset):
            parts.append(part)
            offset += len(part)
            beat(len(part))
        return b"".join(parts)
    finally:
        disk.close(fd)
