"""Records: how the recipients of a message stand, in memory at once and on disk with the next batch.

A batch that is waited for and fails takes back only what it changed; what other tasks changed of the same message in
the meantime stays. While a batch concerns a message (a record of it, or a copy of it being written elsewhere) the
message is *in flight*: if its last recipient ends then, that is written as an UPDATE, and the DONE follows when the
batch is over. So a DONE never rests on a record that may yet fail, and always names every segment that holds a copy.

The body file of an ended message is unlinked when its DONE is on stable storage, not before.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastrelay.errors import Impossible
from fastrelay.mail import envelope as envelopes
from fastrelay.mail import ident as idents
from fastrelay.mail import state as states
from fastrelay.mail.state import State
from fastrelay.spool.committer import Committer, Group, Trip
from fastrelay.spool.format import DONE, FILE, UPDATE
from fastrelay.spool.frames import Frame, join_marks
from fastrelay.spool.register import Held, Register


class Change(NamedTuple):
    """One record of a batch that is waited for. ended: its frame is a DONE."""

    ident: bytes
    held: Held
    before: bytes
    after: bytes
    ended: bool


class Records:
    """forgotten(ident, held): called when a message leaves memory; the path of its body file, "" for none.

    bury(paths): unlink these files, some time. The committer is set once it exists: it reports to `settle`.
    """

    __slots__ = ("_bury", "_forgotten", "_graves", "_in_flight", "_open_graves", "_register", "committer")

    committer: Committer

    def __init__(
        self,
        register: Register,
        forgotten: Callable[[bytes, Held], str],
        bury: Callable[[list[str]], None],
    ) -> None:
        self._register = register
        self._forgotten = forgotten
        self._bury = bury
        self._in_flight: dict[bytes, int] = {}
        self._open_graves: dict[bytes, str] = {}  # files of messages whose DONE is not written yet
        self._graves: dict[bytes, str] = {}  # the same, written but not synced

    def known(self, ident: bytes) -> Held:
        """The open message; Impossible when there is none."""
        held = self._register.get(ident)
        if held is None:
            raise Impossible(f"no open message {idents.to_text(ident)} in this slot")
        return held

    def state(self, held: Held) -> State:
        """How a message stands."""
        return states.decode(held.state) if held.state else untouched(held)

    def record(self, ident: bytes, state: State) -> None:
        """Write it with the next batch."""
        held = self.known(ident)
        held.state = states.encode(state)
        if state.ended and ident not in self._in_flight:
            self._end(ident, held, state.version)
        else:
            self.committer.ride(Frame(UPDATE, ident, b"", held.state, state.version))

    def submit(self, message: Frame | None, records: Sequence[tuple[bytes, State]]) -> None:
        """Write `message` and records in one batch, and wait for it. What it raises leaves everything as it was."""
        changes, frames = self._begin(records)
        try:
            self.committer.submit(Arrival([message, *frames]) if message is not None else Group(frames))
        except BaseException:
            for change in reversed(changes):
                self._take_back(change)
                self.landed(change.ident)
            raise
        for change in changes:
            if change.ended:
                path = self._forget(change.ident)
                if path:
                    self._bury([path])
            self.landed(change.ident)

    def is_in_flight(self, ident: bytes) -> bool:
        """A batch concerns it right now."""
        return ident in self._in_flight

    def is_shared(self, ident: bytes) -> bool:
        """More than one batch concerns it: its state may be taken back yet."""
        return self._in_flight.get(ident, 0) > 1

    def take_off(self, ident: bytes) -> None:
        """A batch will concern it; `landed` must follow."""
        self._in_flight[ident] = self._in_flight.get(ident, 0) + 1

    def landed(self, ident: bytes) -> None:
        """A batch that concerned it is over; an end that waited for it is written now."""
        left = self._in_flight[ident] - 1
        if left:
            self._in_flight[ident] = left
            return
        del self._in_flight[ident]
        held = self._register.get(ident)
        if held is not None and held.state:
            state = states.decode(held.state)
            if state.ended:
                self._end(ident, held, state.version)

    def settle(self, trip: Trip) -> None:
        """After each visit to the disk: body files whose DONE is safe are unlinked."""
        if trip.error is not None:  # a sync that failed may have taken written DONEs along: they are written again
            self._open_graves |= self._graves
            self._graves = {}
            return
        if self._open_graves:
            for record in trip.records:
                if record.kind == DONE and record.ident in self._open_graves:
                    self._graves[record.ident] = self._open_graves.pop(record.ident)
        if trip.synced and self._graves:
            self._bury(list(self._graves.values()))
            self._graves = {}

    def _begin(self, records: Sequence[tuple[bytes, State]]) -> tuple[list[Change], list[Frame]]:
        found = [(ident, state, self.known(ident)) for ident, state in records]
        changes: list[Change] = []
        frames: list[Frame] = []
        for ident, state, held in found:
            after = states.encode(state)
            ended = state.ended and ident not in self._in_flight
            self.take_off(ident)
            changes.append(Change(ident, held, held.state, after, ended))
            held.state = after
            if ended:
                frames.append(self._done(ident, held, state.version))
            else:
                frames.append(Frame(UPDATE, ident, b"", after, state.version))
        return changes, frames

    def _take_back(self, change: Change) -> None:
        held = change.held
        if held.state == change.after:
            held.state = change.before
            return
        before = states.decode(change.before) if change.before else untouched(held)
        fixed = without(states.decode(held.state), before, states.decode(change.after))
        held.state = states.encode(fixed)
        self.committer.ride(Frame(UPDATE, change.ident, b"", held.state, fixed.version))

    def _done(self, ident: bytes, held: Held, version: int) -> Frame:
        return Frame(DONE, ident, join_marks(self._register.marks(ident, held)), version=version)

    def _end(self, ident: bytes, held: Held, version: int) -> None:
        self.committer.ride(self._done(ident, held, version))
        path = self._forget(ident)
        if path:
            self._open_graves[ident] = path

    def _forget(self, ident: bytes) -> str:
        held = self._register.forget(ident)
        path = self._forgotten(ident, held)
        return path if held.flags & FILE else ""


class Arrival(Group):
    """A new message, first among its frames, and the records that belong to it."""

    __slots__ = ()


def without(current: State, before: State, failed: State) -> State:
    """`current`, less what `failed` had changed of `before`: that change did not come to be."""
    recipients = tuple(
        was if gone != was and now == gone else now
        for now, was, gone in zip(current.recipients, before.recipients, failed.recipients, strict=True)
    )
    held = before.held if failed.held != before.held and current.held == failed.held else current.held
    return State(current.version + 1, recipients, held)


def untouched(held: Held) -> State:
    """The state of a message nobody has tried."""
    envelope = envelopes.decode(held.envelope)
    return states.untouched(len(envelope.recipients), envelope.created)
