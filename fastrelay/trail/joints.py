"""Does `by` of one hop agree with `from` of the next? Each joint of the chain gets a Bond and the reason in words.

A comparison of names alone breaks on 16 % of genuine chains: a server takes mail under one name and address and
sends under others, hands it to itself through a filter, is known inside by a name nobody else knows, or belongs to a
house with many domains. So a joint is compared by every name and address both fields bear, by organisation and known
houses, by the network, and with DNS where it may be asked; what cannot be compared (a side names nobody, or something
only its own network knows) is open, and only what could agree and does not is broken.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.trail import names
from fastrelay.trail.hop import Address, Hop, Leap, Party
from fastrelay.trail.lookup import Lookup
from fastrelay.trail.networks import akin, is_internal, near


class Bond(enum.Enum):
    """How the two sides of a joint stand to one another, best first."""

    SAME = "same"  # one host: by name or address
    KIN = "kin"  # one organisation or house
    OPEN = "open"  # nothing that could be compared
    FAINT = "faint"  # the next one is known by an address alone, which without DNS may be anybody's
    CLAIM = "claim"  # only what the client claimed agrees; what the server saw of it is of somebody else
    BROKEN = "broken"


class Joint(NamedTuple):
    """Between hop `older` and hop `newer` (indices in the chain)."""

    older: int
    newer: int
    bond: Bond
    why: str


def joints(chain: Sequence[Hop], lookup: Lookup | None = None) -> list[Joint]:
    """All joints, oldest first. A hop that names neither side is looked through: its neighbours are compared."""
    out: list[Joint] = []
    last = -1
    for place, hop in enumerate(chain):
        if not hop.sender.names and not hop.taker.names and not hop.sender.addresses and not hop.taker.addresses:
            continue
        if last >= 0:
            bond, why = meet(chain[last], hop, lookup)
            out.append(Joint(last, place, bond, why))
        last = place
    return out


def meet(older: Hop, newer: Hop, lookup: Lookup | None = None) -> tuple[Bond, str]:
    """The bond of two hops next to one another."""
    if newer.leap is Leap.LOCAL and newer.sender.names and newer.protocol.lower().startswith(("imap", "pop", "http")):
        return Bond.OPEN, "fetched from a mailbox"
    taker = older.taker
    if "amavis" in newer.software and set(taker.names) & set(newer.taker.names):
        return Bond.SAME, "a content filter of the host itself"
    if newer.leap is Leap.NETWORK:
        return compare(taker, newer.sender, lookup, newer.taker)
    bond, why = compare(taker, newer.taker, lookup)
    if bond in (Bond.BROKEN, Bond.FAINT):
        return Bond.OPEN, "it does not say who handed it over" if newer.leap is Leap.UNKNOWN else "sent anew from there"
    return bond, why


def compare(taker: Party, sender: Party, lookup: Lookup | None = None, host: Party | None = None) -> tuple[Bond, str]:
    """`taker` had the message; is `sender` the same? host: who tells of `sender`."""
    if not taker.names and not taker.addresses:
        return Bond.OPEN, "the hop before does not say who took it"
    if not sender.names and not sender.addresses:
        return Bond.OPEN, "it does not say who handed it over"
    common = set(taker.addresses) & set(sender.addresses)
    if common:
        return Bond.SAME, f"by address {common.pop()}"
    proven, claimed = _kinship(taker, sender.name), _kinship(taker, sender.claimed)
    if proven[0] is Bond.SAME or (claimed[0] is Bond.SAME and not _contradicted(taker, sender)):
        return Bond.SAME, (proven if proven[0] is Bond.SAME else claimed)[1]
    if proven[0] is Bond.KIN:
        return proven
    if claimed[0] in (Bond.SAME, Bond.KIN):
        if not _contradicted(taker, sender) or by_dns(taker, sender, lookup):
            return claimed
        return Bond.CLAIM, f"only its HELO agrees: it was seen as {sender.name or sender.address}"
    return _strangers(taker, sender, lookup, host)


def _kinship(taker: Party, name: str) -> tuple[Bond, str]:
    if not name:
        return Bond.OPEN, ""
    for mine in taker.names:
        if mine == name:
            return Bond.SAME, f"by name {name}"
        if names.house(mine) and names.house(mine) == names.house(name):
            return Bond.KIN, f"by organisation {names.organisation(mine)}"
        if names.first_label(mine) == name or names.first_label(name) == mine:
            return Bond.SAME, f"by name {name}"
    return Bond.BROKEN, ""


def _contradicted(taker: Party, sender: Party) -> bool:
    """What the server saw of the client speaks against its claim: a verified name of another organisation, no kin to
    it, at a public address. The address alone says nothing: many servers have no name there."""
    if not sender.name or names.is_internal(sender.name) or any(is_internal(one) for one in sender.addresses):
        return False
    if sender.name == sender.claimed or names.house(sender.name) == names.house(sender.claimed):
        return False
    return bool(names.organisation(sender.claimed) or sender.claimed.startswith("["))


def _strangers(taker: Party, sender: Party, lookup: Lookup | None, host: Party | None) -> tuple[Bond, str]:
    """No name or address agrees: does anything explain it?"""
    if any(near(one, other) for one in taker.addresses for other in sender.addresses):
        return Bond.KIN, "by network"
    if host is not None and any(one.is_loopback for one in sender.addresses):
        mine = {names.house(one) for one in taker.names} - {""}
        theirs_too = {names.house(one) for one in (*host.names, *sender.names)} - {""}
        if mine and theirs_too and not mine & theirs_too:
            return (
                Bond.FAINT,
                f"{taker.names[0]} had it, {host.names[0] if host.names else sender.names[0]} took it from itself",
            )
    if any(is_internal(one) for one in sender.addresses):
        if not taker.names or any(
            names.house(one) == names.house(other) or names.is_internal(one)
            for one in taker.names
            for other in (*(host.names if host else ()), *sender.names)
        ):
            return Bond.KIN, "inside one network"
        return Bond.OPEN, "handed over inside a network"
    hidden = bool(taker.addresses) and all(is_internal(one) for one in taker.addresses)
    public = [] if hidden else [name for name in taker.names if names.organisation(name)]
    if not public and not any(not is_internal(one) for one in taker.addresses):
        return Bond.OPEN, f"{(taker.names or ('it',))[0]} is known inside its own network only"
    theirs = [name for name in sender.names if names.organisation(name)]
    if any(names.alike(one, other) for one in taker.names for other in sender.names):
        return Bond.KIN, "by the name without its top-level domain"
    if by_dns(taker, sender, lookup):
        return Bond.KIN, "by DNS"
    if not theirs and not sender.addresses:
        return Bond.OPEN, f"{(sender.names or ('it',))[0]} is known inside its own network only"
    if not theirs:
        inside = host is not None and any(names.house(one) == names.house(two) for one in public for two in host.names)
        if inside:
            return Bond.KIN, "inside one organisation"
        return Bond.FAINT, f"{(public or [str(taker.address)])[0]} had it, {sender.address} handed it over"
    who = sender.name or sender.claimed or str(sender.address)
    return Bond.BROKEN, f"{(public or [str(taker.address)])[0]} had it, {who} handed it over"


def by_dns(taker: Party, sender: Party, lookup: Lookup | None) -> bool:
    """DNS knows that the two are kin: an address of the taker's name is the sender's or next to it, or the sender's
    address has a name of the taker's house."""
    if lookup is None:
        return False
    theirs: list[Address] = [one for one in sender.addresses if not is_internal(one)]
    if not theirs:
        return False
    for name in taker.names:
        if any(akin(one, other) for one in lookup.addresses(name) for other in theirs):
            return True
    houses = {names.house(name) for name in taker.names} - {""}
    return any(names.house(name) in houses for one in theirs for name in (lookup.name(one),))
