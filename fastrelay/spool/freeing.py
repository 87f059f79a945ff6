"""Freeing: a segment is unlinked once nothing in it is needed that was not written forward.

Needed are the newest copy of an open message (written forward as MESSAGE merged with its state, copy number + 1), the
newest UPDATE of one that lies elsewhere, a DONE as long as a segment it names exists, an ABORT likewise. Written
forward, synced, and with them every record that supersedes one here: it would be an even older state that survives a
power loss. Then the index goes, then the log, the directory synced after each: an index never outlives its log. Only
when the last sync has returned does the segment cease to exist for the DONEs and ABORTs of others.

A segment is worth it when at most a quarter of it is open mail: one octet is written for four set free. Where space is
short three quarters will do. One segment at a time, in slices of 5 ms, never beside a recovery or an adoption.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from fastrelay.errors import MachineShort
from fastrelay.mail import state as states
from fastrelay.runtime import clock, tasks
from fastrelay.spool.bodies import Away
from fastrelay.spool.committer import Committer, Group
from fastrelay.spool.disk import Disk, How
from fastrelay.spool.format import ABORT, DAMAGED, DONE, FILE, MESSAGE, UPDATE
from fastrelay.spool.frames import Found, Frame, join_marks, split_marks
from fastrelay.spool.index import decode_index, decode_prelude, is_whole
from fastrelay.spool.journal import Journal
from fastrelay.spool.reading import Reader, body_of, good_frame
from fastrelay.spool.records import Records
from fastrelay.spool.recovery import SLICE
from fastrelay.spool.register import Held, Register
from fastrelay.spool.scan import scan
from fastrelay.spool.segment import Segment
from fastrelay.spool.slots import tidy
from fastrelay.spool.survey import read_whole

SHARE = 0.25  # of a segment that may be open mail when it is freed
SHARE_SHORT = 0.75  # the same where space is short
MANY = 16  # closed segments: with more than this, those with next to nothing in them are gathered up
_SCRAP = 16  # next to nothing: a sixteenth of a full segment
_BATCH = 512 * 1024  # octets written forward at once: commits that share the batch wait 1 ms for them
_BATCH_FRAMES = 256
_LOOKS = 32
_PATIENCE = 1.0  # seconds to wait for a batch under way that concerns a message here


def worth(segments: Iterable[Segment], written: int, full: int, *, short: bool) -> Segment | None:
    """The segment to free next. written: octets the journal has written; full: octets of a full segment. Pure."""
    closed = [segment for segment in segments if segment.closed and segment.postponed <= written]
    if not closed:
        return None
    best = min(closed, key=lambda segment: segment.live / max(segment.size, 1))
    if best.live <= best.size * (SHARE_SHORT if short else SHARE):
        return best
    if len(closed) > MANY:
        least = min(closed, key=lambda segment: segment.live)
        if least.live <= full // _SCRAP:
            return least
    return None


class _Needed(NamedTuple):
    """What must be written forward of a segment: ids of messages, and other frames.

    unsure: it holds a record of a message that a batch under way concerns: what is needed shows when that is over.
    stale: it holds states whose successors may not be synced yet.
    """

    messages: list[bytes]
    others: list[Found]
    octets: int
    unsure: bool
    stale: bool


class Freeing:
    """The one task of a store that frees. short(): space is short. freed(): called after each segment."""

    __slots__ = (
        "_away",
        "_closing",
        "_committer",
        "_disk",
        "_ended",
        "_freed",
        "_idle",
        "_journal",
        "_reader",
        "_records",
        "_register",
        "_rest",
        "_running",
        "_short",
        "_slot",
        "_suspended",
        "_unlinked",
        "_wanted",
        "count",
        "forwarded",
    )

    def __init__(
        self,
        slot: str,
        *,
        disk: Disk,
        away: Away,
        rest: Callable[[], None],
        journal: Journal,
        committer: Committer,
        register: Register,
        records: Records,
        reader: Reader,
        short: Callable[[], bool],
        freed: Callable[[], None],
    ) -> None:
        self._slot = slot
        self._disk = disk
        self._away = away
        self._rest = rest
        self._journal = journal
        self._committer = committer
        self._register = register
        self._records = records
        self._reader = reader
        self._short = short
        self._freed = freed
        self._unlinked: set[bytes] = set()  # marks of segments whose files are gone, though not durably
        self._wanted = tasks.Event()
        self._ended = tasks.Event()
        self._idle = tasks.Event()
        self._idle.set()
        self._running = self._closing = False
        self._suspended = 1  # until the backlog is loaded: before that nobody knows what is needed
        self.count = 0
        self.forwarded = 0

    # -- when -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Free in a task of its own, while not suspended."""
        self._running = True
        tasks.spawn(self._run)

    def suspend(self) -> None:
        """Let others change what lies where: until `resume` no segment is freed. Waits for the one under way."""
        self._suspended += 1
        self._idle.wait()

    def resume(self) -> None:
        """Everything that lies in a segment is in the register again."""
        self._suspended -= 1
        self._wanted.set()

    def left(self, segment: Segment) -> None:
        """A message that lay in `segment` has ended."""
        if (
            segment.closed
            and segment.live <= segment.size * SHARE
            and segment.postponed <= self._journal.written
            and not self._wanted.is_set()
        ):
            self._wanted.set()

    def look(self) -> None:
        """A segment was closed, or space got short."""
        self._wanted.set()

    def close(self) -> None:
        """Free no more; waits for the step under way."""
        self._closing = True
        self._wanted.set()
        if self._running:
            self._ended.wait()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wanted.wait()
                self._wanted.clear()
                self.free_all()
        finally:
            self._running = False
            self._ended.set()

    def free_all(self) -> None:
        """Free everything that is worth it. Waits."""
        while not self._closing and not self._suspended:
            found = worth(
                self._register.segments.values(),
                self._journal.written,
                self._journal.limit,
                short=self._short(),
            )
            if found is None:
                return
            self.free(found)

    # -- one segment ------------------------------------------------------------------------------------------------

    def free(self, segment: Segment) -> bool:
        """Free it. Waits. False when it has to be put off: nothing is lost then either."""
        self._idle.clear()
        try:
            return self._free(segment)
        finally:
            self._idle.set()

    def _free(self, segment: Segment) -> bool:
        try:
            if segment.mark not in self._unlinked:
                needed = self._needed(segment)
                if needed.octets > max(segment.size * SHARE_SHORT, self._journal.limit // _SCRAP):
                    return self._put_off(segment, segment.size // 2)
                if needed.unsure:
                    return self._put_off(segment, 1)
                if not self._forward(segment, needed):
                    return self._put_off(segment, 1)
                if needed.stale:
                    self._committer.settle_records()
            while segment.readers:
                self._rest()
            self._reader.shelf.drop(segment)
            self._unlinked.add(segment.mark)
            self._away(self._unlink, segment)
        except (OSError, MachineShort):
            return self._put_off(segment, segment.size // 8)
        self._unlinked.discard(segment.mark)
        self._register.segment_gone(segment.mark)
        self.count += 1
        if segment.directory != self._slot and not any(
            other.directory == segment.directory for other in self._register.segments.values()
        ):
            self._away(tidy, segment.directory, self._disk)
        self._freed()
        return True

    def _put_off(self, segment: Segment, octets: int) -> bool:
        segment.postponed = self._journal.written + max(octets, 1)
        return False

    def _needed(self, segment: Segment) -> _Needed:
        messages: list[bytes] = []
        others: list[Found] = []
        octets = 0
        unsure = stale = False
        began = clock.now()
        for n, frame in enumerate(self._frames(segment)):
            if frame.kind == MESSAGE:
                held = self._register.get(frame.ident)
                if held is not None and held.segment is segment and held.offset == frame.offset:
                    messages.append(frame.ident)
                    octets += frame.length
                elif frame.state:
                    stale = True
            elif self._is_needed(segment, frame):
                others.append(frame)
                octets += frame.length
            elif frame.kind == UPDATE:
                stale = True
                unsure |= self._records.is_in_flight(frame.ident)
            elif frame.kind == DONE:
                unsure |= self._records.is_in_flight(frame.ident)
            if n % _LOOKS == 0 and clock.now() - began >= SLICE:
                self._rest()
                began = clock.now()
        return _Needed(messages, others, octets, unsure, stale)

    def _is_needed(self, segment: Segment, frame: Found) -> bool:
        """For frames other than MESSAGE, as things are now."""
        if frame.kind == UPDATE:
            held = self._register.get(frame.ident)
            return held is not None and held.segment is not segment and held.state == frame.state
        if frame.kind == DONE:  # of an open message only in a batch that failed: void
            return self._register.get(frame.ident) is None and bool(self._living(segment, split_marks(frame.envelope)))
        return frame.kind == ABORT and bool(self._living(segment, [frame.ident[:8]]))

    def _living(self, segment: Segment, marks: Iterable[bytes]) -> list[bytes]:
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

    # -- forward ----------------------------------------------------------------------------------------------------

    def _forward(self, segment: Segment, needed: _Needed) -> bool:
        """Write what is needed into the open segment, synced. False when that has to wait."""
        waited = clock.now()
        left = needed.messages
        while left:
            some, left = self._some(segment, left)
            if some:
                self._forward_messages(segment, some)
                waited = clock.now()
            elif left:
                if clock.now() - waited > _PATIENCE:
                    return False
                self._rest()
            if self._closing:
                return False
        for start in range(0, len(needed.others), _BATCH_FRAMES):
            some_others = needed.others[start : start + _BATCH_FRAMES]
            if any(self._records.is_in_flight(frame.ident) for frame in some_others):
                return False
            frames = [self._copy(segment, frame) for frame in some_others if self._is_needed(segment, frame)]
            if frames:
                self._committer.submit(Group(frames))
                self.forwarded += sum(frame.length for frame in frames)
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

    def _forward_messages(self, segment: Segment, some: Collection[tuple[bytes, Held]]) -> None:
        for ident, _ in some:
            self._records.take_off(ident)
        try:
            places = [(ident, held.offset, held.length) for ident, held in some if not held.flags & DAMAGED]
            bodies: dict[bytes, Frame] = self._read(segment, places)
            for ident, held in some:
                if ident not in bodies and not held.flags & DAMAGED:
                    self._reader.set_aside(ident, held, segment, held.offset, held.length)
            frames = [_merged(bodies.get(ident), ident, held) for ident, held in some]
            self._committer.submit(Group(frames))
            for frame in frames:
                self._register.move(frame.ident, frame)
                self.forwarded += frame.length
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
            envelope = join_marks(self._living(segment, split_marks(frame.envelope)))
            return Frame(DONE, frame.ident, envelope, version=frame.version)
        return Frame(frame.kind, frame.ident, frame.envelope, frame.state, frame.version)

    def _unlink(self, segment: Segment) -> None:  # in a native thread
        for path in (segment.index_path, segment.path):
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(path)
            self._disk.sync(segment.directory)


def _merged(frame: Frame | None, ident: bytes, held: Held) -> Frame:
    """The next copy of a message, with its state as it is now; of a damaged one only what is known of it."""
    if frame is None:
        frame = Frame(MESSAGE, ident, held.envelope, content_crc=0, flags=DAMAGED)
    frame.state = held.state
    frame.version = states.decode(held.state).version if held.state else 0
    frame.copy = min(held.copy + 1, 0xFFFF)
    return frame
