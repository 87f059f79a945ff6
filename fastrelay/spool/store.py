"""The store: the face of the strongbox. What waits says so; everything else answers from memory.

Promises:
- `commit` returns when the message and the records that belong to it are on stable storage, in one batch; MachineShort
  when they are not and will not be. So with `spool.durability = "fsync"`. With "os" they were handed to the system:
  they outlive any crash of ours, not one of the machine. With "memory" they are in this process alone and lost with it,
  except at an orderly stop: `drain` writes them to the journal (memory.py).
- `record` is in memory at once and handed to the system in 5 ms, or behind the sync that is under way then; on stable
  storage within `spool.completion_sync`. `record_synced` returns when it is there, and takes it back when it raises.
- A message is known from its commit until its last recipient has ended; `page` shows exactly these.
- `read` gives the octets that were committed or raises SpoolDamaged: then they are in quarantine and the message is
  held. It never stops the event loop.
- Bodies stay in memory until their first attempt is over, they are LINGER seconds old, or memory gets tight.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fastrelay.config import Limits, Spool
from fastrelay.errors import MachineShort
from fastrelay.mail import envelope as envelopes
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.state import State
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks
from fastrelay.spool import backlog
from fastrelay.spool.backlog import Backlog
from fastrelay.spool.bodies import Bodies, Draft
from fastrelay.spool.budget import Budget
from fastrelay.spool.committer import RETRY, Committer
from fastrelay.spool.disk import Disk
from fastrelay.spool.entrance import Entrance
from fastrelay.spool.filed import BLOCK, Filed
from fastrelay.spool.format import FILE
from fastrelay.spool.freeing import Freeing
from fastrelay.spool.held import Held
from fastrelay.spool.journal import Journal
from fastrelay.spool.journal_thread import ThreadedCommitter
from fastrelay.spool.landing import Landing
from fastrelay.spool.memory import Memory
from fastrelay.spool.pace import CALLER, THREADS
from fastrelay.spool.quarantine import Note, Quarantine
from fastrelay.spool.reading import Message, Reader, first_of
from fastrelay.spool.records import Records
from fastrelay.spool.recovery import LOST, Entry
from fastrelay.spool.register import Register
from fastrelay.spool.room import Room
from fastrelay.spool.slots import Slot
from fastrelay.spool.trip import Way

LINGER = 15.0  # seconds a body waits in memory for its first attempt; with a healthy site that begins at once
_SLOW = 50_000_000  # octets a second: what a disk takes that others write to as well
_PIECES = 2 * BLOCK  # octets in memory of a body that is sent from its file: as it is, and with its dots doubled
_TRIES = 3  # of a drain, on a disk that fails


class Store:
    """The spool of one claimed slot.

    note: writes a line to the event log. counts: spool_commit_seconds, spool_commit_messages, quarantined. threaded
    False: everything in the caller's thread, for a stopped spool and for tests.
    MisuseError: a newer format, or files we may not read. MachineShort: the disk does not answer.
    """

    def __init__(
        self,
        slot: Slot,
        spool: Spool,
        limits: Limits | None = None,
        *,
        disk: Disk | None = None,
        note: Note = lambda kind, **fields: None,
        counts: Counts | None = None,
        threaded: bool = True,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        limits = limits or Limits()
        disk = disk or Disk()
        durable = spool.durability != "os"  # also where new mail stays in memory: what is in the journal is safe
        self.slot = slot
        self._threaded = threaded
        self._wall = wall
        self._pace = pace = THREADS if threaded else CALLER
        found = backlog.look(disk, slot.path)
        self._register = Register()
        self._bodies = Bodies(disk, slot.path, pace.away, durable=durable)
        self._budget = Budget(limits.memory)
        self._room = Room(disk, slot.path, spool.min_free, clock.now)
        self._quarantine = Quarantine(disk, slot.path, note, counts)
        self._reader = Reader(disk, pace.away, self._bodies, self._quarantine, self._damaged)
        self._records = Records(self._register, self._forgotten, self._remove_bodies)
        journal = Journal(
            disk, slot.path, segment_size=spool.segment_size, durable=durable, number=found.highest, wall=wall
        )
        landing = Landing(self._register, self._records, self._room, self._reader.shelf, counts)
        self._committer: Committer = (
            ThreadedCommitter(journal, landing.settle, spool.completion_sync)
            if threaded
            else Committer(journal, landing.settle)
        )
        self._memory: Memory | None = None
        if spool.durability == "memory":
            self._memory = Memory(
                self._committer,
                register=self._register,
                records=self._records,
                bodies=self._bodies,
                budget=self._budget,
                inline_limit=spool.inline_limit,
            )
        way: Way = self._memory or self._committer
        self._records.way = way
        self._freeing = Freeing(
            slot.path,
            disk=disk,
            away=pace.away,
            rest=pace.rest,
            journal=journal,
            committer=self._committer,
            register=self._register,
            records=self._records,
            reader=self._reader,
            short=lambda: self._room.short or self._committer.failing is not None,
            freed=self._room.ask_again,
        )
        landing.closed = self._freeing.look
        self._entrance = Entrance(
            spool,
            limits,
            register=self._register,
            bodies=self._bodies,
            budget=self._budget,
            room=self._room,
            committer=self._committer,
            way=way,
            memory=self._memory,
            records=self._records,
            look=self._freeing.look,
        )
        self._fresh = self._entrance.fresh
        self._backlog = Backlog(
            slot,
            found,
            disk=disk,
            away=pace.away,
            rest=pace.rest,
            register=self._register,
            bodies=self._bodies,
            quarantine=self._quarantine,
            journal=journal,
            committer=self._committer,
            freeing=self._freeing,
        )

    # -- start ------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Settle the tail: after this `commit` works. Waits. MachineShort when the disk does not let us."""
        if self._threaded:
            self._freeing.start()
        self._backlog.recover()

    def load(self) -> Iterator[Entry]:
        """Then the backlog, message by message, to be read to its end. Waits; works in slices of 5 ms."""
        return self._backlog.load()

    def adopt(self, path: str | Path) -> Iterator[Entry]:
        """Take over the unowned slot at `path`; its mail, to be read to its end. Waits; works in slices of 5 ms.

        Nothing when somebody else was first. MisuseError: it is of a newer format, and left alone. MachineShort before
        the slot was taken over leaves it to others; after that its mail is safe here, and found at our next start.
        """
        return self._backlog.adopt(path)

    @property
    def progress(self) -> int:
        """Octets read by recovery and adoption so far: what a heartbeat may show."""
        return self._backlog.progress

    @property
    def newest(self) -> int:
        """Wall second of the newest frame found at the start, 0 when there was none."""
        return self._backlog.newest

    def renew(self, spool: Spool, limits: Limits) -> None:
        """A reload: min_free, inline_limit and [limits] are these from now on; the rest of [spool] is for a life."""
        self._entrance.renew(spool, limits)
        self._budget.renew(limits.memory)
        self._room.renew(spool.min_free)

    # -- the way in -------------------------------------------------------------------------------------------------

    def check_room(self, size: int = 0) -> None:
        """MachineShort 452 when a message of `size` octets (0 = unknown) should not be begun now."""
        self._entrance.check_room(size)

    def draft(self, size_hint: int = 0) -> Draft:
        """A place for content that does not come in one piece. size_hint: octets announced, 0 = unknown."""
        return self._entrance.draft(size_hint)

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
        self._entrance.commit(ident, envelope, prefix, content, records)

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
        if self._memory is not None:
            self._memory.forget(ident)
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

    def size(self, ident: bytes) -> int:
        """Octets of an open message, 0 when it is not here."""
        held = self._register.get(ident)
        return envelopes.size_of(held.envelope) if held is not None else 0

    def state(self, ident: bytes) -> State:
        """How its recipients stand. Impossible when the message is not here."""
        return self._records.state(self._records.known(ident))

    def read(self, ident: bytes) -> Message:
        """Envelope and octets. Waits unless they are in memory. SpoolDamaged; MachineShort when the disk fails, or when
        memory is short. What has `lent` octets is given back with `returned`."""
        fresh = self._fresh.get(ident)
        if fresh is not None:
            return fresh
        held = self._records.known(ident)
        if self._memory is not None and held.segment is self._memory.segment:
            return self._memory.read(ident, held)
        envelope = held.envelope
        octets = _PIECES if held.flags & FILE else held.length
        self._entrance.make_room(octets)
        self._budget.lend(octets)
        try:
            parts, size = self._reader.read(ident, held)
        except BaseException:
            self._budget.returned(octets)
            raise
        return Message(envelopes.decode(envelope), parts, size, octets)

    def returned(self, message: Message) -> None:
        """The delivery that it was read for is over: what was lent is free again. Once, where something was lent."""
        self._budget.returned(message.lent)
        if isinstance(message.parts, Filed):
            message.parts.close()

    def head(self, ident: bytes, most: int) -> bytes:
        """The first `most` octets. Waits unless they are in memory. SpoolDamaged; MachineShort when the disk fails.

        Holds no more than that and one piece, or an inline frame, in memory; nothing of it is lent.
        """
        fresh = self._fresh.get(ident)
        if fresh is not None:
            return first_of(fresh.parts, most)
        held = self._records.known(ident)
        if self._memory is not None and held.segment is self._memory.segment:
            return first_of(self._memory.read(ident, held).parts, most)
        return self._reader.head(ident, held, most)

    def release_body(self, ident: bytes) -> None:
        """The first attempt is over: from now on it is read from disk."""
        self._entrance.release(ident)

    def tick(self) -> None:
        """Once a second: bodies whose first attempt does not come soon leave memory; freeing looks. Never waits."""
        self._freeing.look()
        self._entrance.release_old(self._wall() - LINGER)

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
            "lent": self._budget.lent,
            "in_memory_alone": len(self._memory.frames) if self._memory is not None else 0,
            "fresh": len(self._fresh),
            "descriptors": len(self._reader.shelf),
            "quarantined": self._quarantine.count,
            **self._committer.statistics(),
        }

    def _damaged(self, ident: bytes, held: Held) -> None:
        if self._register.get(ident) is held:
            state = self._records.state(held)
            if not state.held and not state.ended:
                self.record(ident, State(state.version + 1, state.recipients, LOST))

    def _remove_bodies(self, paths: list[str]) -> None:
        if self._threaded:
            tasks.spawn(self._pace.away, self._bodies.remove, paths)
        else:
            self._bodies.remove(paths)

    # -- end --------------------------------------------------------------------------------------------------------

    def free_segments(self) -> None:
        """Free what is worth freeing now, in the caller's task: for a store without a task of its own. Waits."""
        self._freeing.free_all()

    @property
    def drain_seconds(self) -> float:
        """What `drain` may take on a slow disk: most of it for mail that is in memory alone."""
        return self._memory.octets / _SLOW if self._memory is not None else 0.0

    def drain(self) -> None:
        """Write and sync what rides and what is in memory alone, and seal; free no more. Waits. MachineShort when the
        disk does not let us, though it was asked three times, a second apart: mail in memory alone is lost then."""
        self._freeing.close()
        for _ in range(_TRIES - 1):
            try:
                return self._finish()
            except MachineShort:
                if self._threaded:
                    tasks.sleep(RETRY)
        self._finish()

    def _finish(self) -> None:
        if self._memory is not None:
            for ident in list(self._fresh):
                self.release_body(ident)
            self._memory.write_out(self._pace.rest)
        self._committer.finish()

    def close(self) -> None:
        """Nothing is written or read any more. Waits for the journal's thread. The slot stays the caller's."""
        self._freeing.close()
        self._committer.close()
        for segment in self._register.segments.values():
            self._reader.shelf.drop(segment)
