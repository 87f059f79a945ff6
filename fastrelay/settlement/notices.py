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
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.settlement import report
from fastrelay.settlement.faces import Intake, Store
from fastrelay.settlement.plan import End, changed
from fastrelay.settlement.report import Ended, Notice, wants

_DELAY_TOLD = 1  # bit of Waiting.notices
_HEAD = report.MAX_FULL + 1  # octets of an original that a notice may look at


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
            lambda notice: report.bounce(notice, rows),
            lambda state: changed(state, changes),
        )

    def delay(
        self, ident: bytes, envelope: Envelope, waiting: Sequence[tuple[int, Deferred]], wall: float
    ) -> bytes | None:
        """Tell the sender once of recipients that wait longer than `bounce.delay_notice`. Waits. None: nothing to
        tell, or not now: the next deferral will ask again."""
        patience = self._bounce.delay_notice
        if not 0.0 < patience <= wall - envelope.created or not envelope.sender or not self._bounce.send:
            return None
        state = self._store.state(ident)
        late = []
        rows = []
        for position, outcome in waiting:
            standing = state.recipients[position]
            recipient = envelope.recipients[position]
            if isinstance(standing, Waiting) and not standing.notices & _DELAY_TOLD and wants(recipient, "DELAY"):
                late.append(position)
                rows.append(Ended(recipient, outcome.reply, outcome.host))
        if not late:
            return None
        until = envelope.created + self._expire
        return self._write(
            ident,
            envelope,
            wall,
            lambda notice: report.delayed(notice, rows, until),
            lambda state: _told(state, late),
        )

    def _write(
        self,
        ident: bytes,
        envelope: Envelope,
        wall: float,
        compose: Callable[[Notice], tuple[Envelope, bytes]],
        change: Callable[[State], State],
    ) -> bytes | None:
        fresh = self._intake.fresh_ident()
        try:
            head = self._head(ident) if self._bounce.return_ != "nothing" else b""
            letter, octets = compose(Notice(ident, envelope, self._hostname, fresh, wall, head, self._bounce.return_))
            self._intake.accept(letter, b"", octets, ident=fresh, records=[(ident, change(self._store.state(ident)))])
        except MachineShort:
            return None
        return fresh

    def _head(self, ident: bytes) -> bytes:
        """The beginning of the original; nothing when it cannot be read: the notice matters more."""
        try:
            parts = self._store.read(ident).parts
        except (SpoolDamaged, MachineShort):
            return b""
        out = []
        left = _HEAD
        for part in parts:
            if left <= 0:
                break
            out.append(part[:left])
            left -= len(part)
        return b"".join(out)


def _told(state: State, late: Sequence[int]) -> State:
    """The delay notice was sent for these."""
    changes: list[tuple[int, int | Waiting]] = []
    for position in late:
        one = state.recipients[position]
        if isinstance(one, Waiting):
            changes.append((position, Waiting(one.attempts, one.due, one.reply, one.notices | _DELAY_TOLD)))
    return changed(state, changes)
