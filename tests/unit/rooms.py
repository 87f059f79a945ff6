"""Stand-ins for the neighbours of settlement, intake and relay: a spool in memory, two clocks, a log that remembers."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastrelay.errors import Impossible, MachineShort, SpoolDamaged
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.mail.state import State, untouched
from fastrelay.runtime import tasks

IDS = IdentSource()
WALL = 1_700_000_000.0  # wall seconds at monotonic 0


class HandClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.mono = 1_000.0

    def now(self) -> float:
        return self.mono

    def wall(self) -> float:
        return self.mono + WALL


class Stored(NamedTuple):
    envelope: Envelope
    parts: list[bytes]
    lent: int = 0


class MemorySpool:
    """commit and read may be made to fail (short, damaged) or to wait (gate); what is written stands in `written`."""

    def __init__(self) -> None:
        self.messages: dict[bytes, Stored] = {}
        self.states: dict[bytes, State] = {}
        self.ended: dict[bytes, State] = {}
        self.written: list[tuple[Any, ...]] = []
        self.given_back: list[Stored] = []
        self.released: list[bytes] = []
        self.short = False
        self.damaged: set[bytes] = set()
        self.read_error: BaseException | None = None
        self.gate: tasks.Parking | None = None

    def check_room(self, size: int = 0) -> None:
        if self.short:
            raise MachineShort("full")

    def draft(self, size_hint: int = 0) -> bytearray:
        return bytearray()

    def put(self, envelope: Envelope, content: bytes = b"Subject: x\r\n\r\nhello\r\n", ident: bytes = b"") -> bytes:
        ident = ident or IDS.fresh()
        self.messages[ident] = Stored(envelope, [b"Received: here\r\n", content])
        self.states[ident] = untouched(len(envelope.recipients), envelope.created)
        return ident

    def commit(
        self,
        *,
        ident: bytes,
        envelope: Envelope,
        prefix: bytes,
        content: Any,
        records: Sequence[tuple[bytes, State]] = (),
    ) -> None:
        before = {about: self.states[about] for about, _ in records}
        self.states.update(records)
        if self.gate is not None:
            self.gate.wait()
        if self.short:
            self.states.update(before)
            raise MachineShort("full")
        self.messages[ident] = Stored(envelope, [prefix, bytes(content)])
        self.states[ident] = untouched(len(envelope.recipients), envelope.created)
        self.written.append(("commit", ident, tuple(records)))
        for about, state in records:
            self._forget_ended(about, state)

    def record(self, ident: bytes, state: State) -> None:
        if ident not in self.messages:
            raise Impossible("no such message")
        assert state.version > self.states[ident].version
        self.states[ident] = state
        self.written.append(("record", ident, state))
        self._forget_ended(ident, state)

    def _forget_ended(self, ident: bytes, state: State) -> None:
        if state.ended:
            self.ended[ident] = state
            del self.messages[ident], self.states[ident]

    def envelope(self, ident: bytes) -> Envelope | None:
        one = self.messages.get(ident)
        return one.envelope if one is not None else None

    def state(self, ident: bytes) -> State:
        return self.states[ident]

    def read(self, ident: bytes) -> Stored:
        if self.read_error is not None:
            raise self.read_error
        if ident in self.damaged:
            raise SpoolDamaged("its octets are not what was written")
        return self.messages[ident]

    def head(self, ident: bytes, most: int) -> bytes:
        return b"".join(self.read(ident).parts)[:most]

    def returned(self, message: Stored) -> None:
        self.given_back.append(message)

    def release_body(self, ident: bytes) -> None:
        self.released.append(ident)

    def __len__(self) -> int:
        return len(self.messages)


class Remembered:
    """An event log."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, kind: str, /, **fields: Any) -> None:
        self.events.append({"type": kind, **fields})

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


def a_route(domain: str, site: str = "", expires: float = 9e9) -> Route:
    return Route(domain, site or f"mx.{domain}", RouteKind.MX, (Host("mx", ("192.0.2.1",)),), expires)


def until(condition: Callable[[], object], what: str = "a condition", seconds: float = 10.0) -> None:
    """Give every task its turns until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        tasks.run_loop_once()


def settle_down(turns: int = 20) -> None:
    """Give every task that can run its turns."""
    for _ in range(turns):
        tasks.run_loop_once()
