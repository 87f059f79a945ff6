"""Does a message fit what a host takes: its size, its 8-bit octets, its addresses beyond ASCII? Can it be made to?

Pure, asked before MAIL, so that a message that cannot be taken costs no dialogue and is told why in our own words.
Promises
- Never larger than the peer's SIZE (RFC 1870 6.1): 5.3.4.
- 8-bit content that was declared never where 8BITMIME is not offered (RFC 6152 3), as [delivery] without_8bitmime says:
  converted (downgrade.py), or 5.6.3. What was not declared goes out as it came in: its sender knows his host.
- Addresses or headers beyond ASCII never to a peer without SMTPUTF8 (RFC 6531 3.2): 5.6.7, but for those recipients
  alone that need it. A domain has an ASCII form, which means the same and is used; a local part has none.
- What only claims to need an extension goes through.
No other host of the domain is asked then: the hosts of one domain serve the same mailboxes by the same rules, and those
we compared with (Postfix) return such mail at once too.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.config import Delivery
from fastrelay.delivery.downgrade import Unconvertible, to_seven_bits
from fastrelay.mail.address import domain_of
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.reply import Reply
from fastrelay.smtp.offer import Offer

EIGHTBIT = "8BITMIME"
_HEADERS_END = b"\r\n\r\n"


class Misfit(NamedTuple):
    """reply: our 5xx for what the host would have to say. positions: the recipients it befalls."""

    reply: Reply
    positions: Sequence[int]


class Fitted(NamedTuple):
    """What to send instead. converted: the content is not what came in."""

    sender: str
    recipients: Sequence[str]
    parts: Sequence[bytes]
    size: int
    converted: bool


def fit(
    offer: Offer,
    envelope: Envelope,
    recipients: Sequence[str],
    parts: Sequence[bytes],
    size: int,
    host: str,
    settings: Delivery,
) -> Misfit | Fitted | None:
    """None: the message fits for all of `recipients` as it is. size: octets of all parts."""
    if 0 < offer.size < size:
        return _too_large(size, offer, host, recipients)
    sender = envelope.sender
    if envelope.smtputf8 and not offer.smtputf8:
        sender, recipients = _in_ascii(sender), [_in_ascii(recipient) for recipient in recipients]
        reply = Reply(553, "5.6.7", (f"the message has addresses beyond ASCII, {host} takes none",))
        if not sender.isascii() or not _header_is_ascii(parts):
            return Misfit(reply, range(len(recipients)))
        positions = [position for position, recipient in enumerate(recipients) if not recipient.isascii()]
        if positions:
            return Misfit(reply, positions)
    if envelope.body != EIGHTBIT or offer.eightbit or settings.without_8bitmime == "send" or _are_ascii(parts):
        if not envelope.smtputf8 or offer.smtputf8:
            return None
        return Fitted(sender, recipients, parts, size, False)
    text = f"the message has 8-bit content, {host} takes none"
    if settings.without_8bitmime == "convert":
        try:
            converted = to_seven_bits(b"".join(parts))
        except Unconvertible as why:
            text += f"; it cannot be converted: {why}"
        else:
            if 0 < offer.size < len(converted):
                return _too_large(len(converted), offer, host, recipients)
            return Fitted(sender, recipients, (converted,), len(converted), True)
    return Misfit(Reply(554, "5.6.3", (text,)), range(len(recipients)))


def _too_large(size: int, offer: Offer, host: str, recipients: Sequence[str]) -> Misfit:
    text = f"the message has {size} octets, {host} takes {offer.size}"
    return Misfit(Reply(552, "5.3.4", (text,)), range(len(recipients)))


def _in_ascii(address: str) -> str:
    """The same address with its domain as A-labels, where that makes it ASCII."""
    if address.isascii():
        return address
    local = address.rpartition("@")[0]
    return f"{local}@{domain_of(address)}" if local.isascii() else address


def _are_ascii(parts: Sequence[bytes]) -> bool:
    return all(map(bytes.isascii, parts))


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
