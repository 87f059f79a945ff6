"""Which message crashes workers? Pure counting of the idents found in the page when a worker ended badly.

A worker notes the message it has in hand; an ident that was in hand at CRASHES crashes is a suspect from then on, and
every worker started later is told to hold it, loudly, instead of trying again. Most idents found are bystanders, so the
count is remembered for a bounded number of them, oldest forgotten first.
"""

from collections.abc import Iterable
from typing import Final

CRASHES: Final = 3
_REMEMBERED: Final = 4096  # idents; a crash names at most 8


class Crashes:
    """The master's memory of crashes."""

    __slots__ = ("_counts", "suspects")

    def __init__(self, suspects: tuple[bytes, ...] = ()) -> None:
        self._counts: dict[bytes, int] = {}
        self.suspects = suspects

    def note(self, idents: Iterable[bytes]) -> list[bytes]:
        """A worker crashed with these in hand. Returns those that became suspects by it."""
        counts, fresh = self._counts, []
        for ident in dict.fromkeys(idents):
            count = counts.pop(ident, 0) + 1
            counts[ident] = count
            if count == CRASHES:
                fresh.append(ident)
            if len(counts) > _REMEMBERED:
                del counts[next(iter(counts))]
        if fresh:
            self.suspects = (*self.suspects, *fresh)[-_REMEMBERED:]
        return fresh
