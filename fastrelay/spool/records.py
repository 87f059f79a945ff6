"""Records: how the recipients of a message stand, in memory at once and on disk with the next batch.

While a batch that somebody waits for concerns a message (a record of it, or a copy of it being written elsewhere), the
message is *in flight*. What is recorded of it then shows in memory and is written when the batch is over; a second such
batch waits for the first. So nothing on disk ever rests on a record that may yet fail, a DONE names every segment that
holds a copy, and a batch that fails takes back what it changed and nothing else.

The body file of an ended message is unlinked when its DONE is on stable storage, not before.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastrelay.errors import Impossible
from fastrelay.mail import envelope as envelopes
from fastrelay.mail import ident as idents
from fastrelay.mail import state as states
from fastrelay.mail.state import State
from fastrelay.runtime import tasks
from fastrelay.spool.format import DONE, FILE, UPDATE
from fastrelay.spool.frames import Frame, join_marks
from fastrelay.spool.held import Held
from fastrelay.spool.register import Register
from fastrelay.spool.trip import Arrival, Group, Trip, Way


class Change(NamedTuple):
    """One record of a batch that is waited for. ended: its frame is a DONE."""

    ident: bytes
    held: Held
    before: bytes
    after: bytes
    ended: bool


class Records:
    """forgotten(ident, held): called when a message leaves memory; the path of its body file, "" for none.

    bury(paths): unlink these files, some time. way: where records go, set once it exists.
    """

    __slots__ = ("_bury", "_forgotten", "_graves", "_in_flight", "_landing", "_open_graves", "_register", "way")

    way: Way

    def __init__(
        self,
        register: Register,
        forgotten: Callable[[bytes, Held], str],
        bury: Callable[[list[str]], None],
    ) -> None:
        self._register = register
        self._forgotten = forgotten
        self._bury = bury
        self._in_flight: dict[bytes, bool] = {}  # id -> something was recorded meanwhile
        self._landing: tasks.Event | None = None  # where others wait for a flight to end
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
        if ident in self._in_flight:
            self._in_flight[ident] = True
        else:
            self._ride(ident, held, state)

    def submit(self, message: Frame | None, records: Sequence[tuple[bytes, State]]) -> None:
        """Write `message` and records in one batch, and wait for it. What it raises leaves everything as it was.

        One record a message.
        """
        if not self._in_flight.keys().isdisjoint([ident for ident, _ in records]):
            records = self._after_others(records)
        changes, frames = self._begin(records)
        try:
            self.way.submit(Arrival([message, *frames]) if message is not None else Group(frames))
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

    def take_off(self, ident: bytes) -> None:
        """A batch will concern it; `landed` must follow."""
        if ident in self._in_flight:
            raise Impossible("this message is in flight already")
        self._in_flight[ident] = False

    def landed(self, ident: bytes) -> None:
        """That batch is over; what was recorded in the meantime is written now."""
        recorded = self._in_flight.pop(ident)
        held = self._register.get(ident)
        if recorded and held is not None:
            self._ride(ident, held, states.decode(held.state))
        landing, self._landing = self._landing, None
        if landing is not None:
            landing.set()

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

    def _after_others(self, records: Sequence[tuple[bytes, State]]) -> list[tuple[bytes, State]]:
        """Wait until none of these messages is in flight; the records as they read on what has become of them."""
        asked = [(ident, self.state(self.known(ident)), state) for ident, state in records]
        while not self._in_flight.keys().isdisjoint([ident for ident, _, _ in asked]):
            if self._landing is None:
                self._landing = tasks.Event()
            self._landing.wait()
        found = []
        for ident, before, wanted in asked:
            held = self._register.get(ident)
            if held is not None:  # else it has ended
                found.append((ident, rebased(self.state(held), before, wanted)))
        return found

    def _begin(self, records: Sequence[tuple[bytes, State]]) -> tuple[list[Change], list[Frame]]:
        found = [(ident, state, self.known(ident)) for ident, state in records]
        if len({ident for ident, _, _ in found}) < len(found):
            raise Impossible("two records of one message in a batch")
        changes: list[Change] = []
        frames: list[Frame] = []
        for ident, state, held in found:
            after = states.encode(state)
            self.take_off(ident)
            changes.append(Change(ident, held, held.state, after, state.ended))
            held.state = after
            if state.ended:
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
        held.state = states.encode(without(states.decode(held.state), before, states.decode(change.after)))

    def _done(self, ident: bytes, held: Held, version: int) -> Frame:
        return Frame(DONE, ident, join_marks(self._register.marks(ident, held)), version=version)

    def _ride(self, ident: bytes, held: Held, state: State) -> None:
        if not state.ended:
            self.way.ride(Frame(UPDATE, ident, b"", held.state, state.version))
            return
        self.way.ride(self._done(ident, held, state.version))
        path = self._forget(ident)
        if path:
            self._open_graves[ident] = path

    def _forget(self, ident: bytes) -> str:
        held = self._register.forget(ident)
        path = self._forgotten(ident, held)
        return path if held.flags & FILE else ""


def without(current: State, before: State, failed: State) -> State:
    """`current`, less what `failed` had changed of `before`: that change did not come to be."""
    recipients = tuple(
        was if gone != was and now == gone else now
        for now, was, gone in zip(current.recipients, before.recipients, failed.recipients, strict=True)
    )
    held = before.held if failed.held != before.held and current.held == failed.held else current.held
    return State(current.version + 1, recipients, held)


def rebased(current: State, before: State, wanted: State) -> State:
    """What `wanted` changes of `before`, applied to `current`."""
    if current == before:
        return wanted
    recipients = tuple(
        will if will != was else now
        for now, was, will in zip(current.recipients, before.recipients, wanted.recipients, strict=True)
    )
    held = wanted.held if wanted.held != before.held else current.held
    return State(max(current.version, wanted.version) + 1, recipients, held)


def untouched(held: Held) -> State:
    """The state of a message nobody has tried."""
    envelope = envelopes.decode(held.envelope)
    return states.untouched(len(envelope.recipients), envelope.created)
