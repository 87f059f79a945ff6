"""The calendar: what waits stands in buckets of a second; the far future in coarser ones that are dealt out later.

`put` stands an item under its `due` (monotonic seconds); `pop(now)` takes out one bucket that has come. An item is
looked at no earlier than `due` and at most one second later, and once before: when its sender is to be told that it is
late. Three grains keep the number of buckets, and so memory, independent of how far messages are spread over days: 1 s
up to a minute ahead, 64 s up to 68 minutes, 4,096 s beyond. A bucket of one-second grain for each of 100,000 messages
over five days would cost 230 octets a message; so it costs 9.

Removal is lazy: whoever takes an item away changes `item.at` and calls `left`; the entry is passed over when its
bucket comes. `sweep` drops such entries once they outnumber the live ones, so operator retries over a long queue do
not pile up. A bucket holds at most FULL entries (more of the same time open another), so one bucket is a slice of work.
"""

import heapq
from collections.abc import Iterable, Iterator

from fastrelay.schedule.item import Item

FULL = 1024  # entries per bucket; dealing out one costs 0.3 ms, routing one 2 ms: under the 5 ms of a slice
_MINUTE = 6  # log2 of the middle grain in seconds
_HOUR = 12  # log2 of the coarse grain
_SLACK = 4096  # stale entries that are never worth a sweep


class Bucket:
    """Items that are looked at together. grain: log2 seconds; start: the second at which it comes."""

    __slots__ = ("entries", "grain", "start")

    def __init__(self, start: int, grain: int) -> None:
        self.start = start
        self.grain = grain
        self.entries: list[Item] = []

    def live(self) -> Iterator[Item]:
        """The entries that still stand here, each once."""
        for item in self.entries:
            if item.at is self:
                yield item


class Timers:
    """The calendar of one worker. `live` counts what stands in it, `stale` the entries nobody stands at."""

    __slots__ = ("_done", "_heap", "_open", "_sequence", "_sweeping", "live", "mark", "notice_left", "stale")

    def __init__(self, now: float, notice_left: float = 0.0) -> None:
        """notice_left: seconds before its expiry when an item is looked at though it is not due, 0 = never."""
        self.notice_left = notice_left
        self._done = int(now)  # seconds up to this one have come
        self._open: dict[tuple[int, int], Bucket] = {}  # (start, grain) -> the bucket still being filled
        self._heap: list[tuple[int, int, int, Bucket]] = []  # coarse before fine at one start: dealt out, then popped
        self._sequence = 0
        self._sweeping: list[Bucket] = []
        self.live = 0
        self.stale = 0
        self.mark = 0  # written to every item that is stood here (the audit's)

    def put(self, item: Item) -> None:
        """Stand `item` under `item.due`; sets `item.at`."""
        self.live += 1
        self._stand(item)

    def _stand(self, item: Item) -> None:
        due = item.due
        notice = item.expires - self.notice_left
        if self._done < notice < due:
            due = notice
        second = int(due) + 1
        if second <= self._done:
            second = self._done + 1
        ahead = second - self._done
        grain = 0 if ahead <= 64 else _MINUTE if ahead <= 4096 else _HOUR
        start = (second >> grain) << grain
        key = (start, grain)
        bucket = self._open.get(key)
        if bucket is None or len(bucket.entries) >= FULL:
            bucket = self._open[key] = Bucket(start, grain)
            self._sequence += 1
            heapq.heappush(self._heap, (start, -grain, self._sequence, bucket))
        bucket.entries.append(item)
        item.at = bucket
        item.mark = self.mark

    def left(self) -> None:
        """An item that stood here was moved elsewhere (its `at` rewritten); its entry stays behind."""
        self.live -= 1
        self.stale += 1

    def pop(self, now: float) -> list[Item] | None:
        """The items of one bucket that has come; [] when a coarse bucket was dealt out; None when none has come.

        The items returned stand nowhere: the caller must place each of them at once.
        """
        heap = self._heap
        second = int(now)
        if not heap or heap[0][0] > second:
            self._done = max(self._done, second)
            return None
        start, minus_grain, _, bucket = heapq.heappop(heap)
        self._done = max(self._done, start - 1 if minus_grain else start)
        if self._open.get((start, -minus_grain)) is bucket:
            del self._open[start, -minus_grain]
        items: list[Item] = []
        for item in bucket.entries:
            if item.at is bucket:
                item.at = None
                items.append(item)
        self.stale -= len(bucket.entries) - len(items)
        bucket.entries = []
        if minus_grain == 0:
            self.live -= len(items)
            return items
        for item in items:
            self._stand(item)
        return []

    def sweep(self, most: int = 8) -> bool:
        """Drop stale entries from up to `most` buckets, when they outnumber the live. True while there is more."""
        if not self._sweeping:
            if self.stale <= self.live + _SLACK:
                return False
            self._sweeping = [entry[3] for entry in self._heap]
        for _ in range(min(most, len(self._sweeping))):
            bucket = self._sweeping.pop()
            before = len(bucket.entries)
            kept: list[Item] = []
            for item in bucket.entries:
                if item.at is bucket:
                    item.at = None  # an item that left and came back has two entries: keep one
                    kept.append(item)
            for item in kept:
                item.at = bucket
            bucket.entries = kept
            self.stale -= before - len(kept)
        return bool(self._sweeping)

    def buckets(self) -> Iterable[Bucket]:
        """All of them, as they are now."""
        return [entry[3] for entry in self._heap]

    def statistics(self) -> dict[str, int]:
        """Live and stale entries, and buckets."""
        return {"live": self.live, "stale": self.stale, "buckets": len(self._heap)}
