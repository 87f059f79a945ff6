"""The store: the face of the strongbox. What waits says so; everything else answers from memory.

Promises:
- `commit` returns when the message and the records that belong to it are on stable storage, in one batch; MachineShort
  when they are not and will not be.
- `record` is in memory at once and on disk in 5 ms, on stable storage within `spool.completion_sync`; `record_synced`
  returns when it is there, and takes the change back when it raises.
- A message is known from its commit until its last recipient has ended; `page` shows exactly these.
- `read` gives the octets that were committed or raises SpoolDamaged: then they are in quarantine and the message is
  held. It never stops the event loop.

A failed batch takes back only what it changed: where other changes of the same message came in between, they stay, and
a message never ends on the strength of a record that may yet fail.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fastrelay.config import Limits, Spool
from fastrelay.errors import Impossible, MachineShort, MisuseError, SpoolDamaged
from fastrelay.mail import envelope as envelopes
from fastrelay.mail import ident as idents
from fastrelay.mail import state as states
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.state import State
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks
from fastrelay.spool import slots
from fastrelay.spool.bodies import Bodies, Draft
from fastrelay.spool.budget import Budget
from fastrelay.spool.committer import Committer, Group, ThreadedCommitter, Trip, shortage
from fastrelay.spool.disk import Disk
from fastrelay.spool.format import DAMAGED, DONE, FILE, MESSAGE, UPDATE
from fastrelay.spool.frames import Found, Frame, decode_frame, join_marks
from fastrelay.spool.journal import Journal
from fastrelay.spool.quarantine import Note, Quarantine
from fastrelay.spool.recovery import LOST, Entry, Recovery
from fastrelay.spool.register import Held, Register, held_from
from fastrelay.spool.replay import Replay
from fastrelay.spool.room import Room
from fastrelay.spool.scan import body_matches
from fastrelay.spool.segment import Segment, Shelf
from fastrelay.spool.survey import Survey, survey

_REST = 0.001  # seconds between two slices: long enough that the loop polls its sockets (tasks.later says why)


class Message(NamedTuple):
    """A message as it goes out. parts: prefix, then content, in order. size: octets of both."""

    envelope: Envelope
    parts: list[bytes]
    size: int


class _Arrival(Group):
    """A message with the records that belong to it."""

    __slots__ = ()


class _Change(NamedTuple):
    """One record of a batch that is waited for. ended: its frame is a DONE."""

    ident: bytes
    held: Held
    before: bytes
    after: bytes
    ended: bool


class Store:
    """The spool of one claimed slot.

    note: writes a line to the event log. counts: spool_commit_seconds, spool_commit_messages, quarantined. threaded
    False: everything in the caller's thread, for a stopped spool and for tests.
    MisuseError: a newer format, or files we may not read. MachineShort: the disk does not answer.
    """

    def __init__(
        self,
        slot: slots.Slot,
        spool: Spool,
        limits: Limits | None = None,
        *,
        disk: Disk | None = None,
        note: Note = lambda kind, **fields: None,
        counts: Counts | None = None,
        threaded: bool = True,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        self.slot = slot
        self._disk = disk = disk or Disk()
        self._limits = limits or Limits()
        self._spool = spool
        self._note = note
        self._counts = counts
        self._away: Callable[..., Any] = tasks.in_thread_to_end if threaded else _here
        self._rest: Callable[[], None] = _breathe if threaded else _nothing
        durable = spool.durability == "fsync"
        self._found: Survey | None = self._look(slot.path)
        self._bodies = Bodies(disk, slot.path, self._away, durable=durable)
        self._quarantine = Quarantine(disk, slot.path, note)
        self._journal = Journal(
            disk,
            slot.path,
            segment_size=spool.segment_size,
            durable=durable,
            number=self._found.highest,
            wall=wall,
        )
        self._committer: Committer = (
            ThreadedCommitter(self._journal, self._settle, spool.completion_sync)
            if threaded
            else Committer(self._journal, self._settle)
        )
        self._register = Register()
        self._shelf = Shelf(disk)
        self._budget = Budget(self._limits.memory)
        self._room = Room(disk, slot.path, spool.min_free, clock.now)
        self._fresh: dict[bytes, Message] = {}  # bodies not yet tried once
        self._in_flight: dict[bytes, int] = {}  # id -> batches under way that change it or where it lies
        self._graves: dict[bytes, str] = {}  # body files of messages whose DONE is not written yet
        self._dug: dict[bytes, str] = {}  # the same, written but not synced
        self._recovery: Recovery | None = None
        self._replay: Replay | None = None

    def _look(self, path: str) -> Survey:
        try:
            return survey(self._disk, path)
        except PermissionError as error:
            raise MisuseError(f"cannot read {error.filename}: make the spool readable for the user we run as") from None
        except OSError as error:
            raise shortage(error) from None

    # -- start ------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Settle the tail: after this `commit` works. Waits. MachineShort when the disk does not let us."""
        found, self._found = self._found, None
        if found is None:
            raise Impossible("this store has recovered already")
        try:
            self._bodies.prepare(self.slot.path)
            self._recovery = self._recovery_of(found)
            self._replay = self._recovery.settle(self._register)
        except OSError as error:
            raise shortage(error) from None

    def load(self) -> Iterator[Entry]:
        """Then the backlog, message by message. Waits; works in slices of 5 ms."""
        recovery, replay, self._replay = self._recovery, self._replay, None
        if recovery is None or replay is None:
            raise Impossible("load comes once, after recover")
        yield from self._load(recovery, replay)

    def _load(self, recovery: Recovery, replay: Replay) -> Iterator[Entry]:
        try:
            yield from recovery.load(replay, self._register)
        except OSError as error:
            raise shortage(error) from None

    def _recovery_of(self, found: Survey) -> Recovery:
        return Recovery(
            self._disk,
            found,
            away=self._away,
            bodies=self._bodies,
            quarantine=self._quarantine,
            submit=self._submit_frames,
            write_index=self._journal.write_index,
            rest=self._rest,
        )

    def _submit_frames(self, frames: list[Frame]) -> None:
        self._committer.submit(Group(frames))

    @property
    def progress(self) -> int:
        """Octets read by recovery so far: what a heartbeat may show."""
        return self._recovery.progress if self._recovery is not None else 0

    @property
    def newest(self) -> int:
        """Wall second of the newest frame found at the start, 0 when there was none."""
        return self._recovery.newest if self._recovery is not None else 0

    # -- the way in -------------------------------------------------------------------------------------------------

    def check_room(self, size: int = 0) -> None:
        """MachineShort 452 when a message of `size` octets (0 = unknown) should not be begun now."""
        failing = self._committer.failing
        if failing is not None:
            raise MachineShort("Insufficient system storage", detail=str(failing))
        if len(self._register) >= self._limits.max_queue_messages:
            raise MachineShort("Too many messages queued, try again later", detail=f"{len(self._register)} messages")
        self._budget.check()
        self._room.check(size)

    def draft(self, size_hint: int = 0) -> Draft:
        """A place for content that does not come in one piece. size_hint: octets announced, 0 = unknown."""
        limit = self._spool.inline_limit
        return Draft(self._bodies, self._budget, limit, to_file=size_hint > limit or self._budget.tight)

    def commit(
        self,
        *,
        ident: bytes,
        envelope: Envelope,
        prefix: bytes,
        content: bytes | Draft,
        records: Sequence[tuple[bytes, State]] = (),
    ) -> None:
        """Put a message, and the records that belong to it, on stable storage in one batch. Waits.

        MachineShort: nothing of it is there or will be. A draft that was not taken is still the caller's to discard.
        """
        if isinstance(content, bytes):
            if len(content) <= self._spool.inline_limit:
                self._commit(ident, envelope, prefix, [content], len(content), records)
                return
            draft = self.draft(len(content))
            try:
                draft.write(content)
                self._commit_file(ident, envelope, prefix, draft, records)
            finally:
                draft.discard()
        elif content.in_file:
            self._commit_file(ident, envelope, prefix, content, records)
        else:
            size = content.size
            self._budget.give(size)  # taken again when the message keeps it
            self._commit(ident, envelope, prefix, content.take_parts(), size, records)

    def _commit(
        self,
        ident: bytes,
        envelope: Envelope,
        prefix: bytes,
        content: list[bytes],
        size: int,
        records: Sequence[tuple[bytes, State]],
    ) -> None:
        total = size + len(prefix)
        if not envelope.size:
            envelope = _sized(envelope, total)
        self._budget.take(size)
        try:
            frame = Frame(MESSAGE, ident, envelopes.encode(envelope), b"", 0, prefix, content, size)
            self._write(frame, records)
        except BaseException:
            self._budget.give(size)
            raise
        fresh = self._fresh
        fresh[ident] = Message(envelope, [prefix, *content], total)
        while self._budget.tight and fresh:  # they are on disk: reading one back costs less than refusing new mail
            self.release_body(next(iter(fresh)))

    def _commit_file(
        self, ident: bytes, envelope: Envelope, prefix: bytes, draft: Draft, records: Sequence[tuple[bytes, State]]
    ) -> None:
        if not envelope.size:
            envelope = _sized(envelope, draft.size + len(prefix))
        draft.keep(ident)
        octets = envelopes.encode(envelope)
        self._write(Frame(MESSAGE, ident, octets, b"", 0, prefix, (), draft.size, draft.content_crc, 0, FILE), records)
        draft.committed()

    def _write(self, frame: Frame, records: Sequence[tuple[bytes, State]]) -> None:
        if not records:
            self._committer.submit(_Arrival((frame,)))
            return
        frames, changes = self._begin(records)
        self._submit_changes(_Arrival([frame, *frames]), changes)

    # -- what became of it ------------------------------------------------------------------------------------------

    def record(self, ident: bytes, state: State) -> None:
        """How the recipients of a message stand now. A message whose state has ended is known no longer."""
        held = self._known(ident)
        held.state = states.encode(state)
        if state.ended and ident not in self._in_flight:
            self._end(ident, held, state.version)
        else:
            self._committer.ride(Frame(UPDATE, ident, b"", held.state, state.version))

    def record_synced(self, records: Sequence[tuple[bytes, State]]) -> None:
        """The same for several messages, in one batch, on stable storage when this returns. Waits.

        The changes are visible at once; MachineShort takes them back.
        """
        if records:
            frames, changes = self._begin(records)
            self._submit_changes(Group(frames), changes)

    def _begin(self, records: Sequence[tuple[bytes, State]]) -> tuple[list[Frame], list[_Change]]:
        for ident, _ in records:
            self._known(ident)
        frames, changes = [], []
        for ident, state in records:
            held = self._known(ident)
            octets = states.encode(state)
            ended = state.ended and ident not in self._in_flight
            self._in_flight[ident] = self._in_flight.get(ident, 0) + 1
            changes.append(_Change(ident, held, held.state, octets, ended))
            held.state = octets
            if ended:
                frames.append(Frame(DONE, ident, join_marks(self._register.marks(ident, held)), version=state.version))
            else:
                frames.append(Frame(UPDATE, ident, b"", octets, state.version))
        return frames, changes

    def _submit_changes(self, group: Group, changes: list[_Change]) -> None:
        try:
            self._committer.submit(group)
        except BaseException:
            for change in reversed(changes):
                self._take_back(change)
                self._landed(change.ident)
            raise
        for change in changes:
            if change.ended:
                path = self._forget(change.ident)
                if path:
                    self._remove_bodies([path])
            self._landed(change.ident)

    def _take_back(self, change: _Change) -> None:
        held = change.held
        if held.state == change.after:
            held.state = change.before
            return
        before = states.decode(change.before) if change.before else _untouched(held)
        fixed = without(states.decode(held.state), before, states.decode(change.after))
        held.state = states.encode(fixed)
        self._committer.ride(Frame(UPDATE, change.ident, b"", held.state, fixed.version))

    def _landed(self, ident: bytes) -> None:
        """A batch that concerned `ident` is over; an end that waited for it is written now."""
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

    def _end(self, ident: bytes, held: Held, version: int) -> None:
        self._committer.ride(Frame(DONE, ident, join_marks(self._register.marks(ident, held)), version=version))
        path = self._forget(ident)
        if path:
            self._graves[ident] = path

    def _forget(self, ident: bytes) -> str:
        """Out of memory; the path of its body file, which goes when the DONE is synced."""
        held = self._register.forget(ident)
        if ident in self._fresh:
            self.release_body(ident)
        return self._bodies.forget(ident) if held.flags & FILE else ""

    # -- looking ----------------------------------------------------------------------------------------------------

    def envelope(self, ident: bytes) -> Envelope | None:
        """The envelope of an open message, None when it is not here."""
        fresh = self._fresh.get(ident)
        if fresh is not None:
            return fresh.envelope
        held = self._register.get(ident)
        return envelopes.decode(held.envelope) if held is not None else None

    def state(self, ident: bytes) -> State:
        """How its recipients stand. Impossible when the message is not here."""
        held = self._known(ident)
        return states.decode(held.state) if held.state else _untouched(held)

    def read(self, ident: bytes) -> Message:
        """Envelope and octets. Waits unless they are in memory. SpoolDamaged; MachineShort when the disk fails."""
        fresh = self._fresh.get(ident)
        if fresh is not None:
            return fresh
        held = self._known(ident)
        if held.flags & DAMAGED:
            raise SpoolDamaged(f"message {idents.to_text(ident)}: {LOST}")
        segment, offset, length = held.segment, held.offset, held.length
        try:
            octets = self._octets(segment, offset, length)
            found = decode_frame(octets, 0, offset, segment.header)
            parts = _body(found, octets, ident)
            if found is not None and parts is not None and found.flags & FILE:
                blocks = self._bodies.read(ident, found.content_size, found.content_crc)
                parts = None if blocks is None else [parts[0], *blocks]
        except FileNotFoundError:
            parts = None
        except OSError as error:
            raise shortage(error) from None
        if parts is None:
            self._damaged(ident, held, segment, offset, length)
        assert parts is not None
        envelope = envelopes.decode(held.envelope)
        return Message(envelope, parts, sum(map(len, parts)))

    def _octets(self, segment: Segment, offset: int, length: int) -> bytes:
        fd = self._shelf.take(segment)
        try:
            return self._disk.read(fd, length, offset, nowait=True)
        except BlockingIOError:
            octets: bytes = self._away(self._disk.read, fd, length, offset)
            return octets
        finally:
            self._shelf.give(segment)

    def _damaged(self, ident: bytes, held: Held, segment: Segment, offset: int, length: int) -> None:
        if not held.flags & DAMAGED:  # another task may have found it first
            held.flags |= DAMAGED
            kept = self._away(self._quarantine.keep, segment, offset, length, "corrupt")
            self._quarantine.tell("corrupt", segment.path, length, kept, [ident], offset=offset)
            self._count_quarantine()
            if self._register.get(ident) is held and not self.state(ident).held:
                state = self.state(ident)
                self.record(ident, State(state.version + 1, state.recipients, LOST))
        raise SpoolDamaged(f"message {idents.to_text(ident)}: {LOST}")

    def release_body(self, ident: bytes) -> None:
        """The first attempt is over: from now on it is read from disk."""
        fresh = self._fresh.pop(ident, None)
        if fresh is not None:
            self._budget.give(fresh.size - len(fresh.parts[0]))

    def page(self, after: bytes | None, limit: int) -> list[bytes]:
        """Up to `limit` ids of open messages above `after`, in order."""
        return self._register.page(after, limit)

    def __len__(self) -> int:
        return len(self._register)

    def statistics(self) -> dict[str, int]:
        """Figures for `status` and tests."""
        segments = list(self._register.segments.values())
        return {
            "messages": len(self._register),
            "segments": len(segments),
            "segment_octets": sum(segment.size for segment in segments),
            "live_octets": sum(segment.live for segment in segments),
            "memory": self._budget.used,
            "fresh": len(self._fresh),
            "open_segments": len(self._shelf),
            "quarantined": self._quarantine.count,
            **self._committer.statistics(),
        }

    def _known(self, ident: bytes) -> Held:
        held = self._register.get(ident)
        if held is None:
            raise Impossible(f"no message {idents.to_text(ident)} in slot {self.slot.number}")
        return held

    # -- the disk's word --------------------------------------------------------------------------------------------

    def _settle(self, trip: Trip) -> None:
        """After each visit to the disk, on the loop, before anyone who waits is woken."""
        for news in trip.news:
            segment = news.segment
            self._register.segments[segment.mark] = segment
            segment.size = news.size
            if news.closed:
                segment.closed = True
                if segment.fd >= 0:
                    self._shelf.take(segment)  # from now on its descriptor is one of those that may be closed
                    self._shelf.give(segment)
        if trip.error is not None:
            self._graves.update(self._dug)
            self._dug.clear()
            return
        arrivals = octets = 0
        for group in trip.groups:
            octets += group.octets
            if isinstance(group, _Arrival):
                arrivals += 1
                frame = group.frames[0]
                self._register.add(frame.ident, held_from(frame))
        self._room.spent(octets)
        if self._graves:
            for record in trip.records:
                if record.kind == DONE and record.ident in self._graves:
                    self._dug[record.ident] = self._graves.pop(record.ident)
        if trip.synced and self._dug:
            self._remove_bodies(list(self._dug.values()))
            self._dug.clear()
        if self._counts is not None and arrivals:
            self._counts.spool_commit_messages.observe(arrivals)
            self._counts.spool_commit_seconds.observe(trip.seconds)

    def _remove_bodies(self, paths: list[str]) -> None:
        if self._away is _here:
            self._bodies.remove(paths)
        else:
            tasks.spawn(self._away, self._bodies.remove, paths)

    def _count_quarantine(self) -> None:
        if self._counts is not None:
            self._counts.quarantined += 1

    # -- end --------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Write and sync what rides, and seal. Waits. MachineShort when the disk does not let us."""
        self._committer.finish()

    def close(self) -> None:
        """Nothing is written or read any more. Waits for the journal's thread. The slot stays the caller's."""
        self._committer.close()
        for segment in self._register.segments.values():
            self._shelf.drop(segment)


def without(current: State, before: State, failed: State) -> State:
    """`current`, less what `failed` had changed of `before`: that change did not come to be."""
    recipients = tuple(
        was if gone != was and now == gone else now
        for now, was, gone in zip(current.recipients, before.recipients, failed.recipients, strict=True)
    )
    held = before.held if failed.held != before.held and current.held == failed.held else current.held
    return State(current.version + 1, recipients, held)


def _untouched(held: Held) -> State:
    envelope = envelopes.decode(held.envelope)
    return states.untouched(len(envelope.recipients), envelope.created)


def _body(found: Found | None, octets: bytes, ident: bytes) -> list[bytes] | None:
    """Prefix and inline content of a frame that was read, None when they are not what was written."""
    if found is None or found.kind != MESSAGE or found.ident != ident or len(octets) < found.length:
        return None
    start = found.body_offset - found.offset
    body = memoryview(octets)[start : start + found.prefix_size + found.inline]
    if not body_matches(found, body):
        return None
    prefix = bytes(body[: found.prefix_size])
    return [prefix, bytes(body[found.prefix_size :])] if found.inline else [prefix]


def _sized(envelope: Envelope, size: int) -> Envelope:
    return Envelope(
        envelope.sender,
        envelope.recipients,
        envelope.created,
        envelope.client,
        envelope.helo,
        envelope.user,
        envelope.body,
        envelope.smtputf8,
        envelope.ret,
        envelope.envid,
        envelope.session,
        size,
    )


def _here(function: Callable[..., Any], *args: object) -> Any:
    return function(*args)


def _breathe() -> None:
    tasks.sleep(_REST)


def _nothing() -> None:
    pass
