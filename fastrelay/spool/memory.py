"""Mail that is in memory alone: `spool.durability = "memory"`.

A second place for new mail behind the same verbs. A message is committed here without a write, is known, read, recorded
and forgotten like any other, and is lost when the worker dies without an orderly stop, with what was recorded of it.

Promises:
- An orderly stop loses nothing: `write_out` puts every message, with its state, into the journal, synced.
- Bounded: all of it counts against `[limits] memory`, and takes at most half of that; the other half is for mail in
  reception and on its way out. Beyond, new mail goes through the journal as with "fsync": slower, not refused. The same
  holds for a content that began to go to a file because memory was tight.
- What is in the journal (mail of an earlier life, of a slot taken over, of tight times) is as safe as with "fsync":
  its records are written and synced as ever, and a batch with such records waits for them.
"""

from collections.abc import Callable

from fastrelay.errors import MachineShort
from fastrelay.mail import envelope as envelopes
from fastrelay.runtime import clock
from fastrelay.spool.bodies import Bodies, Draft
from fastrelay.spool.budget import Budget
from fastrelay.spool.committer import Committer
from fastrelay.spool.format import FILE, MAX_BATCH, MESSAGE, segment_header
from fastrelay.spool.forward import merged
from fastrelay.spool.frames import Frame
from fastrelay.spool.held import Held, held_from
from fastrelay.spool.reading import Message
from fastrelay.spool.records import Records
from fastrelay.spool.register import Register
from fastrelay.spool.segment import Segment
from fastrelay.spool.trip import Arrival, Group, Way

EACH = 1024  # octets a message takes beside its content: prefix, frame, its entries (measured 0.75 KB)
_SHARE = 0.5  # of [limits] memory
_BATCH_FRAMES = 256
_PATIENCE = 1.0  # seconds to wait for a batch under way that concerns a message here


class Memory(Way):
    """frames: messages that are nowhere else, by id. segment: where the register says they lie. octets: of all."""

    __slots__ = (
        "_bodies",
        "_budget",
        "_committer",
        "_inline_limit",
        "_leaving",
        "_records",
        "_register",
        "frames",
        "octets",
        "segment",
    )

    def __init__(
        self,
        committer: Committer,
        *,
        register: Register,
        records: Records,
        bodies: Bodies,
        budget: Budget,
        inline_limit: int,
    ) -> None:
        self._committer = committer
        self._register = register
        self._records = records
        self._bodies = bodies
        self._budget = budget
        self._inline_limit = inline_limit
        self.frames: dict[bytes, Frame] = {}
        self._leaving = False  # an orderly stop: what comes now goes into the journal
        self.octets = 0
        self.segment = Segment(segment_header(0, bytes(16), 0.0), "", 0, "memory")

    def submit(self, group: Group) -> None:
        """Take a new message, or have it written where memory is tight; write the records of what is in the journal.

        Waits only for the journal. What it raises leaves everything as it was.
        """
        frames = group.frames
        message = frames[0] if isinstance(group, Arrival) else None
        others = [frame for frame in frames if frame is not message and frame.ident not in self.frames]
        if message is not None and (message.flags & FILE or self._leaving or self._is_full):
            self._committer.submit(Arrival([message, *others]))
            return
        if others:
            self._committer.submit(Group(others))
        if message is not None:
            message.segment = self.segment
            message.length = message.octets
            self.frames[message.ident] = message
            self.octets += message.content_size + EACH
            self._budget.take(EACH)  # the content was taken by whoever committed it
            self._register.add(message.ident, held_from(message))

    @property
    def _is_full(self) -> bool:
        return self.octets > self._budget.limit * _SHARE or self._budget.tight

    def ride(self, record: Frame) -> None:
        """Of a message here nothing is written: its state is in the register."""
        if record.ident not in self.frames:
            self._committer.ride(record)

    def read(self, ident: bytes, held: Held) -> Message:
        """Envelope and octets of a message here."""
        frame = self.frames[ident]
        size = len(frame.prefix) + frame.content_size
        return Message(envelopes.decode(held.envelope), [frame.prefix, *frame.content], size)

    def forget(self, ident: bytes) -> None:
        """It has ended, or is in the journal now. Harmless when it was not here."""
        frame = self.frames.pop(ident, None)
        if frame is not None:
            self.octets -= frame.content_size + EACH
            self._budget.give(frame.content_size + EACH)

    def write_out(self, rest: Callable[[], None]) -> None:
        """Everything into the journal, synced, and from now on nothing else here. Waits; rest() gives others a turn.

        MachineShort when the disk does not let us: what was not written is still here.
        """
        self._leaving = True
        moved = clock.now()
        while self.frames:
            some = self._some()
            if some:
                self._write(some)
                moved = clock.now()
            elif clock.now() - moved > _PATIENCE:
                raise MachineShort("Temporary failure while storing messages", code=451, enhanced="4.3.0")
            else:
                rest()

    def _some(self) -> list[bytes]:
        """A batch of what is not in flight."""
        some: list[bytes] = []
        octets = 0
        for ident, frame in self.frames.items():
            if self._records.is_in_flight(ident):
                continue
            octets += frame.octets
            if (some and octets > MAX_BATCH) or len(some) == _BATCH_FRAMES:
                break
            some.append(ident)
        return some

    def _write(self, some: list[bytes]) -> None:
        for ident in some:
            self._records.take_off(ident)
        try:
            frames = [self._as_written(self.frames[ident]) for ident in some]
            self._committer.submit(Group(frames))
            for frame in frames:
                self._register.move(frame.ident, frame)
                self._held(frame.ident).flags = frame.flags
                self.forget(frame.ident)
        finally:
            for ident in some:
                self._records.landed(ident)

    def _held(self, ident: bytes) -> Held:
        held = self._register.get(ident)
        assert held is not None, "in flight, so nobody has forgotten it"
        return held

    def _as_written(self, kept: Frame) -> Frame:
        """The frame for the journal; a content too large for it goes to its file first. MachineShort."""
        held = self._held(kept.ident)
        frame = Frame(
            MESSAGE, kept.ident, held.envelope, b"", 0, kept.prefix, kept.content, kept.content_size, kept.content_crc
        )
        if kept.content_size > self._inline_limit:
            draft = Draft(self._bodies, self._budget, 0, to_file=True)
            try:
                for part in kept.content:
                    draft.write(part)
                draft.keep(kept.ident)
            except BaseException:
                draft.discard()
                raise
            frame.content, frame.content_crc, frame.flags = (), draft.content_crc, FILE
        return merged(frame, kept.ident, held)
