"""How many deliveries to one site run at once: a pure value that answers each outcome with the next value.

It starts at 5 and grows by one per success up to the site's limit (Postfix SCHEDULER_README, initial_destination_
concurrency 5 and limit 20: an unknown receiver is not hit with everything at once). A failure of scope HOST or SITE
halves it; a refused recipient or message says nothing about the site. When as many site failures as the window was
wide come in a row with no success between, the site is dead: the lane is suspended for a minute, then twice as long
each time, 15 minutes at most, jittered, and woken with a window of one, so a dead site costs one attempt a time.

A site that says "too many connections" is not failing, it asks for fewer: the window is halved and does not grow beyond
that for CLOSED seconds. What several connections are told at once counts once (MOMENT). Where even one is too many the
lane is suspended as that of a dead site.
"""

import msgspec

from fastrelay.mail.outcome import Scope

START = 5  # Postfix initial_destination_concurrency
SUSPEND_FIRST = 60.0  # seconds
SUSPEND_MAX = 900.0  # seconds; a site that is back is noticed within a quarter of an hour
CLOSED = 300.0  # seconds; Postfix anvil, from which most such replies come, counts in units of 60 s
MOMENT = 5.0  # seconds in which "too many connections" is one word, however many of ours were told
JITTER = 0.2  # suspensions of many lanes (a lost uplink) must not end together


class Window(msgspec.Struct, frozen=True, gc=False):
    """limit: most deliveries at once. size: how many now. failures: in a row. suspensions: in a row.

    full: the site's own limit while the receiver's word has closed the window to a lower one, else 0. closed_at:
    monotonic seconds of that word.
    """

    limit: int
    size: int
    failures: int = 0
    suspensions: int = 0
    full: int = 0
    closed_at: float = 0.0

    def succeeded(self) -> "Window":
        """A delivery reached the site: whatever the answer to the message was, the site works."""
        if self.size >= self.limit and not self.failures and not self.suspensions:
            return self
        return Window(self.limit, min(self.limit, self.size + 1), 0, 0, self.full, self.closed_at)

    def failed(self, scope: Scope, now: float, chance: float) -> tuple["Window", float | None]:
        """After a failure at `now` (seconds): the next window, and until when the lane is suspended, if it is.

        chance: 0 <= x < 1.
        """
        if scope is Scope.RECIPIENT or scope is Scope.MESSAGE:
            return self, None
        failures = self.failures + 1
        if failures < min(START, self.limit) and not self.suspensions:
            return Window(self.limit, max(1, self.size // 2), failures, 0, self.full, self.closed_at), None
        return self._suspended(now, chance)

    def crowded(self, now: float, chance: float) -> tuple["Window", float | None]:
        """The receiver said that we hold too many connections: as `failed`; itself where it said so just now."""
        if self.full and now - self.closed_at < MOMENT:
            return self, None
        if self.size == 1:
            window, until = self._suspended(now, chance)
            return Window(1, 1, 0, window.suspensions, self.full or self.limit, now), until
        size = self.size // 2
        return Window(size, size, 0, 0, self.full or self.limit, now), None

    def opened(self, now: float) -> "Window":
        """The same under the site's own limit again, when the receiver's word is old enough."""
        if not self.full or now - self.closed_at < CLOSED:
            return self
        return Window(self.full, self.size, self.failures, self.suspensions)

    def _suspended(self, now: float, chance: float) -> tuple["Window", float]:
        pause = min(SUSPEND_MAX, SUSPEND_FIRST * 2.0 ** min(self.suspensions, 10))
        pause *= 1.0 - JITTER / 2 + JITTER * chance
        until = now + min(pause, SUSPEND_MAX)
        return Window(self.limit, 1, 0, self.suspensions + 1, self.full, self.closed_at), until

    def limited(self, limit: int) -> "Window":
        """The same under another limit (reload)."""
        if self.full and limit > self.limit:
            return Window(self.limit, self.size, self.failures, self.suspensions, limit, self.closed_at)
        return Window(limit, min(self.size, limit), self.failures, self.suspensions)


def fresh(limit: int) -> Window:
    """The window of a site nothing is known about."""
    return Window(limit, min(START, limit))
