"""Which message crashes workers? Pure counting of the idents found in the page when a worker ended badly.

A worker notes the messages it has in hand. Most of those found at a crash are bystanders: from then on they are `wary`,
and every worker started later tries them one at a time (schedule/singly.py), with the name of the present one in a cell
of its own. A message found there, or found as the only one in hand, at CRASHES crashes is a suspect, and every worker
started later is told to hold it, loudly, instead of trying again. Both are remembered for a bounded number, oldest
forgotten first.
"""

from collections.abc import Sequence
from typing import Final

CRASHES: Final = 3
_REMEMBERED: Final = 4096  # idents; a crash names at most 64


class Crashes:
    """The master's memory of crashes."""

    __slots__ = ("_counts", "suspects", "wary")

    def __init__(self, suspects: tuple[bytes, ...] = ()) -> None:
        self._counts: dict[bytes, int] = {}
        self.suspects = suspects
        self.wary: tuple[bytes, ...] = ()

    def note(self, idents: Sequence[bytes], alone: bytes = b"") -> list[bytes]:
        """A worker crashed with these in hand, and `alone` tried alone. Returns those that became suspects by it."""
        found = dict.fromkeys(idents)
        self.wary = (*(one for one in self.wary if one not in found), *found)[-_REMEMBERED:]
        culprit = alone or (next(iter(found)) if len(found) == 1 else b"")
        if not culprit:
            return []
        counts = self._counts
        count = counts.pop(culprit, 0) + 1
        counts[culprit] = count
        if len(counts) > _REMEMBERED:
            del counts[next(iter(counts))]
        if count != CRASHES:
            return []
        self.suspects = (*self.suspects, culprit)[-_REMEMBERED:]
        return [culprit]
