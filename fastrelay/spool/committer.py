"""Between the tasks and the journal: gathers what waits into batches, one trip to the disk for each.

Two committers with one face. `Committer` works in the caller's thread, at once: for a stopped spool and for tests.
`ThreadedCommitter` keeps one native thread per journal, woken by a lock and waking the event loop by a bell (measured
80 us a round trip against 115-140 us through a thread pool); while it is at the disk, the next batch gathers.

Promises: a group is in one batch, whole, or nowhere; groups are written in the order given. Records ride: with the next
batch, or after 5 ms by themselves, synced within completion_sync; they are never lost to a failed write, but written
again elsewhere. After a failure the disk is tried once a second; meanwhile groups fail at once and records wait.
Trips come back in order through `settle`, on the loop: what was written, what failed, which segments opened and closed.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence

from fastrelay.errors import FastrelayError, Impossible, MachineShort
from fastrelay.runtime import clock, tasks
from fastrelay.spool.format import MAX_BATCH_FRAMES, MAX_BATCH_MESSAGES, MESSAGE
from fastrelay.spool.frames import Frame
from fastrelay.spool.journal import Journal, News

RIDE = 0.005  # seconds a record waits for a batch to ride with
_BARRIERS = 64  # each takes 2,048 records along
RETRY = 1.0  # seconds between tries of a failing disk
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Group:
    """Frames that are on disk together or not at all. No frames: a barrier, done when all before it is synced.

    place: where a task waits, None when none does. keep: on failure written again later instead of failing.
    """

    __slots__ = ("error", "frames", "keep", "messages", "octets", "place")

    def __init__(self, frames: Sequence[Frame], *, keep: bool = False) -> None:
        self.frames = frames
        self.octets = sum([frame.octets for frame in frames])
        self.messages = sum([frame.kind == MESSAGE for frame in frames])
        self.place: tasks.Parking | None = None
        self.error: FastrelayError | None = None
        self.keep = keep


class Trip:
    """One visit to the disk. error: why it failed (then no group is on disk). synced: nothing written awaits a sync."""

    __slots__ = ("error", "groups", "news", "records", "seconds", "synced")

    def __init__(self, groups: list[Group], records: list[Frame]) -> None:
        self.groups = groups
        self.records = records
        self.news: list[News] = []
        self.error: FastrelayError | None = None
        self.synced = False
        self.seconds = 0.0


class Committer:
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

    def hand(self, group: Group) -> None:
        """Write `group` soon; nobody waits for it (`keep` groups only)."""
        self._queue.append(group)

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

    def _seal(self) -> None:
        trip = Trip([], [])
        try:
            self._journal.seal()
        except OSError as error:
            self._throw_back(trip, shortage(error))
        trip.synced = self._journal.sound
        trip.news, self._journal.news = self._journal.news, []
        self._settle(trip)
        if trip.error is not None:
            raise trip.error


class ThreadedCommitter(Committer):
    """With a native thread. Only the loop's thread calls the face; only the native one visits the disk."""

    def __init__(self, journal: Journal, settle: Callable[[Trip], None], completion_sync: float) -> None:
        super().__init__(journal, settle)
        self._completion_sync = completion_sync
        self._wanted = threading.Lock()  # released: there is something to do
        self._wanted.acquire()
        self._write_now = self._sync_now = self._seal_now = self._closing = False
        self._called = False  # the thread is sent for at the end of this turn
        self._away = False  # it was woken, and has not been heard of since
        self._returned = False  # it has nothing more to do
        self._done: deque[Trip] = deque()
        self._bell = tasks.Bell(self._hear)
        self._ride_alarm: tasks.Alarm | None = None
        self._sync_alarm: tasks.Alarm | None = None
        self._ended = tasks.Event()
        self._thread = tasks.start_native_thread("spool-journal", self._run)

    # -- on the loop ------------------------------------------------------------------------------------------------

    def submit(self, group: Group) -> None:
        """Write `group` with whatever else waits, and park until it is on stable storage.

        A kill that arrives meanwhile is put off until the task waits next: what was committed is never left unowned.
        """
        place = group.place = tasks.Parking()
        self._queue.append(group)
        if not self._away and not self._called:
            self._call()
        killed = False
        while True:
            try:
                place.wait()
                break
            except tasks.TaskExit:
                killed = True
        if killed:
            tasks.kill(tasks.current())
        if group.error is not None:
            raise group.error.with_traceback(None)  # shared by all who fail: none keeps the frames of another

    def hand(self, group: Group) -> None:
        """Write `group` soon; nobody waits for it."""
        self._queue.append(group)
        self._call()

    def ride(self, record: Frame) -> None:
        """Write `record` with the next batch, in 5 ms at most."""
        self._riding.append(record)
        if self._ride_alarm is None:
            self._ride_alarm = tasks.Alarm(RIDE, self._ride_now)

    def write_records(self) -> None:
        """Write what rides now, without a sync."""
        self._write_now = True
        self._call()

    def finish(self) -> None:
        """Write, sync, seal; waits. MachineShort when the disk does not let us."""
        self._settle_all()
        self._seal_now = True
        self._call()
        self.submit(Group(()))

    def close(self) -> None:
        """Let the thread end after its present visit, and wait for that."""
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._ended.wait()
        self._thread.join()
        for alarm in (self._ride_alarm, self._sync_alarm):
            if alarm is not None:
                alarm.close()
        self._bell.close()
        super().close()

    def _call(self) -> None:
        """Send the thread to the disk at the end of this turn, with all that has gathered by then."""
        if not self._away and not self._called:
            self._called = True
            tasks.soon(self._depart)

    def _depart(self) -> None:
        self._called = False
        if not self._away:
            self._away = True
            self._wake()

    def _wake(self) -> None:
        if self._wanted.locked():
            self._wanted.release()

    def _ride_now(self) -> None:
        assert self._ride_alarm is not None
        self._ride_alarm.close()
        self._ride_alarm = None
        if self._riding:
            self._write_now = True
            self._call()

    def _sync_soon(self) -> None:
        assert self._sync_alarm is not None
        self._sync_alarm.close()
        self._sync_alarm = None
        if self._unsynced:
            self._sync_now = True
            self._call()

    def _hear(self) -> None:
        if self._returned:
            self._returned = self._away = False
            if self._queue or self._write_now or self._sync_now or self._seal_now:
                self._depart()
        while self._done:
            trip = self._done.popleft()
            self._settle(trip)
            for group in trip.groups:
                if group.place is not None:
                    group.place.wake()
            if not trip.synced and trip.error is None and self._sync_alarm is None:
                self._sync_alarm = tasks.Alarm(max(self._completion_sync - RIDE, 0.0), self._sync_soon)
        if self._closing and not self._thread.is_alive():
            self._ended.set()

    # -- in the native thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                self._wanted.acquire(timeout=RETRY if self._failing is not None else -1)
                self._work()
                self._returned = True
                self._bell.ring()
        except BaseException as error:
            self._break(error)
        self._bell.ring()

    def _work(self) -> None:
        if self._seal_now:
            self._seal_now = False
            self._seal_in_thread()
        write = self._write_now or bool(self._queue) or self._failing is not None
        sync, self._sync_now, self._write_now = self._sync_now, False, False
        if write or sync:
            trip = self._visit(sync)
            if trip is not None:
                self._done.append(trip)

    def _seal_in_thread(self) -> None:
        trip = Trip([], [])
        try:
            self._journal.seal()
        except OSError as error:
            self._throw_back(trip, shortage(error))
        trip.synced = self._journal.sound
        trip.news, self._journal.news = self._journal.news, []
        self._done.append(trip)

    def _break(self, error: BaseException) -> None:
        """A bug of ours: everyone who waits hears it, nothing is written any more."""
        broken = Impossible(f"the journal's thread ended: {error!r}")
        self._failing, self._retry_at = broken, clock.NEVER
        tasks.on_crash("spool-journal", error)


def shortage(error: OSError) -> MachineShort:
    detail = f"{error.strerror or error}"
    if error.errno in _FULL:
        return MachineShort("Insufficient system storage", code=452, enhanced="4.3.1", detail=detail)
    return MachineShort("Temporary failure while storing the message", code=451, enhanced="4.3.0", detail=detail)
