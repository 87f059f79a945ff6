"""The messages at one domain, in id order, as the schedule knows them: the rest of the queue is not decoded for it.

Gathered a shard at a time, by as many calls as it takes: half a million messages are 0.5 s of work, which a busy
machine makes seconds of. Each shard is put in order by itself, and they are merged as they are read, so no step grows
with the queue.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator

from fastrelay.control.faces import Schedule
from fastrelay.control.request import PAGE, SLICE, TURN
from fastrelay.runtime import clock


class Roll:
    """As it was when it was gathered; what has gone or come since the reader finds out."""

    __slots__ = ("_left", "_shards", "domain", "until")

    def __init__(self, schedule: Schedule, domain: str, until: float) -> None:
        self.domain = domain
        self.until = until  # monotonic: when it is too old to go on with
        self._left = schedule.at_domain(domain)
        self._shards: list[list[bytes]] = []

    def gather(self, deadline: float, rest: Callable[[float], None]) -> bool:
        """Go on until monotonic `deadline`. True when it is whole."""
        resumed = clock.now()
        for items in self._left:
            if items:
                self._shards.append(sorted({item.ident for item in items}))
            now = clock.now()
            if now >= deadline:
                return False
            if now - resumed >= SLICE:
                rest(TURN)
                resumed = clock.now()
        return True

    def pages(self, after: bytes | None) -> Iterator[list[bytes]]:
        """The ids above `after`, PAGE at a time."""
        if after is None:
            parts = self._shards
        else:
            parts = [shard[bisect_right(shard, after) :] for shard in self._shards]
        page: list[bytes] = []
        for ident in heapq.merge(*parts):
            page.append(ident)
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page
