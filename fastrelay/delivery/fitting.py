"""Does a message fit what a host takes: its size, its 8-bit octets, its addresses beyond ASCII.

Pure, asked before MAIL, so that a message that cannot be taken costs no dialogue and is told why in our own words.
Promises: a message is never sent larger than the peer's SIZE (RFC 1870 6), 8-bit content never where 8BITMIME was asked
for and is not offered (RFC 6152 3: convert or return; conversion is not done here, so it returns), addresses or headers
beyond ASCII never to a peer without SMTPUTF8 (RFC 6531 3.2). What only claims to need an extension goes through.
"""

from collections.abc import Sequence

from fastrelay.mail.envelope import Envelope
from fastrelay.mail.reply import Reply
from fastrelay.smtp.offer import Offer

EIGHTBIT = "8BITMIME"
_HEADERS_END = b"\r\n\r\n"


def misfit(
    offer: Offer, envelope: Envelope, recipients: Sequence[str], parts: Sequence[bytes], size: int, host: str
) -> Reply | None:
    """Our 5xx for what the host would have to say to MAIL; None: it fits. size: octets of all parts."""
    if 0 < offer.size < size:
        text = f"the message has {size} octets, {host} takes {offer.size}"
        return Reply(552, "5.3.4", (text,))
    if envelope.body == EIGHTBIT and not offer.eightbit and not all(map(bytes.isascii, parts)):
        return Reply(554, "5.6.3", (f"the message has 8-bit content, {host} takes none",))
    if envelope.smtputf8 and not offer.smtputf8 and not _is_ascii(envelope.sender, recipients, parts):
        return Reply(553, "5.6.7", (f"the message has addresses beyond ASCII, {host} takes none",))
    return None


def _is_ascii(sender: str, recipients: Sequence[str], parts: Sequence[bytes]) -> bool:
    """Sender, recipients and header block hold nothing beyond ASCII."""
    if not sender.isascii() or not all(map(str.isascii, recipients)):
        return False
    for position, part in enumerate(parts):
        end = part.find(_HEADERS_END)
        if end >= 0:
            return part[:end].isascii() and all(map(bytes.isascii, parts[:position]))
    return all(map(bytes.isascii, parts))
