"""Do host name and address of each pair agree, is HELO a borrowed one? Without DNS by their looks, with it by asking.

Without: HELO that is the receiver's own name or address from a stranger; HELO of a house whose hosts always have names
of the house, from a host with another name; a name that spells an address ("74-93-104-97.example.net") other than the
hop's; an address no host can have. With DNS, for mail young enough that DNS may still say what it said then: the name's
addresses, and the address's name.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from fastrelay.trail import names
from fastrelay.trail.finding import Check, Finding, finding
from fastrelay.trail.hop import Address, Hop, Leap
from fastrelay.trail.lookup import Lookup
from fastrelay.trail.networks import address, akin, is_internal, is_nowhere

_QUAD: Final = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_SPELLED: Final = re.compile(r"(?<![\da-z])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![\da-z])")
_PROUD: Final = frozenset(("google", "microsoft", "yahoo", "apple", "amazon", "fastmail", "sendgrid"))
_WITH_AUTH: Final = ("ESMTPA", "ESMTPSA", "LMTPA", "LMTPSA")  # RFC 3848
_SIGNED: Final = (  # the last three are qmail's
    "(authenticated",
    "(auth:",
    "(auth=",
    " auth=",
    "with login)",
    "with plain)",
    "with cram-md5)",
)
YOUNG: Final = 30 * 86400.0  # seconds after which DNS proves nothing about a name: leases and hosters change


def pair(hop: Hop, before: Hop | None = None) -> Iterator[Finding]:
    """What the pair of one hop says without DNS. before: the hop before it, whose host may be the receiver itself."""
    sender = hop.sender
    yield from _impossible(hop)
    if sender.forged_note:
        yield finding(hop.number, Check.SPOKEN, "the server itself notes: may be forged")
    if hop.leap is not Leap.NETWORK:
        return
    outside = any(not is_internal(one) for one in sender.addresses)
    if outside and _is_receiver(hop) and not _was_there(hop, before) and not signed_in(hop):
        yield finding(hop.number, Check.HELO_SELF, f"HELO {sender.claimed} is the receiver's own, from {_who(hop)}")
    house = names.house(sender.claimed)
    if (
        outside
        and house in _PROUD
        and not signed_in(hop)
        and sender.name
        and names.house(sender.name) != house
        and names.organisation(sender.name)
    ):
        yield finding(hop.number, Check.BORROWED, f"HELO {sender.claimed}, but it is {sender.name}")
    spelled = _spelled(sender.name) if sender.address is not None and sender.address.version == 4 and outside else None
    if spelled is not None and not any(one in sender.addresses or akin(one, sender.addresses[0]) for one in spelled):
        yield finding(hop.number, Check.NAME_ADDRESS, f"{sender.name} is not the name of {sender.address}")


def _was_there(hop: Hop, before: Hop | None) -> bool:
    """The message was with the receiver's house before: it hands to itself."""
    houses = {names.house(name) for name in hop.taker.names}
    return before is not None and any(names.house(name) in houses for name in before.taker.names)


def signed_in(hop: Hop) -> bool:
    """The client proved who it is by AUTH: a mail program may say anything in HELO."""
    return hop.protocol.upper() in _WITH_AUTH or any(words in hop.text.lower() for words in _SIGNED)


def _is_receiver(hop: Hop) -> bool:
    sender, taker = hop.sender, hop.taker
    claimed = sender.claimed
    if not claimed or claimed == sender.name or set(sender.addresses) & set(taker.addresses):
        return False
    if claimed.startswith("["):
        return any(address(claimed) == one for one in taker.addresses if not is_internal(one))
    if claimed not in taker.names or not names.organisation(claimed):
        return False
    return not sender.name or names.house(sender.name) != names.house(claimed)


def _impossible(hop: Hop) -> Iterator[Finding]:
    for one in (*hop.sender.addresses, *hop.taker.addresses):
        if is_nowhere(one):
            yield finding(hop.number, Check.ADDRESS, f"no host has the address {one}")
            return
    for found in _QUAD.finditer(hop.text.partition(" by ")[0][:600]):
        numbers = [int(part) for part in found.groups()]
        before = hop.text[max(0, found.start() - 1) : found.start()]
        if max(numbers) > 255 and before in ("[", "(", " "):
            yield finding(hop.number, Check.ADDRESS, f"{found[0]} is no address")
            return


def _spelled(name: str) -> tuple[Address, ...] | None:
    """The address that a name spells in four numbers next to one another, in both orders; None for other names."""
    label_part = name[: len(name) - len(names.organisation(name))]
    found = _SPELLED.search(label_part)
    numbers = [int(part) for part in found.groups()] if found else [256]
    if max(numbers) > 255 or numbers[0] == 0 or numbers[3] == 0:
        return None
    forward = address(".".join(map(str, numbers)))
    backward = address(".".join(map(str, reversed(numbers))))
    if forward is None or backward is None:
        return None
    return forward, backward


def inward(chain: Sequence[Hop]) -> Iterator[Finding]:
    """A private client right after a public host of another house: who put the message into that network?"""
    for before, hop in pairwise(chain):
        if is_inward(before, hop):
            why = f"from {hop.sender.addresses[0]} inside, but {before.taker.claimed} had it"
            yield finding(hop.number, Check.INWARD, why)


def is_inward(before: Hop, hop: Hop) -> bool:
    """See inward."""
    addresses = hop.sender.addresses
    if hop.leap is not Leap.NETWORK or not addresses or not before.taker.claimed:
        return False
    if any(one.is_loopback or not is_internal(one) for one in addresses):
        return False
    older, newer = names.house(before.taker.claimed), names.house(hop.taker.claimed)
    return bool(older and newer) and older != newer and older not in {names.house(name) for name in hop.sender.names}


def by_dns(hop: Hop, lookup: Lookup, now: float) -> Iterator[Finding]:
    """What DNS says of the pair. May wait."""
    sender = hop.sender
    if hop.leap is not Leap.NETWORK or sender.address is None or is_internal(sender.address):
        return
    if hop.moment is None or not -86400.0 < now - hop.moment.at < YOUNG:
        return
    if sender.name and names.organisation(sender.name) and sender.name != sender.claimed:
        addresses = lookup.addresses(sender.name)
        if sender.address not in addresses:
            says = "does not exist" if not addresses else f"is {addresses[0]}"
            yield finding(hop.number, Check.NO_NAME, f"DNS: {sender.name} {says}, not {sender.address}")
    house = names.house(sender.claimed)
    if house in _PROUD and not sender.name and names.house(lookup.name(sender.address)) != house:
        yield finding(
            hop.number, Check.BORROWED, f"HELO {sender.claimed}, but DNS does not know {sender.address} as such"
        )


def _who(hop: Hop) -> str:
    return hop.sender.name or str(hop.sender.address)
