"""Token buckets that all workers share: how many things a client or an account may begin in a time.

A bucket holds `rate.count` tokens, full at first; a beginning takes one or several, and they come back evenly, one
every `seconds / count`. So who was silent may begin `count` at once, who goes on gets `count` in every `seconds`, and a
window of `seconds` never sees more than twice that (all of a full bucket, then all that came back). What is refused
takes nothing, so the seconds named with a refusal are true. Outbound rates (limit.py) never pass `count` in any window
and pay for it with a tenth of it at once: right for what a receiver counts, wrong for a client that hands over what it
has.

All a bucket needs is the instant at which it is full again. A table has 65,536 of them in the ledger's file, in sets of
64: a key's hash names its set, and a set has a record lock of its own, so workers meet at a lock only for clients that
share a set. A new key takes the bucket of its set that is full soonest: an empty one, one that has been full for a
while (nothing is lost with it), or else, where 64 clients of one set are all in debt, the least of their debts is
forgotten and counted (`forgotten`). So memory is bounded whatever the number of addresses, the most active stay
governed, and nobody is refused for want of a row. The hash is keyed: outsiders cannot choose who shares a set. Tables
are apart from the rows of ledger.py: no crowd of strangers takes a row from a site.

Counts live in no worker's column: one that is killed or restarted changes nothing; between lock and unlock there are
memory accesses only, and a kill between them leaves a bucket as it was, or full. Measured
(bench/micro): 6 us to spend (half of them the lock), 24 us for a key never seen, 3 us for `due`.
"""

from collections.abc import Callable
from typing import Final

from fastrelay.config import Rate
from fastrelay.process.limit import Key
from fastrelay.process.rows import BUCKETS, KNOWN, SETS, TABLE, TABLES, Rows

WAYS: Final = BUCKETS // SETS
BUSY: Final = -1.0  # instead of seconds: the lock was not to be had, ask again in some milliseconds
_EXACT: Final = 1e-6  # seconds: sums of intervals are no exact numbers


def draw(rate: Rate, full_at: float, now: float, amount: float = 1.0) -> tuple[float, float]:
    """Take `amount` tokens, at most a bucket's fill: (0.0, when the bucket is full again), or (seconds until there are
    so many, as before). A debt made under a longer rate, before a reload, is at most an empty bucket."""
    most = max(1.0, rate.count)
    interval = rate.seconds / rate.count
    latest = now + most * interval
    after = min(max(full_at, now), latest) + min(amount, most) * interval
    if after <= latest + _EXACT:
        return 0.0, after
    return after - latest, full_at


class Buckets:
    """One table, as one process sees it. forgotten: debts dropped for a newer key's sake; busy: locks not had."""

    __slots__ = ("_digest", "_first_lock", "_full_at", "_hashes", "_known", "_memory", "_rows", "busy", "forgotten")

    def __init__(self, rows: Rows, table: int) -> None:
        start = TABLES + table * TABLE
        self._rows = rows
        self._memory = rows.memory
        self._digest: Callable[[Key], bytes] = rows.digest
        self._hashes = start
        self._full_at = rows.view[start + BUCKETS * 16 : start + TABLE].cast("d")
        self._first_lock = 1 + table * SETS
        self._known: dict[Key, tuple[bytes, int, int]] = {}  # digest, set, bucket
        self.forgotten = 0
        self.busy = 0

    def spend(self, key: Key, rate: Rate, now: float, amount: float = 1.0) -> float:
        """Take `amount` tokens of `key`: 0.0 where they were there, else the seconds until they will be, with nothing
        taken; or BUSY. now: monotonic."""
        digest, home, bucket = self._known.get(key) or self._remember(key)
        at = self._first_lock + home
        rows = self._rows
        if not rows.lock(at):
            self.busy += 1
            return BUSY
        try:
            if not self._is_at(bucket, digest):
                bucket = self._claim(key, digest, home, now)
            seconds, full_at = draw(rate, self._full_at[bucket], now, amount)
            if not seconds:
                self._full_at[bucket] = full_at
        finally:
            rows.unlock(at)
        return seconds

    def refund(self, key: Key, rate: Rate, amount: float = 1.0) -> None:
        """What was spent is not used after all. Without the lock it is lost, and comes back by itself."""
        digest, home, bucket = self._known.get(key) or self._remember(key)
        at = self._first_lock + home
        if self._rows.lock(at):
            if self._is_at(bucket, digest):
                self._full_at[bucket] -= min(amount, max(1.0, rate.count)) * rate.seconds / rate.count
            self._rows.unlock(at)

    def due(self, key: Key, rate: Rate, now: float) -> float:
        """Seconds until one more may begin; 0 = now. Takes nothing, no lock."""
        return draw(rate, self.until(key), now)[0]

    def until(self, key: Key) -> float:
        """When the bucket is full again, or until when `put` put it; a moment long past for no bucket. No lock."""
        digest, home, bucket = self._known.get(key) or self._remember(key)
        if not self._is_at(bucket, digest):
            bucket = self._find(digest, home)
        return self._full_at[bucket] if bucket >= 0 else 0.0

    def put(self, key: Key, until: float, now: float) -> None:
        """Note an instant under `key`, for as long as it lies ahead. Not where the lock is not to be had."""
        digest, home, bucket = self._known.get(key) or self._remember(key)
        at = self._first_lock + home
        if not self._rows.lock(at):
            self.busy += 1
            return
        try:
            if not self._is_at(bucket, digest):
                bucket = self._claim(key, digest, home, now)
            self._full_at[bucket] = until
        finally:
            self._rows.unlock(at)

    def _remember(self, key: Key) -> tuple[bytes, int, int]:
        digest = self._digest(key)
        home = int.from_bytes(digest[:4], "little") % SETS
        if len(self._known) >= KNOWN:
            self._known.clear()
        found = self._known[key] = digest, home, self._find(digest, home)
        return found

    def _is_at(self, bucket: int, digest: bytes) -> bool:
        start = self._hashes + bucket * 16
        return bucket >= 0 and self._memory[start : start + 16] == digest

    def _find(self, digest: bytes, home: int) -> int:
        start = self._hashes + home * WAYS * 16
        end = start + WAYS * 16
        at = self._memory.find(digest, start, end)
        while at >= 0 and (at - start) % 16:
            at = self._memory.find(digest, at + 1, end)
        return -1 if at < 0 else (at - self._hashes) // 16

    def _claim(self, key: Key, digest: bytes, home: int, now: float) -> int:
        """Its bucket, under the lock; where it has none, the one of the set that is full soonest."""
        bucket = self._find(digest, home)
        if bucket < 0:
            first = home * WAYS
            debts = list(self._full_at[first : first + WAYS])  # of floats; tolist() is declared to give integers
            least = min(debts)
            if least > now:
                self.forgotten += 1
            bucket = first + debts.index(least)
            self._full_at[bucket] = 0.0
            start = self._hashes + bucket * 16
            self._memory[start : start + 16] = digest
        self._known[key] = digest, home, bucket
        return bucket

    def close(self) -> None:
        """Before the rows are closed."""
        self._full_at.release()
