"""What a sink allows a client, and how many connections there are over all its processes.

Limits is pure. Presence is a page of counters shared by the forked processes: each writes its own row and reads all, so
there is no lock. A process counts itself in before it looks, so more than the limit are never let in; two that come at
the same moment may both be turned away where one would have fitted.
"""

import mmap
import zlib
from dataclasses import dataclass

_BUCKETS = 1024  # clients are told apart by a hash of their address; two in one bucket share its limit
_ROW = 1 + _BUCKETS


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none. connections: at the same time from everywhere; per_client: from one address; recipients: of a message;
    messages: of a connection. one_domain: all recipients of a message in one domain.

    Replies that tell of them; without `enough` the connection is closed silently after its last message.
    """

    connections: int = 0
    per_client: int = 0
    recipients: int = 0
    messages: int = 0
    one_domain: bool = False
    busy: bytes = b"421 4.7.0 too many connections\r\n"
    crowded: bytes = b"452 4.5.3 too many recipients\r\n"
    foreign: bytes = b"451 4.3.0 multiple destination domains per transaction are not supported\r\n"
    enough: bytes = b"421 4.7.0 too many messages in this connection\r\n"


NO_LIMITS = Limits()


class Presence:
    """Connections of all processes. Made before the fork; `enter` and `leave` by the process `number`."""

    __slots__ = ("_counts", "_limits", "_processes")

    def __init__(self, limits: Limits, processes: int = 1) -> None:
        self._limits = limits
        self._processes = processes
        self._counts = memoryview(mmap.mmap(-1, 4 * _ROW * processes)).cast("I")

    def enter(self, number: int, client: str) -> bool:
        """A connection from `client`; False, and as if it had not come, when it is one too many."""
        limits = self._limits
        row, bucket = number * _ROW, 1 + zlib.crc32(client.encode()) % _BUCKETS
        self._counts[row] += 1
        self._counts[row + bucket] += 1
        if (limits.connections and self._total(0) > limits.connections) or (
            limits.per_client and self._total(bucket) > limits.per_client
        ):
            self.leave(number, client)
            return False
        return True

    def leave(self, number: int, client: str) -> None:
        """It has ended."""
        row, bucket = number * _ROW, 1 + zlib.crc32(client.encode()) % _BUCKETS
        self._counts[row] -= 1
        self._counts[row + bucket] -= 1

    def _total(self, column: int) -> int:
        return sum(self._counts[column + n * _ROW] for n in range(self._processes))
