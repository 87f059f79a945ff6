"""Notices to senders, each committed in one batch with the record that goes with it: both are on disk, or neither.

Nobody is told about a message from the null sender (RFC 5321 4.5.5: never a notice about a notice), or where NOTIFY or
`bounce.send` say not to. A sender that is one of our [aliases] is told as those it stands for, as mail for our own name
leads nowhere. A delay notice is sent once for each recipient. A success is told of where it was asked for and the next
hop does not do it (Delivered.duty). Recipients that end together are told of together.

Waits to read the head of the original and to commit. The record is visible from the moment of the commit on, and taken
back by the spool where that fails (spool/store.py), so other domains of the same message are settled meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from fastrelay.config import Config
from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Duty, Failed, Outcome, Phase
from fastrelay.mail.reply import Reply
from fastrelay.mail.state import DELAY_TOLD, State, Status, Waiting
from fastrelay.settlement import report
from fastrelay.settlement.faces import Intake, Store
from fastrelay.settlement.plan import End, changed
from fastrelay.settlement.status import Action, Ended, Notice
from fastrelay.smtp.dsn import wants

_HEAD = report.MAX_FULL + 1  # octets of an original that a notice may look at
_EXPANDED = Reply(250, "2.1.5", ("expanded",))


def left_when_late(config: Config) -> float:
    """Seconds a message has left of its time when its sender is told that it is late; 0 where nobody is told."""
    wanted = config.bounce.send and 0.0 < config.bounce.delay_notice < config.retry.expire
    return config.retry.expire - config.bounce.delay_notice if wanted else 0.0


class Notices:
    """One per worker."""

    __slots__ = ("_aliases", "_bounce", "_expire", "_hostname", "_intake", "_store")

    def __init__(self, store: Store, intake: Intake, config: Config) -> None:
        self._store = store
        self._intake = intake
        self.renew(config)

    def renew(self, config: Config) -> None:
        """What the configuration says of notices."""
        self._bounce = config.bounce
        self._expire = config.retry.expire
        self._hostname = config.server.hostname
        self._aliases = dict(config.listeners[0].aliases) if config.listeners else {}

    def why_silent(
        self, envelope: Envelope, position: int, event: Literal["SUCCESS", "FAILURE", "DELAY"] = "FAILURE"
    ) -> str:
        """Why the sender is not told of what became of a recipient; "" when it is."""
        if not envelope.sender:
            return "null sender"
        if not self._bounce.send:
            return "bounce.send is false"
        return "" if wants(envelope.recipients[position], event) else "not asked for"

    def end(self, ident: bytes, envelope: Envelope, ends: Sequence[End], wall: float) -> bytes | None:
        """Tell the sender, and close these recipients in the same batch: the notice's id. Waits. None: not now, the
        machine is short, and nothing was written."""
        rows = [_row(envelope, end.position, end.outcome, expired=end.status is Status.EXPIRED) for end in ends]
        changes = [(end.position, end.status) for end in ends]
        return self._write(
            ident,
            envelope,
            wall,
            self._head(ident, envelope),
            lambda notice: report.ended(notice, rows),
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
        head = self._head(ident, envelope)
        if self._store.envelope(ident) is None:
            return None  # it ended meanwhile
        late = _untold(self._store.state(ident), envelope, waiting)
        if not late:
            return None
        rows = [_row(envelope, position, outcome) for position, outcome in late]
        until = envelope.created + self._expire
        return self._write(
            ident,
            envelope,
            wall,
            head,
            lambda notice: report.delayed(notice, rows, until),
            lambda state: _told(state, [position for position, _ in late]),
        )

    def expanded(self, ident: bytes, envelope: Envelope, names: Sequence[Recipient], wall: float) -> bytes | None:
        """Tell the sender of a message just taken in that these names of it were replaced by others (RFC 3461 5.2.7.3):
        those that ask to be told of a success. Waits. None: nobody is told, or the machine is short.

        To be called when the message is committed and before its 250: a sender that gets none sends again, and hears of
        that message.
        """
        rows = [Ended(name, _EXPANDED, tried=False) for name in names if wants(name, "SUCCESS")]
        if not rows or not envelope.sender or not self._bounce.send:
            return None
        fresh = self._intake.fresh_ident()
        notice = Notice(ident, envelope, self._hostname, fresh, wall, self._head(ident, envelope), self._bounce.return_)
        letter, octets = report.expanded(notice, rows)
        try:
            return self._intake.accept(self._addressed(letter), b"", octets, ident=fresh)
        except MachineShort:
            return None

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
            letter = self._addressed(letter)
            self._intake.accept(letter, b"", octets, ident=fresh, records=[(ident, change(self._store.state(ident)))])
        except MachineShort:
            return None
        return fresh

    def _addressed(self, letter: Envelope) -> Envelope:
        """The notice to whom its reader's name stands for."""
        (reader,) = letter.recipients
        names = self._aliases.get(reader.address.lower())
        if names is None:
            return letter
        readers = tuple(Recipient(name, notify=reader.notify) for name in names)
        return msgspec.structs.replace(letter, recipients=readers)

    def _head(self, ident: bytes, envelope: Envelope) -> bytes:
        """The beginning of the original; nothing when it cannot be read: the notice matters more. May wait."""
        if self._bounce.return_ == "nothing" and not envelope.ret:
            return b""
        try:
            return self._store.head(ident, _HEAD)
        except (SpoolDamaged, MachineShort):
            return b""


def _row(envelope: Envelope, position: int, outcome: Outcome, *, expired: bool = False) -> Ended:
    action = Action.FAILED
    if isinstance(outcome, Delivered):
        action = Action.DELIVERED if outcome.duty is Duty.DELIVERED else Action.RELAYED
    tried = outcome.phase is not Phase.QUEUE
    ours = isinstance(outcome, Deferred | Failed) and outcome.ours
    return Ended(envelope.recipients[position], outcome.reply, outcome.host, expired, action, tried, ours)


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
