"""The rows of the ledger: one shared file, a row for each key, and the lock that guards them. ledger.py says what for.

Layout (a memfd, so it ends with the last process and can be handed to a new program): a header, then arrays of 65,536
rows: 128-bit keyed hashes, theoretical arrival times, waiting bits (one per column), the column rung last, counts (128
columns of 16 bits); behind them the tables of buckets.py, each 65,536 hashes and instants. The file is sparse: 24 MB of
addresses, one page per touched neighbourhood. A key lives in the
window of 64 rows that starts at its hash; a row is idle, and may be given to another key, when nobody holds, nobody
waits and its arrival time has passed, so nothing is lost by forgetting it. The hash is keyed with a secret of this
ledger: outsiders cannot choose names that share a window.

Locking: fcntl record locks, octet 0 for all rows and one for each set of buckets, F_SETLK with bounded retries, never
F_SETLKW; each process uses the one descriptor it was
born with (closing any other descriptor of the file would drop its lock). Between lock and unlock there are memory
accesses only.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from fastrelay.errors import MisuseError
from fastrelay.process.limit import Key

ROWS: Final = 65_536
COLUMNS: Final = 128  # slots at most; the stride of a row of counts
WINDOW: Final = 64  # rows a key may live in; a search of all of them costs 0.3 us
VERSION: Final = 2
_MAGIC: Final = b"FRLEDGER"
_HEADER: Final = struct.Struct("<8sIIII32s")  # magic, version, rows, columns in use, window, secret
_HASHES: Final = 4096
_ARRIVALS: Final = _HASHES + ROWS * 16
_WAITS: Final = _ARRIVALS + ROWS * 8
_ROTORS: Final = _WAITS + ROWS * 16
_COUNTS: Final = _ROTORS + ROWS
BUCKETS: Final = 65_536  # of a table
SETS: Final = 1024  # of a table, each with a lock of its own
TABLES: Final = _COUNTS + ROWS * COLUMNS * 2  # where they begin
TABLE: Final = BUCKETS * (16 + 8)
SIZE: Final = TABLES + 3 * TABLE
_NOBODY: Final = bytes(16)
_TRIES: Final = 200  # about 0.3 ms: a lock is held for some 5 us unless its holder lost the CPU
KNOWN: Final = 16_384  # keys whose row is remembered; beyond, all are forgotten and found again (1.5 us each)


def create(columns: int) -> int:
    """An empty file for slots 0 to columns - 1: its descriptor."""
    fd = os.memfd_create("fastrelay-ledger", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    os.pwrite(fd, _HEADER.pack(_MAGIC, VERSION, ROWS, columns, WINDOW, os.urandom(32)), 0)
    return fd


def hashed(secret: bytes, key: Key) -> bytes:
    """What a key is known by: 16 octets."""
    digest = blake2b(digest_size=16, key=secret)
    for part in (key.kind, *key.names):
        octets = part.encode("utf-8", "surrogateescape")
        digest.update(len(octets).to_bytes(4, "little") + octets)
    return digest.digest()


class Rows:
    """The file as one process sees it. counts: row * COLUMNS + column -> how many are held. arrivals: by row, for
    rates. waiting: two words of waiting bits a row, the cheapest look at them. memory, view: all of the file, for its
    tables.

    hashed, known: stand in tests for the hash and for how many keys are remembered. MisuseError for a file of another
    format.
    """

    __slots__ = (
        "_hashed",
        "_known",
        "_most_known",
        "_secret",
        "arrivals",
        "columns",
        "counts",
        "fd",
        "memory",
        "view",
        "waiting",
    )

    def __init__(self, fd: int, *, hashed: Callable[[bytes, Key], bytes] = hashed, known: int = KNOWN) -> None:
        self.fd = fd
        self._hashed = hashed
        self._most_known = known
        magic, version, rows, columns, window, secret = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
        if (magic, version, rows, window) != (_MAGIC, VERSION, ROWS, WINDOW):  # then its size is another too
            raise MisuseError(f"the ledger has format {version}, this program speaks {VERSION}: stop, then start")
        self.memory = mmap.mmap(fd, SIZE)
        self.columns: int = columns
        self.view = memoryview(self.memory)
        self.arrivals = self.view[_ARRIVALS:_WAITS].cast("d")
        self.waiting = self.view[_WAITS:_ROTORS].cast("Q")
        self.counts = self.view[_COUNTS:TABLES].cast("H")
        self._secret = secret
        self._known: dict[Key, tuple[int, bytes]] = {}

    def digest(self, key: Key) -> bytes:
        """What a key is known by in this file."""
        return self._hashed(self._secret, key)

    def find(self, key: Key, now: float, *, claim: bool) -> int:
        """The row of `key`, -1 for none. claim: take an idle row for it. Under the lock when claiming."""
        known = self._known.get(key)
        memory = self.memory
        if known is not None:
            row, digest = known
            start = _HASHES + row * 16
            if memory[start : start + 16] == digest:
                return row
        else:
            digest = self._hashed(self._secret, key)
        home = int.from_bytes(digest[:4], "little") % (ROWS - WINDOW)
        row = self._scan(digest, home)
        if row < 0 and claim:
            row = self._scan(_NOBODY, home)
            if row < 0:
                row = next((r for r in range(home, home + WINDOW) if self._is_idle(r, now)), -1)
            if row >= 0:
                start = _HASHES + row * 16
                memory[start : start + 16] = digest
        if row >= 0:
            if len(self._known) >= self._most_known:
                self._known.clear()
            self._known[key] = row, digest
        return row

    def _scan(self, digest: bytes, home: int) -> int:
        start, end = _HASHES + home * 16, _HASHES + (home + WINDOW) * 16
        find = self.memory.find
        at = find(digest, start, end)
        while at >= 0 and (at - start) % 16:
            at = find(digest, at + 1, end)
        return -1 if at < 0 else (at - _HASHES) // 16

    def _is_idle(self, row: int, now: float) -> bool:
        first = row * COLUMNS
        return self.arrivals[row] <= now and not self.waits(row) and not any(self.counts[first : first + self.columns])

    def total(self, row: int) -> int:
        """How many all columns hold together."""
        first = row * COLUMNS
        return sum(self.counts[first : first + self.columns])

    def used(self) -> list[int]:
        """Every row that has, or had, a key."""
        words = self.view[_HASHES:_ARRIVALS].cast("Q").tolist()
        return [row for row in range(ROWS) if words[2 * row]]

    # -- who waits ------------------------------------------------------------------------------------------------

    def waits(self, row: int) -> int:
        """A bit for each column that waits."""
        start = _WAITS + row * 16
        return int.from_bytes(self.memory[start : start + 16], "little")

    def set_waits(self, row: int, bits: int) -> None:
        """Under the lock."""
        start = _WAITS + row * 16
        self.memory[start : start + 16] = bits.to_bytes(16, "little")

    def rung(self, row: int) -> int:
        """The column rung last."""
        return self.memory[_ROTORS + row]

    def set_rung(self, row: int, column: int) -> None:
        """Under the lock."""
        self.memory[_ROTORS + row] = column

    # -- the lock -------------------------------------------------------------------------------------------------

    def lock(self, at: int = 0) -> bool:
        """False when others held it for all of 0.3 ms. at: the octet that stands for what is locked."""
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
            except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES for a lock that is held
                os.sched_yield()
            else:
                return True
        return False

    def unlock(self, at: int = 0) -> None:
        """After nothing but memory accesses."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, at)

    def close(self) -> None:
        """Unmap and close: drops the lock of this process, so only at its end."""
        self.arrivals.release()
        self.waiting.release()
        self.counts.release()
        self.view.release()
        self.memory.close()
        os.close(self.fd)
