"""When to try again: jittered exponential back-off, and the end of patience. Pure.

`now`, `expires` and the answer are seconds on one and the same clock. The first pause is `first`, each further one
`factor` times longer, at most `max`; jitter spreads each by +-`jitter`, so that what failed together (a site that went
down) does not come back together. RFC 5321 4.5.4.1 asks for 30 minutes between attempts once a few were made, and for 4
to 5 days before giving up: the defaults (5 min, x2, 4 h, 5 d) make some 35 attempts.

The last attempt is made `first` before the message expires, not lost because the next pause would end after it.
"""

from typing import NamedTuple

from fastrelay.config import Retry


class Again(NamedTuple):
    """Try again at `due`. When `due` is the expiry itself, no attempt is left: the message expires then."""

    due: float


class Expired(NamedTuple):
    """Patience has ended: bounce."""


_EXPIRED = Expired()


def next_attempt(attempts: int, now: float, expires: float, settings: Retry, chance: float) -> Again | Expired:
    """After the `attempts`-th attempt (at least 1) was deferred at `now`. chance: 0 <= x < 1."""
    if now >= expires:
        return _EXPIRED
    pause = min(settings.max, settings.first * settings.factor ** min(attempts - 1, 64))
    due = now + pause * (1.0 - settings.jitter + 2.0 * settings.jitter * chance)
    last = expires - settings.first
    if due > last:
        due = last if last - now >= settings.first else expires
    return Again(due)
