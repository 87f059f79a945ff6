"""The arithmetic of one limit, pure: a count of things held at once, and a rate of things begun.

A limit is anything with `.count` (int or None) and `.rate` (config.Rate or None); `now` is monotonic seconds, which all
processes of one machine share. A rate is the generic cell rate algorithm (ITU-T I.371, annex A): one number per key,
the theoretical arrival time. Promise: no window of `rate.seconds` ever holds more than `rate.count` beginnings, also
right after a rest. The textbook form lets count + burst through in such a window; here the spacing makes up for it:

    burst = max(1, count // 10)      interval = seconds / (count - burst + 1)

so that n beginnings in a window w fulfil (n - burst) * interval < w, hence n <= count. The price: a rate kept up for
long reaches count - burst + 1 per window, 91 of "100/min".
"""

import enum
import math
from typing import Final, Literal, Protocol

from fastrelay.config import Rate

MAX_HELD: Final = 65_535  # what one worker may hold of one key: a cell of the ledger has 16 bits


class Key(Protocol):
    """What a limit hangs on; hashable, equal by value."""

    @property
    def kind(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def __hash__(self) -> int: ...


class Limit(Protocol):
    """count: at most so many held at once, None for no such limit. rate: at most so many begun per time, or None."""

    @property
    def count(self) -> int | None: ...
    @property
    def rate(self) -> Rate | None: ...


class Why(enum.Enum):
    """Why a take was refused."""

    COUNT = "count"  # as many are held as may be: wait until one is given back
    RATE = "rate"  # begun too often: retry_at says when
    FULL = "full"  # the ledger has no row left for this key: nothing goes ungoverned
    BUSY = "busy"  # the ledger was locked too long by someone else


class Granted:
    """The take holds, until `give`."""

    __slots__ = ()

    def __bool__(self) -> Literal[True]:
        return True

    def __repr__(self) -> str:
        return "Granted"


class Refused:
    """Nothing was taken. key: the first that refused. retry_at: monotonic seconds when it may be tried again, or None
    when only a give can help."""

    __slots__ = ("key", "retry_at", "why")

    def __init__(self, key: Key, why: Why, retry_at: float | None) -> None:
        self.key = key
        self.why = why
        self.retry_at = retry_at

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return f"Refused({self.key!r}, {self.why.value}, retry_at={self.retry_at})"


GRANTED: Final = Granted()


def has_room(count: int, total: int, own: int) -> bool:
    """May one more be held, when `total` are held on the machine and `own` of them by the asking worker?"""
    return total < count and own < MAX_HELD


def spacing(rate: Rate) -> tuple[float, float]:
    """(interval, tolerance): seconds between two beginnings kept up for long, and how far ahead of that one may be."""
    if rate.count <= 0:
        return math.inf, 0.0
    burst = max(1.0, rate.count // 10)
    interval = rate.seconds / (rate.count - burst + 1)
    return interval, (burst - 1) * interval


def begin(rate: Rate, arrival: float, now: float) -> tuple[bool, float]:
    """One more beginning at `now`, when the row's theoretical arrival time is `arrival`.

    (True, the new arrival time to store) or (False, monotonic seconds when to try again).
    """
    interval, tolerance = spacing(rate)
    if interval == math.inf:
        return False, now + rate.seconds
    if arrival - tolerance > now:
        return False, arrival - tolerance
    return True, (arrival if arrival > now else now) + interval
