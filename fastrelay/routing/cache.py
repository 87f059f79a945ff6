"""The answers kept: for their time, and past it for as long as no server answers.

Two spans hang on an entry: until `answer.expires` it is fresh; until `dead` it may be served stale where asking failed
(RFC 8767), so a name service that is down does not stop mail whose way was known. cachetools' TLRUCache drops what is
dead or least used; freshness stands in the value. Negative answers are kept too (RFC 2308), failures for a few seconds,
so that a thousand messages for a broken domain ask once.

Pure: `now` (monotonic seconds) is an argument. Memory: some 700 octets an entry, 65,536 entries by default.
"""

import msgspec
from cachetools import TLRUCache

from fastrelay.routing.answers import Answer, Question, Status

FAILURE_TTL = 5.0  # seconds; RFC 2308 7 allows up to five minutes, retries of mail are minutes apart anyway
STALE_TTL = 30.0  # seconds a stale answer is served before the servers are asked again (RFC 8767 4)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An answer and the monotonic second after which it is worthless."""

    answer: Answer
    dead: float


class AnswerCache:
    """Answers by question. All times in seconds; `negative_ttl` caps what a SOA says, `stale` is the span past it."""

    __slots__ = ("_kept", "_max_ttl", "_min_ttl", "_negative_ttl", "_now", "_stale")

    def __init__(self, size: int, *, min_ttl: float, max_ttl: float, negative_ttl: float, stale: float) -> None:
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl
        self._negative_ttl = negative_ttl
        self._stale = stale
        self._now = 0.0
        self._kept: TLRUCache[Question, Kept] = TLRUCache(size, ttu=_time_to_use, timer=self._clock)

    def _clock(self) -> float:
        return self._now

    def __len__(self) -> int:
        return len(self._kept)

    def fresh(self, question: Question, now: float) -> Answer | None:
        """The answer, if it is still in its time."""
        self._now = now
        kept = self._kept.get(question)
        return kept.answer if kept is not None and kept.answer.expires > now else None

    def usable(self, question: Question, now: float) -> Answer | None:
        """The answer even past its time, while it may be served stale."""
        self._now = now
        kept = self._kept.get(question)
        return kept.answer if kept is not None and not kept.answer.failed else None

    def keep(self, question: Question, answer: Answer, now: float) -> Answer:
        """Enter what a lookup brought. Returns what to serve: a stale answer where asking failed and one is there."""
        self._now = now
        if answer.failed:
            return self._keep_failure(question, answer, now)
        ttl = self.lifetime(answer)
        served = msgspec.structs.replace(answer, ttl=int(ttl), expires=now + ttl)
        self._kept[question] = Kept(served, served.expires + self._stale)
        return served

    def _keep_failure(self, question: Question, answer: Answer, now: float) -> Answer:
        old = self._kept.get(question)
        if old is not None and not old.answer.failed:
            expires = min(now + STALE_TTL, old.dead)
            served = msgspec.structs.replace(old.answer, expires=expires, stale=True, reason=answer.reason)
            self._kept[question] = Kept(served, old.dead)
            return served
        served = msgspec.structs.replace(answer, expires=now + FAILURE_TTL)
        self._kept[question] = Kept(served, served.expires)
        return served

    def lifetime(self, answer: Answer) -> float:
        """Seconds an answer is fresh: its TTL between floor and ceiling."""
        ceiling = self._max_ttl if answer.status is Status.FOUND else min(self._negative_ttl, self._max_ttl)
        return max(min(float(answer.ttl), ceiling), self._min_ttl)

    def forget(self) -> None:
        """Drop everything."""
        self._kept.clear()


def _time_to_use(question: Question, kept: Kept, now: float) -> float:
    return kept.dead
