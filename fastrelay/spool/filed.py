"""A message whose content lies in a file, as delivery gets it: a sequence of pieces, each read when it is asked for.

Before the first piece is handed out the whole file was read once and found to be what was committed (bodies.py), so
corruption is found before a byte goes to a peer. Of that reading only a CRC per piece is kept; each piece is checked
again when it is read for sending. So a transfer of 50 MB holds one piece in memory, however often it is tried.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import overload

from fastrelay.errors import SpoolDamaged
from fastrelay.spool.disk import Disk, shortage
from fastrelay.spool.pace import Away

BLOCK = 256 * 1024  # octets written or read at once: a hand-over to a thread costs 100 us, writing these some 80


class Filed(Sequence[bytes]):
    """Prefix, then the file's blocks. Reading one may wait; SpoolDamaged, MachineShort. It owns the descriptor.

    checks: the CRC of each block. damaged(): says what the matter is, called before SpoolDamaged is raised.
    """

    __slots__ = ("_away", "_checks", "_damaged", "_disk", "_fd", "_prefix", "_size")

    def __init__(
        self,
        prefix: bytes,
        fd: int,
        size: int,
        checks: Sequence[int],
        *,
        disk: Disk,
        away: Away,
        damaged: Callable[[], str],
    ) -> None:
        self._prefix = prefix
        self._fd = fd
        self._size = size
        self._checks = checks
        self._disk = disk
        self._away = away
        self._damaged = damaged

    def __len__(self) -> int:
        return 1 + len(self._checks)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._piece(n) for n in range(*index.indices(len(self)))]
        return self._piece(range(len(self))[index])

    def _piece(self, n: int) -> bytes:
        if n == 0:
            return self._prefix
        start = (n - 1) * BLOCK
        size = min(BLOCK, self._size - start)
        try:
            octets = self._read(size, start)
        except OSError as error:
            raise shortage(error) from None
        if len(octets) != size or zlib.crc32(octets) != self._checks[n - 1]:
            raise SpoolDamaged(self._damaged())
        return octets

    def _read(self, size: int, start: int) -> bytes:
        try:
            return self._disk.read(self._fd, size, start, nowait=True)
        except BlockingIOError:
            octets: bytes = self._away(self._disk.read, self._fd, size, start)
            return octets

    def close(self) -> None:
        """Nothing is read any more. Harmless twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._disk.close(fd)
