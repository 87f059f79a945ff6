"""Mail at a fixed rate, and a finger on the pulse of each worker, for as long as a proof runs.

One child offers a message every 1/rate seconds whatever became of those before (an open loop), over SESSIONS that stay
open; each is measured from the instant at which it was due, so a wait for a free session counts too. The other child
asks every worker's control socket for a message that is not there, a hundred times a second: the answer takes as long
as the worker's event loop is held by somebody else. What a worker or the child itself waited for a processor in between
(/proc/PID/schedstat) is subtracted: that is the machine's, not the loop's.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from fastrelay.errors import PeerError
from fastrelay.load.crew import STOP, Crew, Wire
from fastrelay.load.dialogue import Dialogue
from fastrelay.load.message import Maker, fresh_run
from fastrelay.runtime import clock, messages, stream, tasks

SESSIONS = 16
PROBE = 0.01  # seconds between two questions to a worker
TOLD = 0.005  # seconds: a shorter hold is not told
SENDER = "steady@load.example"
_NOWHERE = {"verb": "show", "select": {"id": "0" * 32}}


class Offered(NamedTuple):
    """A message. due: when it was to be sent; accepted: its 250, 0 when it was refused. Monotonic seconds."""

    ident: str
    due: float
    accepted: float


class Hold(NamedTuple):
    """A worker that answered late. at: monotonic seconds; whole: of the answer; held: without waits for a processor."""

    at: float
    slot: int
    whole: float
    held: float


class SteadyLoad:
    """A context manager: begins at once; `end` brings what was measured. workers: slot -> pid and control socket."""

    def __init__(self, port: int, rate: float, workers: dict[int, tuple[int, Path]]) -> None:
        def body(number: int, wire: Wire) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) tells all of us; the parent ends this in order
            told = _offer(port, rate, wire) if number == 0 else _probe(workers, wire)
            wire.say(told)

        self._crew = Crew(2, body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._crew.__exit__(*exc)

    def end(self) -> tuple[list[Offered], list[Hold]]:
        """Stop; everything that was offered, in order, and every hold."""
        self._crew.tell(STOP)
        told: dict[int, Any] = {}
        while len(told) < 2:
            told.update(self._crew.hear())
        offered = sorted((Offered(*one) for one in told[0]), key=lambda one: one.due)
        return offered, [Hold(*one) for one in told[1]]


def _stopping(wire: Wire) -> list[str]:
    """Becomes true when the parent says stop."""
    said: list[str] = []
    wire.listen(said.append)
    return said


def _offer(port: int, rate: float, wire: Wire) -> list[Offered]:
    ticker, said = stream.ticking(), _stopping(wire)
    offered: list[Offered] = []
    maker = Maker(SENDER, run=fresh_run())
    start = clock.now() + 1.0
    turns: Iterator[int] = itertools.count()
    left = tasks.Event()
    running = SESSIONS

    def session() -> None:
        nonlocal running
        dialogue: Dialogue | None = None
        while not said:
            number = next(turns)
            due = start + number / rate
            if (wait := due - clock.now()) > 0:
                tasks.sleep(wait)
            ident, accepted = maker.ident(number), 0.0
            try:
                if dialogue is None or not dialogue.open:
                    dialogue = Dialogue("127.0.0.1", port, hello="load.example")
                sent = dialogue.transact(SENDER, [f"user{number}@steady.example"], maker.wire(number, due, 2048))
                accepted = clock.now() if sent.taken else 0.0
            except PeerError:
                dialogue = None  # the message counts as refused
            offered.append(Offered(ident, due, accepted))
        if dialogue is not None:
            dialogue.quit()
        running -= 1
        if not running:
            left.set()

    for _ in range(SESSIONS):
        tasks.spawn(session)
    left.wait()
    ticker.close()
    return offered


def _probe(workers: dict[int, tuple[int, Path]], wire: Wire) -> list[Hold]:
    ticker, said = stream.ticking(), _stopping(wire)
    holds: list[Hold] = []
    left = tasks.Event()
    running = len(workers)
    own = os.getpid()

    def ask(slot: int, pid: int, path: Path) -> None:
        nonlocal running
        connection = stream.connect(f"unix:{path}", 0)
        reader = messages.Reader(connection)
        while not said:
            at, waited = time.monotonic(), _waited(pid) + _waited(own)
            messages.send(connection, _NOWHERE)
            reader.receive()
            whole = time.monotonic() - at
            held = whole - (_waited(pid) + _waited(own) - waited)
            if held > TOLD:
                holds.append(Hold(at, slot, whole, held))
            tasks.sleep(PROBE)
        connection.close()
        running -= 1
        if not running:
            left.set()

    for slot, (pid, path) in workers.items():
        tasks.spawn(ask, slot, pid, path)
    left.wait()
    ticker.close()
    return holds


def _waited(pid: int) -> float:
    """Seconds a process has been ready to run and had no processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
