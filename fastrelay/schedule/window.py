"""How many deliveries to one site run at once: a pure value that answers each outcome with the next value.

It starts at 5 and grows by one per success up to the site's limit (Postfix SCHEDULER_README, initial_destination_
concurrency 5 and limit 20: an unknown receiver is not hit with everything at once). A failure of scope HOST or SITE
halves it; a refused recipient or message says nothing about the site. When as many site failures as the window was
wide come in a row with no success between, the site is dead: the lane is suspended for a minute, then twice as long
each time, 15 minutes at most, jittered, and woken with a window of one, so a dead site costs one attempt a time.
"""

import msgspec

from fastrelay.mail.outcome import Scope

START = 5  # Postfix initial_destination_concurrency
SUSPEND_FIRST = 60.0  # seconds
SUSPEND_MAX = 900.0  # seconds; a site that is back is noticed within a quarter of an hour
JITTER = 0.2  # suspensions of many lanes (a lost uplink) must not end together


class Window(msgspec.Struct, frozen=True, gc=False):
    """limit: most deliveries at once. size: how many now. failures: in a row. suspensions: in a row."""

    limit: int
    size: int
    failures: int = 0
    suspensions: int = 0

    def succeeded(self) -> "Window":
        """A delivery reached the site: whatever the answer to the message was, the site works."""
        if self.size >= self.limit and not self.failures and not self.suspensions:
            return self
        return Window(self.limit, min(self.limit, self.size + 1))

    def failed(self, scope: Scope, now: float, chance: float) -> tuple["Window", float | None]:
        """After a failure at `now` (seconds): the next window, and until when the lane is suspended, if it is.

        chance: 0 <= x < 1.
        """
        if scope is Scope.RECIPIENT or scope is Scope.MESSAGE:
            return self, None
        failures = self.failures + 1
        if failures < min(START, self.limit) and not self.suspensions:
            return Window(self.limit, max(1, self.size // 2), failures), None
        pause = min(SUSPEND_MAX, SUSPEND_FIRST * 2.0 ** min(self.suspensions, 10))
        pause *= 1.0 - JITTER / 2 + JITTER * chance
        return Window(self.limit, 1, 0, self.suspensions + 1), now + min(pause, SUSPEND_MAX)

    def limited(self, limit: int) -> "Window":
        """The same under another limit (reload)."""
        return Window(limit, min(self.size, limit), self.failures, self.suspensions)


def fresh(limit: int) -> Window:
    """The window of a site nothing is known about."""
    return Window(limit, min(START, limit))
