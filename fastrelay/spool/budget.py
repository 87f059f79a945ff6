"""The memory of bodies: `[limits] memory` of one worker, over reception and first attempt.

Over 80 % new bodies go to files at once and committed ones are read back from disk; over 100 % no new message is begun
(452 4.3.1 at MAIL). Nothing that has begun is refused: taking never fails.

A body read back for a delivery is *lent* until that is over. Over 80 % nothing is lent unless nothing else is, so that
a message larger than what is left still goes: the delivery is put off (MachineShort, no attempt is counted, its lane
rests). It does not wait for its turn holding a connection, and mail that comes in is never refused for mail read back.
"""

from fastrelay.errors import MachineShort

_TIGHT = 0.8


class Budget:
    """Octets in use against a limit."""

    __slots__ = ("_tight_at", "lent", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.used = 0  # with what is lent
        self.lent = 0
        self.renew(limit)

    def renew(self, limit: int) -> None:
        """Against another limit from now on; what is in use stays."""
        self.limit = limit
        self._tight_at = int(limit * _TIGHT)

    @property
    def tight(self) -> bool:
        """Over 80 %: what can lie on disk should."""
        return self.used > self._tight_at

    def crowds(self, octets: int) -> bool:
        """With these it would be."""
        return self.used + octets > self._tight_at

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

    def lend(self, octets: int) -> None:
        """They will be read back for a delivery. MachineShort 452 4.3.1: not now."""
        if self.lent and self.used + octets > self._tight_at:
            raise MachineShort("Insufficient memory, try again later", detail=f"{self.used} of {self.limit} octets")
        self.lent += octets
        self.used += octets

    def returned(self, octets: int) -> None:
        """That delivery is over."""
        self.lent -= octets
        self.used -= octets
