"""The way in: is there room, a draft for the content, the commit; and the bodies that wait for their first attempt.

Promises: `commit` returns when the message and the records that belong to it are on stable storage, in one batch, and
raises MachineShort when they are not and will not be. Bodies are in the budget from the first octet until they leave
memory. While memory is tight, committed ones are read back from disk: that costs less than refusing new mail.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from fastrelay.config import Limits, Spool
from fastrelay.errors import MachineShort
from fastrelay.mail import envelope as envelopes
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.ident import born
from fastrelay.mail.state import State
from fastrelay.spool.bodies import Bodies, Draft
from fastrelay.spool.budget import Budget
from fastrelay.spool.committer import Committer
from fastrelay.spool.format import FILE, MESSAGE
from fastrelay.spool.frames import Frame
from fastrelay.spool.memory import Memory
from fastrelay.spool.reading import Message
from fastrelay.spool.records import Records
from fastrelay.spool.register import Register
from fastrelay.spool.room import Room
from fastrelay.spool.trip import Arrival, Way

_LEAVE = 50_000  # bodies let go of in one tick, 0.3 us each


class Entrance:
    """Of one store. fresh: bodies not yet tried once, by id. look(): called where space is short.

    way: where new mail goes. memory: the same, where mail stays in memory; None else.
    """

    __slots__ = (
        "_bodies",
        "_budget",
        "_committer",
        "_inline_limit",
        "_kept",
        "_look",
        "_memory",
        "_most",
        "_records",
        "_register",
        "_room",
        "_way",
        "fresh",
    )

    def __init__(
        self,
        spool: Spool,
        limits: Limits,
        *,
        register: Register,
        bodies: Bodies,
        budget: Budget,
        room: Room,
        committer: Committer,
        way: Way,
        memory: Memory | None,
        records: Records,
        look: Callable[[], None],
    ) -> None:
        self._register = register
        self._bodies = bodies
        self._budget = budget
        self._room = room
        self._committer = committer
        self._way = way
        self._memory = memory
        self._kept: dict[bytes, Frame] = memory.frames if memory is not None else {}  # in the budget until they end
        self._records = records
        self._look = look
        self.fresh: dict[bytes, Message] = {}
        self.renew(spool, limits)

    def renew(self, spool: Spool, limits: Limits) -> None:
        """As these say from now on, in all that needs no other journal."""
        self._inline_limit = spool.inline_limit if self._memory is None else sys.maxsize
        self._most = limits.max_queue_messages

    def check_room(self, size: int = 0) -> None:
        """MachineShort 452 when a message of `size` octets (0 = unknown) should not be begun now."""
        failing = self._committer.failing
        if failing is not None:
            raise MachineShort("Insufficient system storage", detail=str(failing))
        if len(self._register) >= self._most:
            raise MachineShort("Too many messages queued, try again later", detail=f"{len(self._register)} messages")
        self._budget.check()
        try:
            self._room.check(size if self._memory is None else size + self._memory.octets)  # an orderly stop writes it
        except MachineShort:
            self._look()
            raise

    def draft(self, size_hint: int = 0) -> Draft:
        """A place for content that does not come in one piece. size_hint: octets announced, 0 = unknown."""
        limit = self._inline_limit
        return Draft(self._bodies, self._budget, limit, to_file=size_hint > limit or self._budget.tight)

    def commit(
        self,
        ident: bytes,
        envelope: Envelope,
        prefix: bytes,
        content: bytes | Draft,
        records: Sequence[tuple[bytes, State]],
    ) -> None:
        """Message and records in one batch. Waits. MachineShort: a draft not taken is the caller's to discard."""
        if isinstance(content, bytes):
            if len(content) <= self._inline_limit:
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
            frame = Frame(MESSAGE, ident, envelopes.encode(envelope), b"", 0, prefix, content, size)
            if records:
                self._records.submit(frame, records)
            else:
                self._way.submit(Arrival((frame,)))
        except BaseException:
            self._budget.give(size)
            raise
        fresh = self.fresh
        fresh[ident] = Message(envelope, [prefix, *content], total)
        while self._budget.tight and fresh:  # they are on disk: reading one back costs less than refusing new mail
            self.release(next(iter(fresh)))

    def _commit_file(
        self, ident: bytes, envelope: Envelope, prefix: bytes, draft: Draft, records: Sequence[tuple[bytes, State]]
    ) -> None:
        if not envelope.size:
            envelope = _sized(envelope, draft.size + len(prefix))
        draft.keep(ident)
        octets = envelopes.encode(envelope)
        frame = Frame(MESSAGE, ident, octets, b"", 0, prefix, (), draft.size, draft.content_crc, 0, FILE)
        if records:
            self._records.submit(frame, records)
        else:
            self._way.submit(Arrival((frame,)))
        draft.committed()

    def make_room(self, octets: int) -> None:
        """Let go of bodies that wait for their first attempt until so many octets fit, or none is left."""
        while self.fresh and self._budget.crowds(octets):
            self.release(next(iter(self.fresh)))

    def release(self, ident: bytes) -> None:
        """Its body leaves memory, if it is there."""
        fresh = self.fresh.pop(ident, None)
        if fresh is not None and ident not in self._kept:
            self._budget.give(fresh.size - len(fresh.parts[0]))

    def release_old(self, born_before: float) -> None:
        """Bodies whose first attempt does not come soon (a site that is down) leave memory. Wall seconds."""
        for ident in list(islice(self.fresh, _LEAVE)):
            if born(ident) > born_before:
                break
            self.release(ident)


def _sized(envelope: Envelope, size: int) -> Envelope:
    return msgspec.structs.replace(envelope, size=size)
