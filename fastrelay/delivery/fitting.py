"""Does a message fit what a host takes: its size, its 8-bit octets, its addresses beyond ASCII.

Pure, asked before MAIL, so that a message that cannot be taken costs no dialogue and is told why in our own words.
Promises: a message is never sent larger than the peer's SIZE (RFC 1870 6), 8-bit content never where 8BITMIME was asked
for and is not offered (RFC 6152 3: convert or return; conversion is not done here, so it returns), addresses or headers
beyond ASCII never to a peer without SMTPUTF8 (RFC 6531 3.2). What only claims to need an extension goes through, and a
recipient beyond ASCII is no reason to refuse the others.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.mail.envelope import Envelope
from fastrelay.mail.reply import Reply
from fastrelay.smtp.offer import Offer

EIGHTBIT = "8BITMIME"
_HEADERS_END = b"\r\n\r\n"


class Misfit(NamedTuple):
    """reply: our 5xx for what the host would have to say. positions: the recipients it befalls."""

    reply: Reply
    positions: Sequence[int]


def misfit(
    offer: Offer, envelope: Envelope, recipients: Sequence[str], parts: Sequence[bytes], size: int, host: str
) -> Misfit | None:
    """None: the message fits for all of `recipients`. size: octets of all parts."""
    if 0 < offer.size < size:
        text = f"the message has {size} octets, {host} takes {offer.size}"
        return Misfit(Reply(552, "5.3.4", (text,)), range(len(recipients)))
    if envelope.body == EIGHTBIT and not offer.eightbit and not all(map(bytes.isascii, parts)):
        text = f"the message has 8-bit content, {host} takes none"
        return Misfit(Reply(554, "5.6.3", (text,)), range(len(recipients)))
    if envelope.smtputf8 and not offer.smtputf8:
        reply = Reply(553, "5.6.7", (f"the message has addresses beyond ASCII, {host} takes none",))
        if not envelope.sender.isascii() or not _header_is_ascii(parts):
            return Misfit(reply, range(len(recipients)))
        positions = [position for position, recipient in enumerate(recipients) if not recipient.isascii()]
        return Misfit(reply, positions) if positions else None
    return None


def _header_is_ascii(parts: Sequence[bytes]) -> bool:
    """The header block, which may end between two parts, holds ASCII alone; what comes behind it is not looked at."""
    tail = b""
    for part in parts:
        piece = tail + part
        header, end, _ = piece.partition(_HEADERS_END)
        if not header.isascii():
            return False
        if end:
            return True
        tail = piece[1 - len(_HEADERS_END) :]
    return True
