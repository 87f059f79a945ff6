"""Who is sent when: hands out numbered turns, at once (closed loop) or each at its instant (open loop). Pure.

In an open loop message k is due at start + k / rate whatever became of those before it: a server that falls behind is
not asked more slowly, and what is measured from the instant a message was due cannot leave out the time it had to wait
for its turn (coordinated omission). A turn is late when every session was busy. What was due before the end and had no
turn is `missed`.
"""

from fastrelay.load.plan import Plan
from fastrelay.runtime.clock import NEVER

Turn = tuple[int, float]  # number of the message, monotonic instant at which it was due


class Turns:
    """The turns of one process from monotonic `start` on. due: of the next turn; meaningless when it is `over`."""

    __slots__ = ("_gap", "_given", "_number", "_start", "_whole", "due", "until")

    def __init__(self, plan: Plan, start: float) -> None:
        self._number = plan.first
        self._given = 0
        self._whole = plan.messages
        self._gap = plan.stride / plan.rate if plan.rate is not None else 0.0
        self._start = start + (plan.offset / plan.rate if plan.rate is not None else 0.0)
        self.due = self._start
        self.until = NEVER if plan.seconds is None else start + plan.seconds

    def take(self, now: float) -> Turn | None:
        """The next turn if it is due; None when none is, or ever will be."""
        if self.over(now):
            return None
        if self._gap:
            due = self.due
            if due > now:
                return None
        else:
            due = now
        given = self._given
        self._given = given + 1
        self.due = self._start + (given + 1) * self._gap
        return self._number + given, due

    def over(self, now: float) -> bool:
        """There will be no further turn: all were given, the time is over, or the next is due after that."""
        return self._given == self._whole or now >= self.until or (self._gap > 0 and self.due >= self.until)

    @property
    def given(self) -> int:
        """Turns so far."""
        return self._given

    def stop(self) -> None:
        """No further turns; none of those not given is missed."""
        self._whole = self._given

    def missed(self) -> int:
        """Of an open loop that is over: turns due before the end that were never given."""
        if not self._gap or self.until == NEVER or self.due >= self.until or self._given == self._whole:
            return 0
        due = -int(-(self.until - self._start) // self._gap)  # how many k there are with start + k * gap < until
        return max(0, (due if self._whole is None else min(due, self._whole)) - self._given)
