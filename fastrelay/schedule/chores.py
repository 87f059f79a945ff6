"""Chores: work over many items, done in slices between which everybody else gets a turn.

A chore is a generator that yields at least every BATCH items. `tick` lets the timers fire and takes the chores in turn
for at most SLICE seconds, then asks `later` to go on. Nothing here waits. One that ends with an error (a bug) is told
of and ends alone: timers and other chores go on, and what it had in hand is the patrol's to find.
"""

from collections import deque
from collections.abc import Callable, Iterator

from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item
from fastrelay.schedule.timers import Timers

SLICE = 0.005  # seconds of work before others get a turn: the bound on what a tick adds to any session's latency


class Chores:
    """Those of one worker. come(items, now): takes what the timers let go of."""

    __slots__ = ("_chores", "_come", "_later", "_now", "_slicing", "_timers")

    def __init__(
        self,
        timers: Timers,
        come: Callable[[list[Item], float], None],
        later: Callable[..., object],
        now: Callable[[], float],
    ) -> None:
        self._timers = timers
        self._come = come
        self._later = later
        self._now = now
        self._chores: deque[Iterator[None]] = deque()
        self._slicing = False  # a slice is on its way

    def add(self, chore: Iterator[None]) -> None:
        """Begin it soon, not here: who adds one may be in the middle of a move."""
        self._chores.append(chore)
        if not self._slicing:
            self._slicing = True
            self._later(self._slice)

    def tick(self) -> None:
        """The timers' seconds have come."""
        if not self._slicing:
            self._slice()

    def _slice(self) -> None:
        now = self._now()
        end = now + SLICE
        self._slicing = False
        chores = self._chores
        more = True
        while more:
            items = self._timers.pop(now)
            more = items is not None
            try:
                if items:
                    self._come(items, now)
                if chores:
                    more = True
                    chore = chores.popleft()
                    if next(chore, chores) is not chores:
                        chores.append(chore)
            except Exception as error:
                tasks.on_crash("Scheduler.chores", error)
            if self._timers.sweep():
                more = True
            if more and self._now() >= end:
                self._slicing = True
                self._later(self._slice)
                return
