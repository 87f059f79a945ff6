"""The journal's thread: a committer that gathers the next batch while this one is at the disk.

One native thread per journal, woken by a lock and waking the event loop by a bell (measured 80 us a round trip against
115-140 us through a thread pool). It is sent at the end of the loop's turn, with all that has gathered by then; it
leaves what it did in `_done`, and the loop settles it and wakes who waits. A bug of ours in it fails everybody, loudly.
"""

import threading
from collections import deque
from collections.abc import Callable

from fastrelay.errors import Impossible
from fastrelay.runtime import clock, tasks
from fastrelay.spool.committer import RETRY, Committer
from fastrelay.spool.frames import Frame
from fastrelay.spool.journal import Journal
from fastrelay.spool.trip import Group, Trip

RIDE = 0.005  # seconds a record waits for a batch to ride with


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
        self._writer_thread = tasks.start_native_thread("spool-journal", self._run)

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

    def ride(self, record: Frame) -> None:
        """Write `record` with the next batch: in 5 ms, or when the trip under way is back, whichever is later."""
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
        self._writer_thread.join()
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
        if self._closing and not self._writer_thread.is_alive():
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
            self._done.append(self._visit_to_seal())
        write = self._write_now or bool(self._queue) or self._failing is not None
        sync, self._sync_now, self._write_now = self._sync_now, False, False
        if write or sync:
            trip = self._visit(sync)
            if trip is not None:
                self._done.append(trip)

    def _break(self, error: BaseException) -> None:
        """A bug of ours: everyone who waits hears it, nothing is written any more."""
        broken = Impossible(f"the journal's thread ended: {error!r}")
        self._failing, self._retry_at = broken, clock.NEVER
        tasks.on_crash("spool-journal", error)
