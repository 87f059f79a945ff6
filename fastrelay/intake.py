"""Intake, the one way into the house: reception, bounces and every later source of mail enter by it.

`accept` promises that a message is on stable storage and scheduled, in every recipient domain, when it returns; and on
neither when it raises. Between the commit and the schedule nothing waits, and what could fail is done before: the
grouping by domain, the moment of expiry. A task killed during the commit is killed after `accept` (spool/committer.py
puts it off). `recovered` does the second half for what the spool held at the start; where the wall clock has gone back
since that was written, it neither waits nor lasts longer for it.

MachineShort where the machine cannot take more. The limit on messages queued is asked for at MAIL (`check_room`), not
here: mail whose content was already read is not refused for a queue that filled meanwhile, and a notice never is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from fastrelay.mail import envelope as envelopes
from fastrelay.mail import state as states
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.state import State, Waiting
from fastrelay.runtime import clock, tasks

JITTERED = 2.0  # a pause of retry.max with all the jitter that can be asked for
HELD_SUSPECT = "in hand at three crashes of a worker"


class Spool(Protocol):
    """The spool, as far as mail enters it (spool/store.py)."""

    def check_room(self, size: int, /) -> None: ...
    def draft(self, size_hint: int, /) -> Any: ...
    def commit(
        self,
        *,
        ident: bytes,
        envelope: Envelope,
        prefix: bytes,
        content: Any,
        records: Sequence[tuple[bytes, State]] = (),
    ) -> object: ...
    def record(self, ident: bytes, state: State, /) -> object: ...


class Ids(Protocol):
    """Makes ids (mail/ident.py)."""

    def fresh(self) -> bytes: ...


class Entry(Protocol):
    """One message as the spool found it at the start: octets, None for a state nobody wrote yet."""

    @property
    def ident(self) -> bytes: ...
    @property
    def envelope(self) -> bytes: ...
    @property
    def state(self) -> bytes | None: ...


class Schedule(Protocol):
    """The schedule, as far as mail enters it (schedule/scheduler.py)."""

    def add(
        self,
        ident: bytes,
        domain: str,
        indices: tuple[int, ...],
        *,
        expires: float,
        due: float = 0.0,
        attempts: int = 0,
        held: bool = False,
        told: bool = False,
    ) -> None: ...


class Intake:
    """One per worker. fresh_ident(): a new id. expire: seconds a message is tried for. longest: between attempts."""

    __slots__ = ("_expire", "_longest", "_schedule", "_store", "_wall", "check_room", "draft", "fresh_ident")

    def __init__(
        self,
        store: Spool,
        schedule: Schedule,
        ids: Ids,
        expire: float,
        longest: float = math.inf,
        *,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._expire = expire
        self._longest = longest
        self._wall = wall
        self.fresh_ident: Callable[[], bytes] = ids.fresh
        self.check_room = store.check_room  # MachineShort when a message of `size` octets (0 = unknown) is too much now
        self.draft = store.draft  # a place for content that does not come in one piece

    def renew(self, expire: float, longest: float) -> None:
        """A reload: messages that come from now on are tried for so long."""
        self._expire = expire
        self._longest = longest

    def accept(
        self,
        envelope: Envelope,
        prefix: bytes,
        content: Any,
        *,
        ident: bytes,
        records: Sequence[tuple[bytes, State]] = (),
    ) -> bytes:
        """Take a message over; may wait until it is on stable storage, in one batch with `records`. Returns `ident`.

        content: octets, or a draft. MachineShort when it was not taken: then neither it nor the records are written.
        """
        recipients = envelope.recipients
        groups = {recipients[0].domain: (0,)} if len(recipients) == 1 else by_domain(envelope)
        expires = envelope.created + self._expire
        self._store.commit(ident=ident, envelope=envelope, prefix=prefix, content=content, records=records)
        add = self._schedule.add
        for domain, indices in groups.items():
            try:
                add(ident, domain, indices, expires=expires)
            except Exception as error:  # a bug: it must not keep the other domains, or the 250, from their turn
                tasks.on_crash("Intake.accept", error)
        return ident

    def recovered(self, entry: Entry, *, suspect: bool = False) -> int:
        """Schedule the open recipients of a message from an earlier life; returns in how many domains. Never waits.

        suspect: workers crashed with it in hand, so it is held until an operator has looked at it.
        """
        ident = entry.ident
        try:
            envelope = envelopes.decode(entry.envelope)
            state = None if entry.state is None else states.decode(entry.state)
            groups = by_domain(envelope, state)
        except (msgspec.DecodeError, IndexError) as error:  # its checksum held: a bug of whoever wrote it
            tasks.on_crash("Intake.recovered", error)
            return 0
        if suspect and not (state is not None and state.held):
            before = state or states.untouched(len(envelope.recipients), envelope.created)
            state = State(before.version + 1, before.recipients, HELD_SUSPECT)
            self._store.record(ident, state)
        wall = self._wall()
        expires = min(envelope.created, wall) + self._expire
        held = state is not None and bool(state.held)
        for domain, indices in groups.items():
            due, attempts, told = 0.0, 0, False
            if state is not None:
                waiting = [one for one in map(state.recipients.__getitem__, indices) if isinstance(one, Waiting)]
                due = self._believed(min(one.due for one in waiting), wall)
                attempts = max(one.attempts for one in waiting)
                told = all(one.notices & states.DELAY_TOLD for one in waiting)
            self._schedule.add(
                ident, domain, indices, expires=expires, due=due, attempts=attempts, held=held, told=told
            )
        return len(groups)

    def _believed(self, due: float, wall: float) -> float:
        """An attempt further off than any pause can be was dated by a clock that has gone back since. It is brought
        within `longest`, spread as it was."""
        away = due - wall
        return due if away <= self._longest * JITTERED else wall + away % self._longest


def by_domain(envelope: Envelope, state: State | None = None) -> dict[str, tuple[int, ...]]:
    """The open recipients, as positions in the envelope, by the domain they are routed by."""
    groups: dict[str, list[int]] = {}
    for index, recipient in enumerate(envelope.recipients):
        if state is None or isinstance(state.recipients[index], Waiting):
            groups.setdefault(recipient.domain, []).append(index)
    return {domain: tuple(indices) for domain, indices in groups.items()}
