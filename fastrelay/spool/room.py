"""Whether the file system still has room: free octets and inodes, asked once a second, less what was written since.

`spool.min_free` is kept for what must always be possible: records, ABORTs, and frames written forward so that a segment
can be freed. Only new mail is refused for it.
"""

from collections.abc import Callable

from fastrelay.errors import MachineShort
from fastrelay.spool.disk import Disk

_AGE = 1.0  # seconds an answer of statvfs is used
_INODES = 64  # a segment and its index take two, a body in a file one


class Room:
    """Of one directory. now: monotonic seconds."""

    __slots__ = ("_asked", "_disk", "_inodes", "_left", "_min_free", "_now", "_path")

    def __init__(self, disk: Disk, path: str, min_free: float, now: Callable[[], float]) -> None:
        self._disk = disk
        self._path = path
        self._min_free = min_free
        self._now = now
        self._asked = -_AGE
        self._left = 0
        self._inodes = -1

    def renew(self, min_free: float) -> None:
        """Keep that share free from now on."""
        self._min_free = min_free
        self.ask_again()

    def check(self, size: int) -> None:
        """MachineShort 452 4.3.1 when `size` octets would cut into what is kept free."""
        now = self._now()
        if now - self._asked >= _AGE:
            self._ask(now)
        if self._left < size or not self._left:
            raise MachineShort("Insufficient system storage", detail=f"{self._left} octets above min_free")
        if 0 <= self._inodes < _INODES:
            raise MachineShort("Insufficient system storage", detail=f"{self._inodes} inodes free")

    @property
    def short(self) -> bool:
        """As last seen, less than nothing is left above what is kept free."""
        return self._left <= 0 <= self._asked

    def spent(self, octets: int) -> None:
        """So many octets were written since."""
        self._left = max(0, self._left - octets)

    def ask_again(self) -> None:
        """Something was unlinked: the next check looks."""
        self._asked = -_AGE

    def _ask(self, now: float) -> None:
        try:
            space = self._disk.space(self._path)
        except OSError as error:
            raise MachineShort("Insufficient system storage", detail=error.strerror or str(error)) from None
        self._asked = now
        self._left = max(0, space.free - int(space.total * self._min_free))
        self._inodes = space.inodes
