"""Whom a limit holds up, for the operator's eyes: a line at the first refusal, then one a minute while it lasts.

Bounded by MOST clients at a time, whoever comes: the rest is told as a number.
"""

from collections.abc import Callable

MOST = 100  # clients told of by name: two lines a second at most
EVERY = 60.0  # seconds


class Bulletin:
    """Of one listener, in one worker."""

    __slots__ = ("_beyond", "_due", "_listener", "_refusals", "_say")

    def __init__(self, listener: str, say: Callable[[str, str], object]) -> None:
        self._listener = listener
        self._say = say
        self._refusals: dict[tuple[str, str], int] = {}  # (who, limit) -> not told of yet
        self._beyond = 0
        self._due = 0.0  # monotonic; 0.0 until a tick after the first refusal

    def refused(self, who: str, limit: str) -> bool:
        """One more. True: the first for a while, which is told in a line."""
        refusals = self._refusals
        key = who, limit
        if key in refusals:
            refusals[key] += 1
        elif len(refusals) >= MOST:
            self._beyond += 1
        else:
            refusals[key] = 0
            self._say("warning", f"listener {self._listener}: {who} is over {limit}")
            return True
        return False

    def tick(self, now: float) -> None:
        """Once a second; nothing to do while nobody is refused."""
        if not self._refusals or now < self._due:
            return
        if not self._due:
            self._due = now + EVERY
            return
        for (who, limit), count in self._refusals.items():
            if count:
                self._say("warning", f"listener {self._listener}: {who} is over {limit}: {count} more refused")
        if self._beyond:
            self._say("warning", f"listener {self._listener}: {self._beyond} more refused, of other clients")
        self._refusals = {key: 0 for key, count in self._refusals.items() if count}
        self._beyond = 0
        self._due = now + EVERY if self._refusals else 0.0
