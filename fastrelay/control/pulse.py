"""What a worker did in each of the last 60 seconds, for `fastrelay top`: counts, commits, and its busiest lanes.

Taken once a second by the worker's beat from the counts it keeps anyway, so a message costs nothing. Seconds are those
of the wall clock: the same second of several workers can be summed.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from fastrelay.metrics import Counts
from fastrelay.schedule.lane import Lane

SECONDS = 61  # one a beat; the oldest is where the others are counted from
SITES = 50  # lanes told, those with most mail first
COUNTED = ("received", "delivered", "deferred", "bounced", "sessions")


class Pulse:
    """One per worker. lanes: those there are now."""

    __slots__ = ("_commits", "_counts", "_lanes", "_last", "_seconds")

    def __init__(self, counts: Counts, lanes: Callable[[], Sequence[Lane]]) -> None:
        self._counts = counts
        self._lanes = lanes
        self._last = self._totals()
        self._seconds: deque[tuple[int, ...]] = deque(maxlen=SECONDS)
        self._commits: deque[list[int]] = deque(maxlen=SECONDS)

    def tick(self, wall: float) -> None:
        """Once a second."""
        totals = self._totals()
        self._seconds.append((int(wall), *(now - then for now, then in zip(totals, self._last, strict=True))))
        self._last = totals
        self._commits.append(list(self._counts.spool_commit_seconds.counts))

    def report(self, now: float) -> dict[str, Any]:
        """Everything `top` shows of this worker. now: monotonic seconds."""
        counts = self._counts
        commits = self._commits
        taken = [new - old for new, old in zip(commits[-1], commits[0], strict=True)] if commits else []
        lanes = sorted(self._lanes(), key=lambda lane: lane.ready + lane.runners - len(lane.parked), reverse=True)
        return {
            "seconds": [list(second) for second in self._seconds],
            "totals": dict(zip(COUNTED, self._last, strict=True)),
            "queued": counts.queue_messages,
            "oldest_seconds": counts.queue_oldest_seconds,
            "connections": {"in": counts.in_active, "out": counts.out_active, "idle": counts.out_idle},
            "commits": {"bounds": list(counts.spool_commit_seconds.bounds), "counts": taken},
            "sites": [_site(lane, now) for lane in lanes[:SITES]],
            "delivered": {name: row.delivered for name, row in counts.sites.items() if row.delivered},
        }

    def _totals(self) -> tuple[int, ...]:
        counts = self._counts
        rows = counts.sites.values()
        return (
            counts.received,
            sum(row.delivered for row in rows),
            sum(row.deferred for row in rows),
            sum(row.bounced + row.expired for row in rows),
            counts.sessions,
        )


def _site(lane: Lane, now: float) -> dict[str, Any]:
    return {
        "site": lane.site,
        "ready": lane.ready,
        "sending": lane.runners - len(lane.parked),
        "window": lane.window.size,
        "rest_seconds": round(max(0.0, lane.suspended_until - now), 1),
    }
