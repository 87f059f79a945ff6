"""Writing forward: what is needed of a segment goes into the open one, synced, so that the segment can go.

A message is written as MESSAGE merged with its state as it is now, copy number + 1; while its batch is under way it is
in flight (records.py). One found damaged is set aside and only what is known of it goes forward. Other frames are
written as they are, a DONE naming only the segments that still exist.
"""

from collections.abc import Callable, Collection

from fastrelay.mail import state as states
from fastrelay.runtime import clock
from fastrelay.spool.committer import Committer
from fastrelay.spool.disk import Disk
from fastrelay.spool.format import DAMAGED, DONE, FILE, MESSAGE
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Frame, join_marks, split_marks
from fastrelay.spool.held import Held
from fastrelay.spool.journal import Journal
from fastrelay.spool.need import Need, Needed
from fastrelay.spool.pace import Away
from fastrelay.spool.reading import Reader, body_of, good_frame
from fastrelay.spool.records import Records
from fastrelay.spool.register import Register
from fastrelay.spool.segment import Segment
from fastrelay.spool.trip import Group

_BATCH = 512 * 1024  # octets written forward at once: commits that share the batch wait 1 ms for them
_BATCH_FRAMES = 256
_PATIENCE = 1.0  # seconds to wait for a batch under way that concerns a message here


class Forward:
    """octets: written forward so far. rest: gives others a turn."""

    __slots__ = (
        "_away",
        "_committer",
        "_disk",
        "_journal",
        "_need",
        "_reader",
        "_records",
        "_register",
        "_rest",
        "octets",
    )

    def __init__(
        self,
        disk: Disk,
        *,
        away: Away,
        rest: Callable[[], None],
        journal: Journal,
        committer: Committer,
        register: Register,
        records: Records,
        reader: Reader,
        need: Need,
    ) -> None:
        self._disk = disk
        self._away = away
        self._rest = rest
        self._journal = journal
        self._committer = committer
        self._register = register
        self._records = records
        self._reader = reader
        self._need = need
        self.octets = 0

    def write(self, segment: Segment, needed: Needed, closing: Callable[[], bool]) -> bool:
        """Write what is needed into the open segment, synced. False when that has to wait, or no more is to be freed.

        Waits. OSError, MachineShort.
        """
        waited = clock.now()
        left = needed.messages
        while left:
            some, left = self._some(segment, left)
            if some:
                self._write_messages(segment, some)
                waited = clock.now()
            elif left:
                if clock.now() - waited > _PATIENCE:
                    return False
                self._rest()
            if closing():
                return False
        for start in range(0, len(needed.others), _BATCH_FRAMES):
            some_others = needed.others[start : start + _BATCH_FRAMES]
            if any(self._records.is_in_flight(frame.ident) for frame in some_others):
                return False
            frames = [self._copy(segment, frame) for frame in some_others if self._need.still(segment, frame)]
            if frames:
                self._committer.submit(Group(frames))
                self.octets += sum(frame.length for frame in frames)
        return not segment.live

    def _some(self, segment: Segment, idents: list[bytes]) -> tuple[list[tuple[bytes, Held]], list[bytes]]:
        """A batch of what is still here and not in flight, and the rest."""
        some: list[tuple[bytes, Held]] = []
        rest: list[bytes] = []
        octets = 0
        for n, ident in enumerate(idents):
            held = self._register.get(ident)
            if held is None or held.segment is not segment:
                continue
            if self._records.is_in_flight(ident):
                rest.append(ident)
                continue
            if some and octets + held.length > min(_BATCH, self._journal.batch_limit):
                return some, rest + idents[n:]
            some.append((ident, held))
            octets += held.length
            if len(some) == _BATCH_FRAMES:
                return some, rest + idents[n + 1 :]
        return some, rest

    def _write_messages(self, segment: Segment, some: Collection[tuple[bytes, Held]]) -> None:
        for ident, _ in some:
            self._records.take_off(ident)
        try:
            places = [(ident, held.offset, held.length) for ident, held in some if not held.flags & DAMAGED]
            bodies: dict[bytes, Frame] = self._read(segment, places)
            for ident, held in some:
                if ident not in bodies and not held.flags & DAMAGED:
                    self._reader.set_aside(ident, held, segment, held.offset, held.length)
            frames = [merged(bodies.get(ident), ident, held) for ident, held in some]
            self._committer.submit(Group(frames))
            for frame in frames:
                self._register.move(frame.ident, frame)
                self.octets += frame.length
        finally:
            for ident, _ in some:
                self._records.landed(ident)

    def _read(self, segment: Segment, places: list[tuple[bytes, int, int]]) -> dict[bytes, Frame]:
        if not places or segment.lost:
            return {}
        fd = self._reader.shelf.take(segment)
        try:
            found: dict[bytes, Frame] = self._away(self._read_frames, fd, segment, places)
            return found
        finally:
            self._reader.shelf.give(segment)

    def _read_frames(self, fd: int, segment: Segment, places: list[tuple[bytes, int, int]]) -> dict[bytes, Frame]:
        """Those that are as they were written. In a native thread."""
        good = {}
        for ident, offset, length in places:
            octets = self._disk.read(fd, length, offset)
            found = good_frame(octets, 0, offset, segment, ident)
            parts = body_of(found, octets, 0) if found is not None else None
            if found is None or parts is None:
                continue
            good[ident] = Frame(
                MESSAGE,
                ident,
                found.envelope,
                b"",
                0,
                parts[0],
                parts[1:],
                found.content_size,
                found.content_crc,
                flags=found.flags & FILE,
            )
        return good

    def _copy(self, segment: Segment, frame: Found) -> Frame:
        if frame.kind == DONE:
            envelope = join_marks(self._need.living(segment, split_marks(frame.envelope)))
            return Frame(DONE, frame.ident, envelope, version=frame.version)
        return Frame(frame.kind, frame.ident, frame.envelope, frame.state, frame.version)


def merged(frame: Frame | None, ident: bytes, held: Held) -> Frame:
    """The next copy of a message, with its state as it is now; of a damaged one only what is known of it."""
    if frame is None:
        frame = Frame(MESSAGE, ident, held.envelope, content_crc=0, flags=DAMAGED)
    frame.state = held.state
    frame.version = states.decode(held.state).version if held.state else 0
    frame.copy = min(held.copy + 1, 0xFFFF)
    return frame
