"""The memory of bodies: `[limits] memory` of one worker, over reception and first attempt.

Over 80 % new bodies go to files at once and committed ones are read back from disk; over 100 % no new message is begun
(452 4.3.1 at MAIL). Nothing that has begun is refused: taking never fails.
"""

from fastrelay.errors import MachineShort

_TIGHT = 0.8


class Budget:
    """Octets in use against a limit."""

    __slots__ = ("_tight_at", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tight_at = int(limit * _TIGHT)
        self.used = 0

    @property
    def tight(self) -> bool:
        """Over 80 %: what can lie on disk should."""
        return self.used > self._tight_at

    def take(self, octets: int) -> None:
        """These octets are held in memory now."""
        self.used += octets

    def give(self, octets: int) -> None:
        """They no longer are."""
        self.used -= octets

    def check(self) -> None:
        """MachineShort 452 4.3.1 when no new message should be begun."""
        if self.used > self.limit:
            raise MachineShort("Insufficient memory, try again later", detail=f"{self.used} of {self.limit} octets")
