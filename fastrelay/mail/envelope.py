"""The envelope: who sent it, to whom, how it came in. An open map on disk, a struct in memory.

Stored as a MessagePack map; a release that does not know a key leaves the stored octets as they are (frames are copied
whole, never re-encoded), so keys of a later release survive an older one (SPOOL.md, Frames).
"""

import msgspec

from fastrelay.mail.address import domain_of


class Recipient(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One forward path with its DSN parameters (RFC 3461): NOTIFY in capitals, ORCPT as sent ("" = none)."""

    address: str
    notify: str = ""
    orcpt: str = ""

    @property
    def domain(self) -> str:
        """The domain this recipient is routed and grouped by."""
        return domain_of(self.address)


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Everything known about a message but its octets.

    sender: reverse path, "" = null sender.   recipients: at least one, in the order received.
    created: wall seconds when the final dot arrived.   client: peer address as text ("" = made by ourselves).
    helo: the name the client claimed.   user: who authenticated ("" = nobody).   body: "7BIT" | "8BITMIME".
    smtputf8: RFC 6531 was asked for.   ret, envid: DSN parameters (RFC 3461), "" = not given.
    session: id of the receiving session, for the event log.   size: octets of prefix + content.
    arriving: seconds from 354 to the final dot, for the event log.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    created: float
    client: str = ""
    helo: str = ""
    user: str = ""
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    session: str = ""
    size: int = 0
    arriving: float = 0.0


class _Sized(msgspec.Struct, gc=False):
    size: int = 0


_sizer = msgspec.msgpack.Decoder(_Sized)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_room = bytearray()


def encode(envelope: Envelope) -> bytes:
    """MessagePack octets of the open map, in no more memory than they need, for they are kept as long as the message.

    By itself the encoder's buffer grows by halves and is handed out uncut: 276 octets for 180 (0.1 us saved).
    """
    _encoder.encode_into(envelope, _room)
    return bytes(_room)


def size_of(octets: bytes) -> int:
    """Its `size` alone: what else is known is passed over, a quarter of the time of `decode`."""
    return _sizer.decode(octets).size


def decode(octets: bytes) -> Envelope:
    """The envelope behind stored octets; unknown keys are passed over. msgspec.DecodeError when it is not one."""
    return _decoder.decode(octets)
