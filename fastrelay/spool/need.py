"""What of a segment is still needed, as things are now: its contents against the register.

Needed are the newest copy of an open message, the newest UPDATE of one that lies elsewhere, a DONE as long as a segment
it names exists, an ABORT likewise (format.py has the proof). Looks at the index, or scans where there is none, in
slices of 5 ms.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fastrelay.runtime import clock
from fastrelay.spool.disk import Disk, How
from fastrelay.spool.format import ABORT, DONE, MESSAGE, UPDATE
from fastrelay.spool.found import Found
from fastrelay.spool.frames import split_marks
from fastrelay.spool.index import decode_index, decode_prelude, is_whole
from fastrelay.spool.pace import Away
from fastrelay.spool.records import Records
from fastrelay.spool.recovery import SLICE
from fastrelay.spool.register import Register
from fastrelay.spool.scan import scan
from fastrelay.spool.segment import Segment
from fastrelay.spool.survey import read_whole

_LOOKS = 32


class Needed(NamedTuple):
    """What must be written forward of a segment: ids of messages, and other frames.

    unsure: it holds a record of a message that a batch under way concerns: what is needed shows when that is over.
    stale: it holds states of messages that outlive it, whose successors may not be synced yet. One that has ended and
    has its first copy here does not: what is left of it after a crash, a newer copy, has a state of its own.
    """

    messages: list[bytes]
    others: list[Found]
    octets: int
    unsure: bool
    stale: bool


class Need:
    """Judges segments. rest: gives others a turn."""

    __slots__ = ("_away", "_disk", "_records", "_register", "_rest")

    def __init__(
        self, disk: Disk, *, away: Away, rest: Callable[[], None], register: Register, records: Records
    ) -> None:
        self._disk = disk
        self._away = away
        self._rest = rest
        self._register = register
        self._records = records

    def of(self, segment: Segment) -> Needed:
        """Everything of `segment` that is. Waits. OSError."""
        messages: list[bytes] = []
        others: list[Found] = []
        octets = 0
        unsure = stale = False
        leaving: set[bytes] = set()  # have ended, and their first copy is here: there is no older one
        began = clock.now()
        for n, frame in enumerate(self._frames(segment)):
            if frame.kind == MESSAGE:
                held = self._register.get(frame.ident)
                if held is not None and held.segment is segment and held.offset == frame.offset:
                    messages.append(frame.ident)
                    octets += frame.length
                elif frame.state:
                    stale = True
                elif held is None and not frame.copy:
                    leaving.add(frame.ident)
            elif self.still(segment, frame):
                others.append(frame)
                octets += frame.length
            elif frame.kind == UPDATE:
                stale |= frame.ident not in leaving
                unsure |= self._records.is_in_flight(frame.ident)
            elif frame.kind == DONE:
                unsure |= self._records.is_in_flight(frame.ident)
            if n % _LOOKS == 0 and clock.now() - began >= SLICE:
                self._rest()
                began = clock.now()
        return Needed(messages, others, octets, unsure, stale)

    def still(self, segment: Segment, frame: Found) -> bool:
        """For frames other than MESSAGE, as things are now."""
        if frame.kind == UPDATE:
            held = self._register.get(frame.ident)
            return held is not None and held.segment is not segment and held.state == frame.state
        if frame.kind == DONE:  # of an open message only in a batch that failed: void
            return self._register.get(frame.ident) is None and bool(self.living(segment, split_marks(frame.envelope)))
        return frame.kind == ABORT and bool(self.living(segment, [frame.ident[:8]]))

    def living(self, segment: Segment, marks: Iterable[bytes]) -> list[bytes]:
        """Those of other segments that exist, or may come back."""
        return [mark for mark in marks if mark != segment.mark and mark in self._register.segments]

    def _frames(self, segment: Segment) -> Iterable[Found]:
        octets: bytes | None = self._away(self._index, segment)
        if octets is not None:
            prelude = decode_prelude(octets)
            if prelude is not None and prelude.header.nonce == segment.header.nonce and is_whole(octets, prelude):
                return decode_index(octets, prelude)
        found: list[Found] = self._away(self._scan, segment)
        return found

    def _index(self, segment: Segment) -> bytes | None:  # in a native thread
        try:
            return read_whole(self._disk, segment.index_path)
        except OSError:
            return None

    def _scan(self, segment: Segment) -> list[Found]:  # in a native thread
        fd = self._disk.open(segment.path, How.READ)
        try:
            found = scan(lambda size, offset: self._disk.read(fd, size, offset), segment.size, segment.header)
        finally:
            self._disk.close(fd)
        return found.frames + [frame for batch in found.tail for frame in batch]
