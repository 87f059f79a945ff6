"""What a server offers in its EHLO reply, as far as a client acts on it (RFC 5321 4.1.1.1).

Nothing here raises: a keyword that is unknown or badly written is one that was not offered.
"""

from collections.abc import Sequence

import msgspec


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What the peer offers.

    size: the largest message it takes in octets, 0 = it names no limit (RFC 1870). recipients: the most it takes in one
    transaction, mails: the most transactions in a session, 0 = it names no limit (RFC 9422 RCPTMAX and MAILMAX; our
    transactions have one recipient domain, which keeps every RCPTDOMAINMAX). auth: SASL mechanisms (RFC 4954 3).
    """

    pipelining: bool = False
    size_offered: bool = False
    size: int = 0
    eightbit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    recipients: int = 0
    mails: int = 0
    auth: tuple[str, ...] = ()
    dsn: bool = False


def parse_offer(lines: Sequence[str]) -> Offer:
    """Those of an EHLO reply's lines after the first; unknown keywords and unusable numbers are passed over."""
    offered: dict[str, str] = {}
    for line in lines:
        keyword, _, parameters = line.strip().partition(" ")
        offered[keyword.upper()] = parameters.strip()
    limits = dict(word.upper().partition("=")[::2] for word in offered.get("LIMITS", "").split())
    return Offer(
        pipelining="PIPELINING" in offered,
        size_offered="SIZE" in offered,
        size=_number(offered.get("SIZE", "")),
        eightbit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        starttls="STARTTLS" in offered,
        dsn="DSN" in offered,
        recipients=_number(limits.get("RCPTMAX", "")),
        mails=_number(limits.get("MAILMAX", "")),
        auth=tuple(offered.get("AUTH", "").upper().split()),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
