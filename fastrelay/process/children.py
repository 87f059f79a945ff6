"""The children and the posts they fill, pure: what to do next with each, given what it shows and `now`.

A post is a place for one child (worker 0, worker 1, ..., the admin child) and outlives it; it knows when the next child
may be started. A child's life is one table: every phase, how it ends by time, and the signal that does it.

    STARTING -> READY                       it says so in the page
    STARTING, READY -> ABORTED              no beat for hang_timeout: ABRT, so that faulthandler prints its stacks
    STARTING, READY -> DRAINING             TERM: finish what is there, up to drain_timeout
    STARTING, READY, DRAINING -> QUITTING   INT: stop now, losing nothing
    QUITTING, ABORTED -> KILLED             KILL, when it has not ended in time
"""

import enum
import math
import signal
import socket
from typing import Final, NamedTuple

from fastrelay.process.heartbeat import Row, State

QUIT_SECONDS: Final = 5.0  # from INT to KILL: a quick stop syncs and leaves
ABORT_SECONDS: Final = 2.0  # from ABRT to KILL: enough to print stacks
BACKOFF_FIRST: Final = 1.0
BACKOFF_MAX: Final = 60.0
PROVEN: Final = 60.0  # a child that lived so long as READY is replaced at once: its end was no boot failure


class Kind(enum.Enum):
    """What a child runs."""

    WORKER = "worker"
    ADMIN = "admin"


class Phase(enum.Enum):
    """Where a child is in its life, as its master sees it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    QUITTING = "quitting"
    ABORTED = "aborted"
    KILLED = "killed"


LIVE: Final = frozenset({Phase.STARTING, Phase.READY})  # nobody asked it to end


class Step(NamedTuple):
    """What to do with a child now: enter the phase, send the signal, and look again at the deadline."""

    phase: Phase
    signal: signal.Signals | None
    deadline: float


class Child:
    """One process. control: our end of its socketpair (orders.py). asked: somebody wanted it to end."""

    __slots__ = ("asked", "control", "deadline", "phase", "pid", "ready_since", "started")

    def __init__(self, pid: int, started: float, control: socket.socket) -> None:
        self.pid = pid
        self.started = started
        self.control = control
        self.phase = Phase.STARTING
        self.ready_since = math.inf
        self.deadline = math.inf
        self.asked = False

    def enter(self, step: Step) -> None:
        """Now in the phase of `step`."""
        self.phase = step.phase
        self.deadline = step.deadline
        self.asked = self.asked or step.phase in (Phase.DRAINING, Phase.QUITTING)


class Post:
    """A place for one child. wanted False: when its child ends, the post goes too."""

    __slots__ = ("child", "failures", "kind", "not_before", "number", "wanted")

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.number = number
        self.child: Child | None = None
        self.failures = 0
        self.not_before = -math.inf
        self.wanted = True

    @property
    def name(self) -> str:
        """For log lines: "worker 0", "admin"."""
        return f"worker {self.number}" if self.kind is Kind.WORKER else self.kind.value

    def vacated(self, now: float) -> float:
        """Its child ended unasked. Returns the seconds until the next may start: 0 after a long life, else 1 to 60."""
        proven = self.child is not None and now - self.child.ready_since >= PROVEN
        self.failures = 0 if proven else self.failures + 1
        pause = backoff(self.failures)
        self.not_before = now + pause
        return pause


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(failures - 1, 16)) if failures else 0.0


def drain(child: Child, now: float, drain_timeout: float) -> Step | None:
    """What TERM to the house means for this child."""
    if child.phase not in LIVE:
        return None
    return Step(Phase.DRAINING, signal.SIGTERM, now + drain_timeout)


def quit_now(child: Child, now: float) -> Step | None:
    """What INT to the house means for this child."""
    if child.phase not in LIVE and child.phase is not Phase.DRAINING:
        return None
    return Step(Phase.QUITTING, signal.SIGINT, now + QUIT_SECONDS)


def next_step(child: Child, row: Row | None, now: float, hang_timeout: float, awake_since: float) -> Step | None:
    """What time and the page ask for, None for nothing.

    row: what the child says of itself, None before it claimed a row. awake_since: since when the master itself has been
    looking without a gap; silence before that proves nothing (the whole machine stood still).
    """
    if child.phase in LIVE:
        if child.phase is Phase.STARTING and row is not None and row.state is State.READY:
            return Step(Phase.READY, None, math.inf)
        heard = max(child.started, row.beat if row is not None else 0.0, awake_since)
        if now - heard > hang_timeout:
            return Step(Phase.ABORTED, signal.SIGABRT, now + ABORT_SECONDS)
        return None
    if now < child.deadline:
        return None
    if child.phase is Phase.DRAINING:
        return Step(Phase.QUITTING, signal.SIGINT, now + QUIT_SECONDS)
    return Step(Phase.KILLED, signal.SIGKILL, math.inf)
