"""The audit: one walk over everything, in slices, that proves every item stands somewhere.

First whatever stands in a container (bucket, queue, lane, a runner's hand) is marked with the number of the pass; what
moves meanwhile is marked by its move. Then the table is walked: an item without the mark stands nowhere, so nobody
would ever bring its next event. It is reported and rescheduled; the count of such items is `fastrelay_orphans`,
always 0.

On the way it finds what has expired while READY or ROUTING (the timers look at the other places only), asks again for
routes that are being waited for, and wakes lanes that have work: a lost wake-up costs a minute, not a message.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lanes
from fastrelay.schedule.queue import Queue, Queues
from fastrelay.schedule.table import Table, family
from fastrelay.schedule.timers import Timers

CHUNK = 512  # items looked at between two looks at the clock; 0.3 us each


class Audit(NamedTuple):
    """How many items stand where, and how many the last walk found nowhere."""

    waiting: int
    routing: int
    ready: int
    running: int
    held: int
    orphans: int


class Finds(NamedTuple):
    """Whom the walk tells: orphan(item), expired(item), unrouted(queue), ready(lane), ended(orphans)."""

    orphan: Callable[[Item], None]
    expired: Callable[[Item], None]
    unrouted: Callable[[Queue], None]
    ready: Callable[..., None]
    ended: Callable[[int], None]


def patrol(
    table: Table, timers: Timers, queues: Queues, lanes: Lanes, now: Callable[[], float], finds: Finds
) -> Iterator[None]:
    """One walk; yields wherever others may be given a turn."""
    table.mark = timers.mark = mark = table.mark % 200 + 1  # small integers cost no memory
    for bucket in timers.buckets():
        for item in bucket.live():
            item.mark = mark
        yield
    for queue in queues.all():
        yield from _mark((item for item in [*queue.items] if item.at is queue), mark)
        if queues.waiting.get(queue.domain) is queue:
            finds.unrouted(queue)
    for lane in lanes.all():
        yield from _mark(filter(lane.holds, [*lane.items]), mark)
        if lane.ready and not lane.suspended(now()):
            finds.ready(lane)
    for item in table.running:
        item.mark = mark
    orphans = 0
    for shard in table.shards:
        at = now()
        for first in [*shard.values()]:
            for item in family(first):
                if item.mark != mark:
                    orphans += 1
                    finds.orphan(item)
                elif item.expires <= at and (item.place is Place.READY or item.place is Place.ROUTING):
                    finds.expired(item)
        yield
    lanes.forget_idle(now())
    finds.ended(orphans)


def _mark(items: Iterable[Item], mark: int) -> Iterator[None]:
    for count, item in enumerate(items):
        item.mark = mark
        if count % CHUNK == CHUNK - 1:
            yield
    yield
