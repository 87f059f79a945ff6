"""The audit: one walk over everything, in slices, that proves every item stands somewhere.

First whatever stands in a container (bucket, queue, lane, a runner's hand) is marked with the number of the pass; what
moves meanwhile is marked by its move. Then the table is walked: an item without the mark stands nowhere, so nobody
would ever bring its next event. It is reported and rescheduled; the count of such items is `fastrelay_orphans`,
always 0.

On the way it finds what has expired or become late while READY or ROUTING (the timers look at the other places only),
asks again for routes that are being waited for, and wakes lanes that have work: a lost wake-up costs a minute, not a
message.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.places import Places
from fastrelay.schedule.table import family

CHUNK = 512  # items looked at between two looks at the clock; 0.3 us each
PATROL_EVERY = 60.0  # seconds between two walks of the table: 0.6 us an item, 1 % of a core at a million


class Audit(NamedTuple):
    """How many items stand where, and how many the last walk found nowhere."""

    waiting: int
    routing: int
    ready: int
    running: int
    held: int
    orphans: int


class Patrol:
    """One worker's. walking: a walk is under way."""

    __slots__ = ("_next_at", "_now", "_orphans", "_places", "_walked", "walking")

    def __init__(self, places: Places, now: Callable[[], float]) -> None:
        self._places = places
        self._now = now
        self._walked = now()  # when the last walk began
        self._next_at = self._walked + PATROL_EVERY
        self._orphans = 0
        self.walking = False

    def is_due(self, now: float) -> bool:
        """Time for a walk, and none is under way."""
        return now >= self._next_at and not self.walking

    def audit(self) -> Audit:
        """Counts as they are now; orphans as the last walk found them."""
        _, waiting, routing, ready, running, held = self._places.table.counts
        return Audit(waiting, routing, ready, running, held, self._orphans)

    def walk(self) -> Iterator[None]:
        """One walk, as a chore; yields wherever others may be given a turn. Ends early where another has begun.

        However it ends, the next one comes in its time.
        """
        self.walking = True
        try:
            yield from self._walk()
        finally:
            self.walking = False
            self._next_at = self._now() + PATROL_EVERY

    def _walk(self) -> Iterator[None]:
        places, now = self._places, self._now
        table, timers, queues, lanes = places.table, places.timers, places.queues, places.lanes
        before, began = self._walked + timers.notice_left, now() + timers.notice_left
        table.mark = timers.mark = mark = table.mark % 200 + 1  # small integers cost no memory
        for bucket in timers.buckets():
            for item in bucket.live():
                item.mark = mark
            yield
        for queue in queues.all():
            yield from _mark((item for item in [*queue.items] if item.at is queue), mark)
            if queues.waiting.get(queue.domain) is queue:
                places.unrouted(queue.domain)
        for lane in lanes.all():
            yield from _mark(filter(lane.holds, [*lane.items]), mark)
            if lane.ready and not lane.suspended(now()):
                places.ready(lane)
        for item in table.running:
            item.mark = mark
        orphans = 0
        for shard in table.shards:
            if table.mark != mark:
                return
            at = now()
            for first in [*shard.values()]:
                for item in family(first):
                    if item.mark != mark:
                        orphans += 1
                        places.rescue(item)
                    elif item.place is Place.READY or item.place is Place.ROUTING:
                        if item.expires <= at:
                            places.expire_out_of_turn(item)
                        elif before < item.expires <= began:
                            places.late(item)
            yield
        lanes.forget_idle(now())
        self._orphans = orphans
        self._walked = began - timers.notice_left


def _mark(items: Iterable[Item], mark: int) -> Iterator[None]:
    for count, item in enumerate(items):
        item.mark = mark
        if count % CHUNK == CHUNK - 1:
            yield
    yield
