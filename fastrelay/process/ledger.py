"""The ledger: limits that hold on the whole machine, in one fixed-size shared file.

Promises
- `take` holds one count on each of one to four keys, or on none. The sum over all workers never exceeds a count limit,
  a rate limit holds over all workers together (limit.py).
- Each worker writes only its own column of counts, and totals are sums: a worker killed at any instruction leaves
  nothing to repair but its column, which the master zeroes after reaping and before the next fork (`clear_column`).
  Its record lock dies with it.
- A key without a row and no row left is refused and counted, never ungoverned.
- `give` cannot fail: it only lowers the giver's own cell, without the lock. To ring one who waits it asks for the lock
  once; where that is not to be had it rings all the same.

The file behind it, its rows and its lock are rows.py's. One more of a key that is held already, far below its limit,
needs no lock (`_take_unlocked`). Measured: take and give together 4.7 us for one key, 6.9 us for two (an uncontended
pair of lock calls is 1.5 of them), a key never seen before 10 us; give alone 0.6 us.

Waiting: a refused take may leave a mark. The giver clears the mark of the next waiting column in turn and rings its
eventfd. As a giver takes no lock, a mark set in the very instant of the give may be missed by it (not lost: it stands
for the next give); a waiter therefore also tries again by itself after a second or so.

Beside the rows are three tables of buckets (buckets.py), for what strangers can make many of: `rates` of clients and
accounts, `failed` logins, and `known`, who has logged in before.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fastrelay.config import Rate
from fastrelay.errors import Impossible, MisuseError
from fastrelay.process import rows
from fastrelay.process.buckets import Buckets
from fastrelay.process.limit import GRANTED, MAX_HELD, Granted, Key, Limit, Refused, Why, begin, has_room
from fastrelay.process.rows import COLUMNS, Rows

_BUSY_RETRY: Final = 0.01  # seconds


class Ledger:
    """One per process, made before the fork; `attach` gives the process its column. make_rows: the file's rows."""

    __slots__ = (
        "_column",
        "_counts",
        "_eventfds",
        "_held",
        "_marked",
        "_own_bit",
        "_rows",
        "_waiting",
        "busy",
        "columns",
        "failed",
        "fd",
        "full",
        "known",
        "rates",
        "unheld",
    )

    def __init__(self, fd: int, eventfds: Sequence[int], *, make_rows: Callable[[int], Rows] = Rows) -> None:
        self.fd = fd
        self._rows = make_rows(fd)
        self._counts = self._rows.counts
        self._waiting = self._rows.waiting
        self.rates, self.failed, self.known = (Buckets(self._rows, 0), Buckets(self._rows, 1), Buckets(self._rows, 2))
        self.columns = self._rows.columns
        if self.columns != len(eventfds):
            raise MisuseError(f"the ledger has {self.columns} columns, but {len(eventfds)} eventfds came with it")
        self._eventfds = tuple(eventfds)
        self._column = -1
        self._own_bit = 0
        self._held: dict[Key, int] = {}
        self._marked: dict[Key, int] = {}
        self.full = 0  # takes refused because no row was left
        self.busy = 0  # takes refused because the lock was not to be had
        self.unheld = 0  # gives of keys this process did not hold

    @classmethod
    def create(cls, columns: int) -> "Ledger":
        """An empty ledger for slots 0 to columns - 1 (at most 128), and their eventfds."""
        if not 0 < columns <= COLUMNS:
            raise MisuseError(f"{columns} slots: the ledger holds 1 to {COLUMNS}")
        return cls(rows.create(columns), [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(columns)])

    def attach(self, column: int) -> None:
        """This process is `column` from now on: its slot's number. Nothing may be left in the column."""
        if not 0 <= column < self.columns:
            raise MisuseError(f"slot {column}: this house has room for slots 0 to {self.columns - 1}")
        self._column = column
        self._own_bit = 1 << column

    @property
    def eventfd(self) -> int:
        """Becomes readable when a mark of this process was answered: call `freed` then."""
        return self._eventfds[self._column]

    @property
    def eventfds(self) -> tuple[int, ...]:
        """All of them, by column."""
        return self._eventfds

    # -- taking and giving ----------------------------------------------------------------------------------------

    def take(self, wants: Sequence[tuple[Key, Limit]], now: float, wait: bool = False) -> Granted | Refused:
        """Hold one count on every key, or none. now: monotonic seconds. wait: leave a mark where a count refused."""
        if len(wants) == 1 and self._take_unlocked(*wants[0]):
            return GRANTED
        if not self._rows.lock():
            self.busy += 1
            return Refused(wants[0][0], Why.BUSY, now + _BUSY_RETRY)
        done: list[tuple[Key, int, bool, float]] = []
        try:
            for key, limit in wants:
                refused = self._take_one(key, limit, now, wait, done)
                if refused is not None:
                    self._undo(done)
                    return refused
        finally:
            self._rows.unlock()
        held = self._held
        for key, row, counted, _ in done:
            if counted:
                held[key] = row
        return GRANTED

    def _take_unlocked(self, key: Key, limit: Limit) -> bool:
        """One more of a key this process holds already, while its limit is out of reach for all of them together.

        What we hold keeps the row alive, so nothing has to be looked up under the lock. Our count is raised first and
        the sum read again behind it: others who looked before see at most one raise each that they did not know of, and
        COLUMNS of those fit below the limit; whoever looks later sees ours.
        """
        row = self._held.get(key)
        count = limit.count
        if row is None or count is None or limit.rate is not None:
            return False
        counts, first = self._counts, row * COLUMNS
        last, cell, reach = first + self.columns, first + self._column, count - COLUMNS
        if counts[cell] >= MAX_HELD or sum(counts[first:last]) > reach:
            return False
        counts[cell] += 1
        if sum(counts[first:last]) > reach:
            counts[cell] -= 1
            return False
        return True

    def _take_one(
        self, key: Key, limit: Limit, now: float, wait: bool, done: list[tuple[Key, int, bool, float]]
    ) -> Refused | None:
        row = self._rows.find(key, now, claim=True)
        if row < 0:
            self.full += 1
            return Refused(key, Why.FULL, now + 1.0)
        count, rate = limit.count, limit.rate
        counts, first = self._counts, row * COLUMNS
        cell = first + self._column
        if count is not None and not has_room(count, sum(counts[first : first + self.columns]), counts[cell]):
            if wait:
                self._mark(row)
                self._marked[key] = row
            return Refused(key, Why.COUNT, None)
        arrivals = self._rows.arrivals
        arrival = arrivals[row]
        if rate is not None:
            may, value = begin(rate, arrival, now)
            if not may:
                return Refused(key, Why.RATE, value)
            arrivals[row] = value
        if count is not None:
            counts[cell] += 1
        done.append((key, row, count is not None, arrival))
        return None

    def _undo(self, done: list[tuple[Key, int, bool, float]]) -> None:
        for _, row, counted, arrival in reversed(done):
            self._rows.arrivals[row] = arrival
            if counted:
                self._counts[row * COLUMNS + self._column] -= 1

    def give(self, keys: Iterable[Key]) -> None:
        """Give one count of each key back and wake who waits. A key taken without a count limit holds nothing."""
        held, counts, waiting = self._held, self._counts, self._waiting
        for key in keys:
            row = held.get(key)
            if row is None:
                self.unheld += 1
                continue
            cell = row * COLUMNS + self._column
            left = counts[cell] - 1
            counts[cell] = left
            if not left:
                del held[key]
            if waiting[row + row] or waiting[row + row + 1]:
                self._wake(row)

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_mark(self, key: Key) -> int:
        """Ask to be woken by the next give of `key`. Returns the total in use: below the limit, take at once."""
        if not self._rows.lock():
            return self.total(key)  # unmarked: the waiter tries again by itself
        try:
            row = self._rows.find(key, 0.0, claim=False)
            if row < 0:
                return 0
            self._mark(row)
        finally:
            self._rows.unlock()
        self._marked[key] = row
        return self._rows.total(row)

    def wait_over(self, key: Key) -> None:
        """Not waiting for `key` any more. Harmless when not marked."""
        row = self._marked.pop(key, -1)
        if row >= 0 and self._rows.lock():
            self._rows.set_waits(row, self._rows.waits(row) & ~self._own_bit)
            self._rows.unlock()

    def wanted(self, key: Key) -> bool:
        """Another worker waits for `key`, which this one holds. 0.3 us, no lock."""
        row = self._held.get(key)
        if row is None:
            return False
        return self._rows.waits(row) & ~self._own_bit != 0

    def freed(self) -> list[Key]:
        """The eventfd was readable: the keys whose mark was answered. Take them again; a refusal needs a new mark."""
        try:
            os.eventfd_read(self.eventfd)
        except BlockingIOError:
            return []
        keys = [key for key, row in self._marked.items() if not self._rows.waits(row) & self._own_bit]
        for key in keys:
            del self._marked[key]
        return keys

    def _mark(self, row: int) -> None:
        self._rows.set_waits(row, self._rows.waits(row) | self._own_bit)

    def _wake(self, row: int) -> None:
        """Ring the next waiting column after the one rung last. Without the lock the mark stays: one ring too many."""
        bits = self._rows.waits(row)
        locked = self._rows.lock()
        try:
            bits = self._rows.waits(row)
            if not bits:
                return
            last = self._rows.rung(row)
            later = bits >> (last + 1) << (last + 1)
            column = ((later or bits) & -(later or bits)).bit_length() - 1
            if locked:
                self._rows.set_rung(row, column)
                self._rows.set_waits(row, bits & ~(1 << column))
        finally:
            if locked:
                self._rows.unlock()
        self._ring(column)

    def _ring(self, column: int) -> None:
        if column < self.columns:
            os.eventfd_write(self._eventfds[column], 1)

    # -- the master's, and the curious -----------------------------------------------------------------------------

    def clear_column(self, column: int) -> int:
        """The process of `column` is dead and reaped: drop all it held and waited for. Returns the counts dropped.

        2 ms for an empty ledger, 40 ms for a full one; for the master only. Raises Impossible when the lock stays held
        by another process for 5 s.
        """
        deadline = time.monotonic() + 5.0
        while not self._rows.lock():
            if time.monotonic() > deadline:
                raise Impossible("the ledger stays locked: a worker stopped between two memory accesses")
        dropped, rung = 0, 0
        try:
            for row in self._rows.used():
                cell = row * COLUMNS + column
                waits = self._rows.waits(row)
                count = self._counts[cell]
                if count:
                    dropped += count
                    self._counts[cell] = 0
                    rung |= waits
                if waits >> column & 1 or (count and waits):
                    self._rows.set_waits(row, 0 if count else waits & ~(1 << column))
        finally:
            self._rows.unlock()
        for other in range(self.columns):
            if rung >> other & 1 and other != column:
                self._ring(other)
        return dropped

    def total(self, key: Key) -> int:
        """How many of `key` are held on the machine at this moment."""
        row = self._rows.find(key, 0.0, claim=False)
        return 0 if row < 0 else self._rows.total(row)

    def rate_seconds(self, key: Key, rate: Rate, now: float) -> float:
        """Seconds until one more of `key` may begin at that rate; 0 = now."""
        row = self._rows.find(key, now, claim=False)
        if row < 0:
            return 0.0
        may, value = begin(rate, self._rows.arrivals[row], now)
        return 0.0 if may else max(0.0, value - now)

    def statistics(self) -> dict[str, int]:
        """What this process holds and waits for, and refusals so far that were nobody's limit."""
        return {
            "held": len(self._held),
            "waiting": len(self._marked),
            "full": self.full,
            "busy": self.busy,
            "unheld": self.unheld,
            "forgotten": sum(table.forgotten for table in self._tables()),
        }

    def _tables(self) -> tuple[Buckets, Buckets, Buckets]:
        return self.rates, self.failed, self.known

    def close(self) -> None:
        """Unmap and close: drops every lock of this process on the ledger, so only at its end."""
        for table in self._tables():
            table.close()
        self._rows.close()
        for fd in self._eventfds:
            os.close(fd)
