"""Received mail judged after its 250: the trail of each message of a listener with `judge_received`, in the event log.

    session -> consider (never waits) -> a queue -> one task: head, judge, line "TrailVerdict"

A verdict changes nothing about the message: it is for whoever reads the log. Judging takes a millisecond or two of the
event loop, so the task rests behind each message for RESTS times as long: it never has more than a fifth of the loop.
What comes faster than that is dropped and counted (`fastrelay_trail_verdicts_total{result="dropped"}`) as soon as QUEUE
messages or OCTETS of heads wait. DNS is not asked.

Content that went to a file is read from the spool when its turn comes; one that has been delivered by then counts as
dropped.
"""

from collections import deque
from collections.abc import Callable

from fastrelay.errors import FastrelayError
from fastrelay.eventlog import EventLog
from fastrelay.mail.headers import header_end
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks
from fastrelay.trail.fields import Unreadable, received_fields
from fastrelay.trail.judge import Trail, judge
from fastrelay.trail.known import Known

QUEUE = 1000  # messages that wait: what 200 a second bring in five seconds
OCTETS = 4 * 1024 * 1024  # of heads that wait; a head has 2 to 8 KB
HEAD = 64 * 1024  # octets of one looked at: 40 hops, and all else that filters add above the oldest of them
RESTS = 4.0
REASONS = 5  # told in the line, the heaviest


class Jury:
    """head(ident, most): the first octets of a message in the spool; may wait, raises a FastrelayError where it is not
    there any more."""

    def __init__(self, known: Known, head: Callable[[bytes, int], bytes], log: EventLog, counts: Counts) -> None:
        self._known = known
        self._head = head
        self._log = log
        self._counts = counts
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._octets = 0
        self._sits = False

    def consider(self, ident: bytes, prefix: bytes, content: object) -> None:
        """A message that has been accepted. content: its octets, or something else where they are in the spool alone.
        Never waits."""
        head = prefix + content[: min(header_end(content), HEAD)] if isinstance(content, bytes) else b""
        if len(self._waiting) >= QUEUE or self._octets + len(head) > OCTETS:
            self._counts.trail_dropped += 1
            return
        self._waiting.append((ident, head))
        self._octets += len(head)
        if not self._sits:
            self._sits = True
            tasks.spawn(self._sit)

    def statistics(self) -> dict[str, int]:
        """Messages that wait, and the octets of their heads."""
        return {"waiting": len(self._waiting), "octets": self._octets}

    def _sit(self) -> None:
        """The one task: lives while something waits."""
        try:
            while self._waiting:
                tasks.sleep(0)  # replies first
                ident, head = self._waiting.popleft()
                self._octets -= len(head)
                began = clock.now()
                self._decide(ident, head)
                tasks.sleep(RESTS * (clock.now() - began))
        finally:
            self._sits = False

    def _decide(self, ident: bytes, head: bytes) -> None:
        try:
            bodies = received_fields(head or self._head(ident, HEAD))
        except Unreadable:
            self._counts.trail_unreadable += 1
            return
        except FastrelayError:
            self._counts.trail_dropped += 1
            return
        trail = judge(bodies, known=self._known, now=clock.wall())
        if trail.suspicious:
            self._counts.trail_suspicious += 1
        else:
            self._counts.trail_consistent += 1
        self._log.write("TrailVerdict", id=ident, **told(trail))


def told(trail: Trail) -> dict[str, object]:
    """A verdict as fields of an event line."""
    heaviest = [one for one in trail.findings if one.weight > 0][:REASONS]
    return {
        "verdict": "suspicious" if trail.suspicious else "consistent",
        "score": trail.score,
        "hops": len(trail.hops),
        "last_trusted": trail.last_trusted,
        "reasons": [f"hop {one.hop}: {one.check.value}: {one.why}" for one in heaviest],
    }
