"""What has become of each recipient so far: the body of an UPDATE frame. The newest version wins.

A message nobody has tried yet has no state: every recipient is open, due at once. A recipient that has ended takes one
octet; one that waits carries its attempts, next time and the last word of the peer. Full states, not differences: the
newest UPDATE alone is needed, whatever else was freed.
"""

import enum

import msgspec

DELAY_TOLD = 1  # bit of Waiting.notices: the delay notice was sent
LAST_REPLY_LIMIT = 512  # octets of reply text kept per open recipient; DSNs and `queue show` need no more


class Status(enum.IntEnum):
    """How a recipient stands. Only OPEN has a next event; the others are ends."""

    OPEN = 0
    DELIVERED = 1
    FAILED = 2  # permanent reply or rule: bounced (or dropped, for a null sender)
    EXPIRED = 3
    REMOVED = 4  # by an operator


class Waiting(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """An open recipient: attempts made, wall time of the next one, last reply or reason as one line of text.

    notices: bits, DELAY_TOLD.
    """

    attempts: int = 0
    due: float = 0.0
    reply: str = ""
    notices: int = 0


class State(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """version grows by one with every change. recipients: a Status value (ended) or Waiting, in envelope order.

    held: "" = not held, else the reason an operator (or the crash guard) gave; a held message has no next attempt but
    still expires.
    """

    version: int
    recipients: tuple[int | Waiting, ...]
    held: str = ""

    @property
    def ended(self) -> bool:
        """True when no recipient is open: the message may be forgotten."""
        return not any(isinstance(r, Waiting) for r in self.recipients)


def untouched(count: int, created: float) -> State:
    """The state a message has before anyone tried it."""
    return State(0, (Waiting(0, created),) * count)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    """MessagePack octets for an UPDATE frame."""
    return _encoder.encode(state)


def decode(octets: bytes) -> State:
    """The state behind stored octets. msgspec.DecodeError when it is not one."""
    return _decoder.decode(octets)
