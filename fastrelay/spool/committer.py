"""Between the tasks and the journal: gathers what waits into batches, one trip to the disk for each.

Two committers with one face. `Committer` works in the caller's thread, at once: for a stopped spool and for tests.
`ThreadedCommitter` (journal_thread.py) gathers the next batch while a native thread is at the disk with this one.

Promises: a group is in one batch, whole, or nowhere; groups are written in the order given. Records ride: with the next
batch, or after 5 ms by themselves (behind the trip that is under way, if one is), synced within completion_sync; they
are never lost to a failed write, but written again elsewhere. After a failure the disk is tried once a second;
meanwhile groups fail at once and records wait.
Trips come back in order through `settle`, on the loop: what was written, what failed, which segments opened and closed.
"""

from collections import deque
from collections.abc import Callable

from fastrelay.errors import FastrelayError, MachineShort
from fastrelay.runtime import clock
from fastrelay.spool.disk import shortage
from fastrelay.spool.format import MAX_BATCH_FRAMES, MAX_BATCH_MESSAGES
from fastrelay.spool.frames import Frame
from fastrelay.spool.journal import Journal
from fastrelay.spool.trip import Group, Trip, Way

_BARRIERS = 64  # each takes 2,048 records along
RETRY = 1.0  # seconds between tries of a failing disk


class Committer(Way):
    """In the caller's thread. settle(trip) is called after each visit to the disk."""

    def __init__(self, journal: Journal, settle: Callable[[Trip], None]) -> None:
        self._journal = journal
        self._settle = settle
        self._queue: deque[Group] = deque()
        self._riding: deque[Frame] = deque()
        self._unsynced: list[Frame] = []  # records written since the last sync: a failed one may take them along
        self._again: dict[bytes, Frame] = {}  # records a failure threw back, the newest of each message
        self._retry_at = 0.0
        self._failing: FastrelayError | None = None

    # -- the face ---------------------------------------------------------------------------------------------------

    def submit(self, group: Group) -> None:
        """Write `group` and wait until it is on stable storage; raises what went wrong."""
        self._queue.append(group)
        while self._queue:
            trip = self._visit(False)
            if trip is not None:
                self._settle(trip)
        if group.error is not None:
            raise group.error.with_traceback(None)  # shared by all who fail: none keeps the frames of another

    def ride(self, record: Frame) -> None:
        """Write `record` with the next batch."""
        self._riding.append(record)

    def write_records(self) -> None:
        """Write what rides now, without a sync. (On the loop this happens by itself after 5 ms.)"""
        while self._riding:
            trip = self._visit(False)
            if trip is not None:
                self._settle(trip)
                if trip.error is not None:
                    return

    def finish(self) -> None:
        """Write what waits or rides, sync, seal; MachineShort when the disk does not let us."""
        self._settle_all()
        self._seal()

    def settle_records(self) -> None:
        """What rides now is on stable storage when this returns. Waits; MachineShort when the disk does not let us."""
        last = self._riding[-1] if self._riding else None
        for _ in range(_BARRIERS):
            self.submit(Group(()))
            if not self._again and (last is None or last.segment is not None):
                return
        raise MachineShort("Temporary failure while storing records", code=451, enhanced="4.3.0")

    def _settle_all(self) -> None:
        """One barrier after the other until nothing rides: a batch takes 2,048 records."""
        self.submit(Group(()))
        while self._riding or self._again:
            self.submit(Group(()))

    def close(self) -> None:
        """Nothing is written after this."""
        self._journal.close()

    @property
    def failing(self) -> FastrelayError | None:
        """Why the disk does not take writes at present."""
        return self._failing

    def statistics(self) -> dict[str, int]:
        """Groups waiting and records riding."""
        return {"queued": len(self._queue), "riding": len(self._riding) + len(self._again)}

    # -- one visit, in whichever thread ----------------------------------------------------------------------------

    def _visit(self, sync: bool) -> Trip | None:
        """Write one batch of what waits; None when there is nothing to do."""
        if self._failing is not None and clock.now() < self._retry_at:
            return self._refuse()
        groups, records, octets = self._gather()
        if not groups and not records and not sync and not self._journal.sound:
            return None
        if not groups and not records and not sync and self._failing is None:
            return None
        trip = Trip(groups, records)
        journal = self._journal
        begun = clock.now()
        try:
            frames = [frame for group in groups for frame in group.frames]
            frames += records
            if frames:
                journal.append(frames, octets, sync=sync or bool(groups))
            elif groups or sync or self._failing is not None:
                journal.sync()
        except OSError as error:
            self._throw_back(trip, shortage(error))
        else:
            self._failing = None
            trip.synced = journal.sound
            if trip.synced:
                self._unsynced.clear()
            else:
                self._unsynced += records
        trip.news, journal.news = journal.news, []
        trip.seconds = clock.now() - begun
        return trip

    def _gather(self) -> tuple[list[Group], list[Frame], int]:
        queue, riding, again = self._queue, self._riding, self._again
        limit = self._journal.batch_limit
        groups: list[Group] = []
        octets = messages = count = 0
        while queue:
            group = queue[0]
            octets += group.octets
            messages += group.messages
            count += len(group.frames)
            if groups and (octets > limit or messages > MAX_BATCH_MESSAGES or count > MAX_BATCH_FRAMES):
                octets -= group.octets
                count -= len(group.frames)
                break
            groups.append(queue.popleft())
        records: list[Frame] = []
        while again and count + len(records) < MAX_BATCH_FRAMES and (octets < limit or not count):
            record = again.pop(next(iter(again)))
            octets += record.octets
            records.append(record)
        while riding and count + len(records) < MAX_BATCH_FRAMES and (octets < limit or not count):
            record = riding.popleft()
            octets += record.octets
            records.append(record)
        return groups, records, octets

    def _throw_back(self, trip: Trip, error: FastrelayError) -> None:
        """The visit failed: groups fail (or stay, where kept), records wait for a disk that works."""
        trip.error = self._failing = error
        self._retry_at = clock.now() + RETRY
        for record in [*self._unsynced, *trip.records]:
            known = self._again.get(record.ident)
            if known is None or (known.kind, known.version) <= (record.kind, record.version):
                self._again[record.ident] = record
        self._unsynced.clear()
        self._fail(trip, error)

    def _refuse(self) -> Trip | None:
        """While the disk rests, what waits for it fails without touching it."""
        assert self._failing is not None
        groups = list(self._queue)
        self._queue.clear()
        trip = Trip(groups, [])
        trip.error = self._failing
        self._fail(trip, self._failing)
        return trip if trip.groups else None

    def _fail(self, trip: Trip, error: FastrelayError) -> None:
        kept = [group for group in trip.groups if group.keep]
        trip.groups = [group for group in trip.groups if not group.keep]
        self._queue.extendleft(reversed(kept))
        for group in trip.groups:
            group.error = error

    def _visit_to_seal(self) -> Trip:
        """Finish the open segment."""
        trip = Trip([], [])
        try:
            self._journal.seal()
        except OSError as error:
            self._throw_back(trip, shortage(error))
        trip.synced = self._journal.sound
        trip.news, self._journal.news = self._journal.news, []
        return trip

    def _seal(self) -> None:
        trip = self._visit_to_seal()
        self._settle(trip)
        if trip.error is not None:
            raise trip.error
