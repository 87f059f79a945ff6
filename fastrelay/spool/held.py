"""One open message as the register keeps it: where its newest copy lies, what it is, how it stands.

Out of the cycle collector's sight and mutable: a move or a record changes it in place.
"""

from typing import Any

import msgspec

from fastrelay.spool.frames import Frame

LENGTH = (1 << 32) - 1


class Held(msgspec.Struct, gc=False):
    """One open message. where: offset << 32 | length of its newest MESSAGE frame in `segment`.

    envelope, state: as stored (state b"" = nobody has tried it). copy, flags: of that frame.
    """

    segment: Any  # Segment: msgspec has no use for the type
    where: int
    envelope: bytes
    state: bytes
    copy: int = 0
    flags: int = 0

    @property
    def offset(self) -> int:
        """Where the frame begins in its segment."""
        return self.where >> 32

    @property
    def length(self) -> int:
        """Its octets, padding included."""
        return self.where & LENGTH


def place(offset: int, length: int) -> int:
    """The `where` of a Held."""
    return offset << 32 | length


def held_from(frame: Frame) -> Held:
    """A frame that was written, as the register keeps it."""
    return Held(frame.segment, frame.offset << 32 | frame.length, frame.envelope, frame.state, frame.copy, frame.flags)
