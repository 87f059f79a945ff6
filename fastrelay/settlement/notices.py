"""Notices to senders, each committed in one batch with the record that goes with it: both are on disk, or neither.

Nobody is told about a message from the null sender (RFC 5321 4.5.5: never a notice about a notice), or where NOTIFY or
`bounce.send` say not to. A delay notice is sent once for each recipient.

Waits to read the head of the original and to commit. The record is visible from the moment of the commit on, and taken
back by the spool where that fails (spool/store.py), so other domains of the same message are settled meanwhile.
"""

from collections.abc import Callable, Sequence

from fastrelay.config import Config
from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.outcome import Deferred
from fastrelay.mail.state import DELAY_TOLD, State, Status, Waiting
from fastrelay.settlement import report
from fastrelay.settlement.faces import Intake, Store
from fastrelay.settlement.plan import End, changed
from fastrelay.settlement.report import Ended, Notice, wants

_HEAD = report.MAX_FULL + 1  # octets of an original that a notice may look at


def left_when_late(config: Config) -> float:
    """Seconds a message has left of its time when its sender is told that it is late; 0 where nobody is told."""
    wanted = config.bounce.send and 0.0 < config.bounce.delay_notice < config.retry.expire
    return config.retry.expire - config.bounce.delay_notice if wanted else 0.0


class Notices:
    """One per worker."""

    __slots__ = ("_bounce", "_expire", "_hostname", "_intake", "_store")

    def __init__(self, store: Store, intake: Intake, config: Config) -> None:
        self._store = store
        self._intake = intake
        self._bounce = config.bounce
        self._expire = config.retry.expire
        self._hostname = config.server.hostname

    def why_silent(self, envelope: Envelope, position: int) -> str:
        """Why the sender is not told of a recipient's end; "" when it is."""
        if not envelope.sender:
            return "null sender"
        if not self._bounce.send:
            return "bounce.send is false"
        return "" if wants(envelope.recipients[position], "FAILURE") else "not asked for"

    def end(self, ident: bytes, envelope: Envelope, ends: Sequence[End], wall: float) -> bytes | None:
        """Tell the sender, and close these recipients in the same batch: the notice's id. Waits. None: not now, the
        machine is short, and nothing was written."""
        rows = [
            Ended(envelope.recipients[end.position], end.outcome.reply, end.outcome.host, end.status is Status.EXPIRED)
            for end in ends
        ]
        changes = [(end.position, end.status) for end in ends]
        return self._write(
            ident,
            envelope,
            wall,
            self._head(ident),
            lambda notice: report.bounce(notice, rows),
            lambda state: changed(state, changes),
        )

    def delay(
        self, ident: bytes, envelope: Envelope, waiting: Sequence[tuple[int, Deferred]], wall: float
    ) -> bytes | None:
        """Tell the sender once of recipients that wait longer than `bounce.delay_notice`. Waits. None: nothing to
        tell, or not now: the next deferral will ask again."""
        # recipients are chosen anew once the original was read: somebody else may have told of them meanwhile
        patience = self._bounce.delay_notice
        if not 0.0 < patience <= wall - envelope.created or not envelope.sender or not self._bounce.send:
            return None
        if not _untold(self._store.state(ident), envelope, waiting):
            return None
        head = self._head(ident)
        if self._store.envelope(ident) is None:
            return None  # it ended meanwhile
        late = _untold(self._store.state(ident), envelope, waiting)
        if not late:
            return None
        rows = [Ended(envelope.recipients[position], outcome.reply, outcome.host) for position, outcome in late]
        until = envelope.created + self._expire
        return self._write(
            ident,
            envelope,
            wall,
            head,
            lambda notice: report.delayed(notice, rows, until),
            lambda state: _told(state, [position for position, _ in late]),
        )

    def _write(
        self,
        ident: bytes,
        envelope: Envelope,
        wall: float,
        head: bytes,
        compose: Callable[[Notice], tuple[Envelope, bytes]],
        change: Callable[[State], State],
    ) -> bytes | None:
        fresh = self._intake.fresh_ident()
        try:
            letter, octets = compose(Notice(ident, envelope, self._hostname, fresh, wall, head, self._bounce.return_))
            self._intake.accept(letter, b"", octets, ident=fresh, records=[(ident, change(self._store.state(ident)))])
        except MachineShort:
            return None
        return fresh

    def _head(self, ident: bytes) -> bytes:
        """The beginning of the original; nothing when it cannot be read: the notice matters more. May wait."""
        if self._bounce.return_ == "nothing":
            return b""
        try:
            return self._store.head(ident, _HEAD)
        except (SpoolDamaged, MachineShort):
            return b""


def _untold(state: State, envelope: Envelope, waiting: Sequence[tuple[int, Deferred]]) -> list[tuple[int, Deferred]]:
    """Those who still wait, and of whom a delay notice is wanted and was not sent."""
    return [
        (position, outcome)
        for position, outcome in waiting
        if isinstance(standing := state.recipients[position], Waiting)
        and not standing.notices & DELAY_TOLD
        and wants(envelope.recipients[position], "DELAY")
    ]


def _told(state: State, late: Sequence[int]) -> State:
    """The delay notice was sent for these."""
    changes: list[tuple[int, int | Waiting]] = []
    for position in late:
        one = state.recipients[position]
        if isinstance(one, Waiting):
            changes.append((position, Waiting(one.attempts, one.due, one.reply, one.notices | DELAY_TOLD)))
    return changed(state, changes)
