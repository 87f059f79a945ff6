"""Which software runs where: a few houses run nothing but their own, and some forms are written nowhere else.

Only what holds without exception in genuine mail stands here: a hop by outlook.com that is not Microsoft's, one by
google.com whose id is not Google's, an Exchange Online version or a Gmail id at somebody else's host.
"""

import re
from collections.abc import Iterator
from typing import Final

from fastrelay.trail import idents, names
from fastrelay.trail.finding import Check, Finding, finding
from fastrelay.trail.hop import Hop
from fastrelay.trail.networks import is_internal

_MICROSOFT: Final = ("microsoft", "mapi", "http", "smtpsvc", "internet mail service", "dav")
_ONLINE: Final = re.compile(r"15\.20\.\d{2,5}\.\d{1,3}\Z")
_GMAIL_TIMED: Final = re.compile(r"[0-9a-z][0-9a-z-]{3,60}\.\d{1,3}\.(?:\d{10,14}|\d{4}(?:\.\d\d){5})\Z")
_GMAIL: Final = ("mx.google.com", "gmr-mx.google.com", "smtp.gmail.com", "gmail.com")  # inside, Google runs others too
_OUTLOOK: Final = ("outlook.com", "exchangelabs.com")


def foreign(hop: Hop) -> Iterator[Finding]:
    """What of the hop cannot have been written there."""
    shape = idents.expected(hop)
    if shape is not None and hop.ident and not shape[0].match(hop.ident):
        yield finding(hop.number, Check.SHAPE, f"{shape[1]} writes no id like {_cut(hop.ident)}")
    if "postfix" in hop.software and "exim" in hop.software.replace("exim-", ""):
        yield finding(hop.number, Check.SHAPE, "Postfix and Exim at once")
    taker = hop.taker.claimed
    house, org = names.house(taker), names.organisation(taker)
    gmail = taker in _GMAIL or (org == "google.com" and taker.startswith("mail-"))
    if gmail and hop.ident and not idents.GMAIL.match(hop.ident):
        yield finding(hop.number, Check.PLACE, f"Google writes no id like {_cut(hop.ident)}")
    if (
        org in _OUTLOOK
        and hop.software
        and not any(word in hop.software for word in _MICROSOFT)
        and not _named_software(hop)
    ):
        yield finding(hop.number, Check.PLACE, f"{taker} runs Microsoft's software, not {_cut(hop.software)}")
    if (gmail or org in _OUTLOOK) and _named_software(hop):
        yield finding(hop.number, Check.PLACE, f"{org} does not run {_named_software(hop)}")
    if org and house != "microsoft" and _ONLINE.match(hop.ident) and "microsoft smtp server" in hop.software:
        yield finding(hop.number, Check.PLACE, f"{taker} says to be Exchange Online")
    if _GMAIL_TIMED.match(hop.ident) and ((org and house != "google") or _public(hop)):
        yield finding(hop.number, Check.PLACE, f"an id of Gmail at {taker or hop.taker.address}")


def _named_software(hop: Hop) -> str:
    shape = idents.expected(hop)
    return shape[1] if shape is not None and shape[1] != "Exchange" else ""


def _public(hop: Hop) -> bool:
    """Gmail writes "by 10.x" and "by 2002:a05:..." (10.5.x by 6to4) and no public address."""
    return not hop.taker.claimed and any(not is_internal(one) for one in hop.taker.addresses)


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
