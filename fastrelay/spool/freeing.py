"""Freeing: a segment is unlinked once nothing in it is needed that was not written forward.

need.py says what is needed, forward.py writes it into the open segment. Once that is synced, and with it every record
that supersedes one here (it would be an even older state that survives a power loss; not of a message that goes with
the segment), the index goes, then the log, the directory synced after each: an index never outlives its log. Only when
the last sync has returned does the segment cease to exist for the DONEs and ABORTs of others.

A segment is worth it when at most a quarter of it is open mail: one octet is written for four set free. Where space is
short three quarters will do. One segment at a time, in slices of 5 ms, never beside a recovery or an adoption.

A segment for which the disk takes no writes is passed over, and tried again at the next look, within a second. It is
not put off until more has been written: where new mail is refused until there is room, nothing would ever be.
"""

import contextlib
from collections.abc import Callable, Iterable

from fastrelay.errors import MachineShort
from fastrelay.runtime import tasks
from fastrelay.spool.committer import Committer
from fastrelay.spool.disk import Disk
from fastrelay.spool.forward import Forward
from fastrelay.spool.journal import Journal
from fastrelay.spool.need import Need
from fastrelay.spool.pace import Away
from fastrelay.spool.reading import Reader
from fastrelay.spool.records import Records
from fastrelay.spool.register import Register
from fastrelay.spool.segment import Segment
from fastrelay.spool.slots import tidy

SHARE = 0.25  # of a segment that may be open mail when it is freed
SHARE_SHORT = 0.75  # the same where space is short
MANY = 16  # closed segments: with more than this, those with next to nothing in them are gathered up
_REFUSALS = 64  # segments that a disk without room keeps from being freed, in one round: each costs a look at its index
_SCRAP = 16  # next to nothing: a sixteenth of a full segment


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


class Freeing:
    """The one task of a store that frees. short(): space is short. freed(): called after each segment."""

    __slots__ = (
        "_away",
        "_closing",
        "_committer",
        "_disk",
        "_ended",
        "_forward",
        "_freed",
        "_idle",
        "_journal",
        "_need",
        "_reader",
        "_register",
        "_rest",
        "_running",
        "_short",
        "_slot",
        "_suspended",
        "_unlinked",
        "_wanted",
        "count",
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
        self._reader = reader
        self._short = short
        self._freed = freed
        self._need = Need(disk, away=away, rest=rest, register=register, records=records)
        self._forward = Forward(
            disk,
            away=away,
            rest=rest,
            journal=journal,
            committer=committer,
            register=register,
            records=records,
            reader=reader,
            need=self._need,
        )
        self._unlinked: set[bytes] = set()  # marks of segments whose files are gone, though not durably
        self._wanted = tasks.Event()
        self._ended = tasks.Event()
        self._idle = tasks.Event()
        self._idle.set()
        self._running = self._closing = False
        self._suspended = 1  # until the backlog is loaded: before that nobody knows what is needed
        self.count = 0

    @property
    def forwarded(self) -> int:
        """Octets written forward so far."""
        return self._forward.octets

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
            and self._committer.failing is None
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

    def _is_closing(self) -> bool:
        return self._closing

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
        refused: set[bytes] = set()
        while not self._closing and not self._suspended and len(refused) < _REFUSALS:
            found = worth(
                [segment for segment in self._register.segments.values() if segment.mark not in refused],
                self._journal.written,
                self._journal.limit,
                short=self._short(),
            )
            if found is None:
                return
            if not self.free(found):
                refused.add(found.mark)

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
                needed = self._need.of(segment)
                if needed.octets > max(segment.size * SHARE_SHORT, self._journal.limit // _SCRAP):
                    return self._put_off(segment, segment.size // 2)
                if needed.unsure:
                    return self._put_off(segment, 1)
                if not self._forward.write(segment, needed, self._is_closing):
                    return self._put_off(segment, 1)
                if needed.stale:
                    self._committer.settle_records()
            while segment.readers:
                self._rest()
            self._reader.shelf.drop(segment)
            self._unlinked.add(segment.mark)
            self._away(self._unlink, segment)
        except MachineShort:
            return self._committer.failing is None and self._put_off(segment, segment.size // 8)
        except OSError:
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

    def _unlink(self, segment: Segment) -> None:  # in a native thread
        for path in (segment.index_path, segment.path):
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(path)
            self._disk.sync(segment.directory)
