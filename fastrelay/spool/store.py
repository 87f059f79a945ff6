"""The store: the face of the strongbox. What waits says so; everything else answers from memory.

Promises:
- `commit` returns when the message and the records that belong to it are on stable storage, in one batch; MachineShort
  when they are not and will not be.
- `record` is in memory at once and on disk in 5 ms, on stable storage within `spool.completion_sync`; `record_synced`
  returns when it is there, and takes the change back when it raises.
- A message is known from its commit until its last recipient has ended; `page` shows exactly these.
- `read` gives the octets that were committed or raises SpoolDamaged: then they are in quarantine and the message is
  held. It never stops the event loop.
- Bodies stay in memory until their first attempt is over, they are LINGER seconds old, or memory gets tight.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from fastrelay.config import Limits, Spool
from fastrelay.errors import Impossible, MachineShort, MisuseError
from fastrelay.mail import envelope as envelopes
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.ident import born
from fastrelay.mail.state import State
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks
from fastrelay.spool import slots
from fastrelay.spool.bodies import Bodies, Draft
from fastrelay.spool.budget import Budget
from fastrelay.spool.committer import RETRY, Committer, Group, ThreadedCommitter, Trip, shortage
from fastrelay.spool.disk import Disk
from fastrelay.spool.format import FILE, MESSAGE
from fastrelay.spool.frames import Frame
from fastrelay.spool.freeing import Freeing
from fastrelay.spool.journal import Journal
from fastrelay.spool.quarantine import Note, Quarantine
from fastrelay.spool.reading import Reader
from fastrelay.spool.records import Arrival, Records
from fastrelay.spool.recovery import LOST, Entry, Recovery
from fastrelay.spool.register import Held, Register, held_from
from fastrelay.spool.replay import Replay
from fastrelay.spool.room import Room
from fastrelay.spool.survey import Survey, survey

LINGER = 15.0  # seconds a body waits in memory for its first attempt; with a healthy site that begins at once
_LEAVE = 50_000  # bodies let go of in one tick, 0.3 us each
_TRIES = 3  # of a drain, on a disk that fails
_REST = 0.001  # seconds between two slices: long enough that the loop polls its sockets (tasks.later says why)


class Message(NamedTuple):
    """A message as it goes out. parts: prefix, then content, in order. size: octets of both."""

    envelope: Envelope
    parts: list[bytes]
    size: int


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
        self._counts = counts
        self._threaded = threaded
        self._wall = wall
        self._away: Callable[..., Any] = tasks.in_thread_to_end if threaded else _here
        self._rest: Callable[[], None] = _breathe if threaded else _nothing
        durable = spool.durability == "fsync"
        self._found: Survey | None = self._look(slot.path)
        self._register = Register()
        self._bodies = Bodies(disk, slot.path, self._away, durable=durable)
        self._budget = Budget(self._limits.memory)
        self._room = Room(disk, slot.path, spool.min_free, clock.now)
        self._quarantine = Quarantine(disk, slot.path, note)
        self._reader = Reader(disk, self._away, self._bodies, self._quarantine, self._damaged)
        self._fresh: dict[bytes, Message] = {}  # bodies not yet tried once
        self._records = Records(self._register, self._forgotten, self._remove_bodies)
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
        self._records.committer = self._committer
        self._freeing = Freeing(
            slot.path,
            disk=disk,
            away=self._away,
            rest=self._rest,
            journal=self._journal,
            committer=self._committer,
            register=self._register,
            records=self._records,
            reader=self._reader,
            short=lambda: self._room.short or self._committer.failing is not None,
            freed=self._room.ask_again,
        )
        self._recovery: Recovery | None = None
        self._adopted: list[Recovery] = []
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
        if self._threaded:
            self._freeing.start()
        try:
            self._bodies.prepare(self.slot.path)
        except OSError as error:
            raise shortage(error) from None
        self._recovery = self._recovery_of(found)
        self._replay = self._settle_tail(self._recovery)

    def load(self) -> Iterator[Entry]:
        """Then the backlog, message by message, to be read to its end. Waits; works in slices of 5 ms."""
        recovery, replay, self._replay = self._recovery, self._replay, None
        if recovery is None or replay is None:
            raise Impossible("load comes once, after recover")
        yield from self._load(recovery, replay)
        self._freeing.resume()

    def adopt(self, path: str | Path) -> Iterator[Entry]:
        """Take over the unowned slot at `path`; its mail, to be read to its end. Waits; works in slices of 5 ms.

        Nothing when somebody else was first. MisuseError: it is of a newer format, and left alone. MachineShort before
        the slot was taken over leaves it to others; after that its mail is safe here, and found at our next start.
        """
        failing = self._committer.failing
        if failing is not None:
            raise failing.with_traceback(None)
        self._away(self._look, str(path))
        self._freeing.suspend()
        try:
            home = self._away(slots.adopt, self.slot, path, self._disk)
        except OSError as error:
            self._freeing.resume()
            raise shortage(error) from None
        if home is not None:
            recovery = self._recovery_of(self._away(self._look, home))
            self._adopted.append(recovery)
            yield from self._load(recovery, self._settle_tail(recovery))
        self._freeing.resume()  # not after an error: as long as something is not in the register, nothing is freed

    def _settle_tail(self, recovery: Recovery) -> Replay:
        try:
            return recovery.settle(self._register)
        except OSError as error:
            raise shortage(error) from None

    def _load(self, recovery: Recovery, replay: Replay) -> Iterator[Entry]:
        try:
            yield from recovery.load(replay, self._register)
            for directory in slots.places(self.slot.path, self._disk)[:0:-1]:
                if not any(segment.directory == directory for segment in self._register.segments.values()):
                    self._away(slots.tidy, directory, self._disk)
        except OSError as error:
            raise shortage(error) from None

    def _recovery_of(self, found: Survey) -> Recovery:
        return Recovery(
            self._disk,
            found,
            away=self._away,
            bodies=self._bodies,
            quarantine=self._quarantine,
            submit=lambda frames: self._committer.submit(Group(frames)),
            write_index=self._journal.write_index,
            rest=self._rest,
        )

    @property
    def progress(self) -> int:
        """Octets read by recovery and adoption so far: what a heartbeat may show."""
        own = self._recovery.progress if self._recovery is not None else 0
        return own + sum(recovery.progress for recovery in self._adopted)

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
        try:
            self._room.check(size)
        except MachineShort:
            self._freeing.look()
            raise

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
            self._budget.give(size)  # taken again at once by the message
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
            self._write(Frame(MESSAGE, ident, envelopes.encode(envelope), b"", 0, prefix, content, size), records)
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
        if records:
            self._records.submit(frame, records)
        else:
            self._committer.submit(Arrival((frame,)))

    # -- what became of it ------------------------------------------------------------------------------------------

    def record(self, ident: bytes, state: State) -> None:
        """How the recipients of a message stand now. A message whose state has ended is known no longer."""
        self._records.record(ident, state)

    def record_synced(self, records: Sequence[tuple[bytes, State]]) -> None:
        """The same for several messages, in one batch, on stable storage when this returns. Waits.

        The changes are visible at once; MachineShort takes them back.
        """
        if records:
            self._records.submit(None, records)

    def _forgotten(self, ident: bytes, held: Held) -> str:
        if ident in self._fresh:
            self.release_body(ident)
        self._freeing.left(held.segment)
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
        return self._records.state(self._records.known(ident))

    def read(self, ident: bytes) -> Message:
        """Envelope and octets. Waits unless they are in memory. SpoolDamaged; MachineShort when the disk fails."""
        fresh = self._fresh.get(ident)
        if fresh is not None:
            return fresh
        held = self._records.known(ident)
        envelope = held.envelope
        parts = self._reader.read(ident, held)
        return Message(envelopes.decode(envelope), parts, sum(map(len, parts)))

    def release_body(self, ident: bytes) -> None:
        """The first attempt is over: from now on it is read from disk."""
        fresh = self._fresh.pop(ident, None)
        if fresh is not None:
            self._budget.give(fresh.size - len(fresh.parts[0]))

    def tick(self) -> None:
        """Once a second: bodies whose first attempt does not come soon (a site that is down) leave memory, and segments
        that could not be freed are looked at again. Never waits."""
        self._freeing.look()
        oldest = self._wall() - LINGER
        for ident in list(islice(self._fresh, _LEAVE)):
            if born(ident) > oldest:
                break
            self.release_body(ident)

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
            "freed": self._freeing.count,
            "forwarded_octets": self._freeing.forwarded,
            "memory": self._budget.used,
            "fresh": len(self._fresh),
            "descriptors": len(self._reader.shelf),
            "quarantined": self._quarantine.count,
            **self._committer.statistics(),
        }

    def _damaged(self, ident: bytes, held: Held) -> None:
        if self._counts is not None:
            self._counts.quarantined += 1
        if self._register.get(ident) is held:
            state = self._records.state(held)
            if not state.held and not state.ended:
                self.record(ident, State(state.version + 1, state.recipients, LOST))

    # -- the disk's word --------------------------------------------------------------------------------------------

    def _settle(self, trip: Trip) -> None:
        """After each visit to the disk, on the loop, before anyone who waits is woken.

        New messages are registered here, not by their waiting tasks: nothing that looks whether a segment is needed can
        come in between.
        """
        for news in trip.news:
            segment = news.segment
            self._register.segments[segment.mark] = segment
            segment.size = news.size
            if news.closed:
                segment.closed = True
                if segment.fd >= 0:
                    self._reader.shelf.take(segment)  # its descriptor is from now on one of those that may be closed
                    self._reader.shelf.give(segment)
                self._freeing.look()
        if trip.error is None:
            arrivals = octets = 0
            for group in trip.groups:
                octets += group.octets
                if isinstance(group, Arrival):
                    arrivals += 1
                    frame = group.frames[0]
                    self._register.add(frame.ident, held_from(frame))
            self._room.spent(octets)
            if self._counts is not None and arrivals:
                self._counts.spool_commit_messages.observe(arrivals)
                self._counts.spool_commit_seconds.observe(trip.seconds)
        self._records.settle(trip)

    def _remove_bodies(self, paths: list[str]) -> None:
        if self._threaded:
            tasks.spawn(self._away, self._bodies.remove, paths)
        else:
            self._bodies.remove(paths)

    # -- end --------------------------------------------------------------------------------------------------------

    def free_segments(self) -> None:
        """Free what is worth freeing now, in the caller's task: for a store without a task of its own. Waits."""
        self._freeing.free_all()

    def drain(self) -> None:
        """Write and sync what rides, and seal; free no more. Waits. MachineShort when the disk does not let us, though
        it was asked three times, a second apart."""
        self._freeing.close()
        for _ in range(_TRIES - 1):
            try:
                return self._committer.finish()
            except MachineShort:
                if self._threaded:
                    tasks.sleep(RETRY)
        self._committer.finish()

    def close(self) -> None:
        """Nothing is written or read any more. Waits for the journal's thread. The slot stays the caller's."""
        self._freeing.close()
        self._committer.close()
        for segment in self._register.segments.values():
            self._reader.shelf.drop(segment)


def _sized(envelope: Envelope, size: int) -> Envelope:
    return msgspec.structs.replace(envelope, size=size)


def _here(function: Callable[..., Any], *args: object) -> Any:
    return function(*args)


def _breathe() -> None:
    tasks.sleep(_REST)


def _nothing() -> None:
    pass
