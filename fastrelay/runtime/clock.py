"""Time: monotonic for every wait and age, wall for what is written down; and one wheel for all deadlines.

A timer per read costs two heap operations a read; a deadline here costs one attribute write. Buckets of one second hold
what may end in them; when a bucket's second has come, each entry either ends or moves to the bucket of the deadline it
has by then. A deadline is therefore met at the latest `TICK` + 1 s after it passed: right for peers (minutes), not for
animation.

Nobody stands further ahead than AHEAD: what has ended before its deadline, as nearly everything does, is held here no
longer than that (measured: 0.4 KB a connection; at 1,000 a second with five minutes each, 125 MB).
"""

import time
from collections.abc import Callable
from typing import Protocol

now: Callable[[], float] = time.monotonic  # seconds; every deadline and age inside a process
wall: Callable[[], float] = time.time  # seconds since the epoch; what is stored, logged or shown

NEVER = float("inf")
TICK = 0.25  # seconds between looks at the wheel: 4 wake-ups a second in an idle worker
AHEAD = 10  # seconds until an entry is looked at, however far its deadline: 10,000 sessions cost 1,000 looks a second


class Perishable(Protocol):
    """What can stand on the wheel."""

    deadline: float  # monotonic seconds, NEVER for none
    bucket: int  # the wheel's: the second under which it stands, 0 for none

    def perish(self) -> None:
        """The deadline has passed. Called on the loop; must not wait."""


class DeadlineWheel:
    """All deadlines of a worker. `watch` once, then only write `deadline`; call `watch` again to bring it forward."""

    __slots__ = ("_buckets", "_done")

    def __init__(self, at: float | None = None) -> None:
        self._buckets: dict[int, list[Perishable]] = {}
        self._done = int(now() if at is None else at)

    def watch(self, entry: Perishable) -> None:
        """Make sure that `entry` is looked at when its deadline passes. Cheap when it already is."""
        deadline = entry.deadline
        second = self._done + AHEAD
        if deadline < second:
            second = max(int(deadline), self._done) + 1
        if 0 < entry.bucket <= second:
            return
        entry.bucket = second
        self._buckets.setdefault(second, []).append(entry)

    def forget(self, entry: Perishable) -> None:
        """`entry` ended; the wheel drops it when its bucket comes, in AHEAD seconds at most."""
        entry.deadline = NEVER
        entry.bucket = -1

    def turn(self, at: float) -> None:
        """Look at every bucket up to `at` (monotonic seconds)."""
        while self._done < int(at):
            self._done += 1
            for entry in self._buckets.pop(self._done, ()):
                if entry.bucket != self._done:
                    continue  # ended, or brought forward and already looked at
                entry.bucket = 0
                if entry.deadline <= at:
                    entry.perish()
                if entry.bucket == 0:
                    self.watch(entry)

    def statistics(self) -> dict[str, int]:
        """Entries (stale ones included) and buckets."""
        return {"entries": sum(map(len, self._buckets.values())), "buckets": len(self._buckets)}
