"""One Received field as values: who handed over (Party), who took it, how, and when. In the words of RFC 5321 4.4.

    from CLAIMED (NAME [ADDRESS])  by NAME [ADDRESS] (SOFTWARE)  via VIA  with PROTOCOL  id IDENT  for RECIPIENT; DATE

CLAIMED is what the client said in HELO and may be a lie; NAME and ADDRESS were found by the server that wrote it down.
Names are lower-case without a trailing dot, addresses are ipaddress objects, "" and None stand for what is missing.
"""

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from fastrelay.trail.moments import Moment

Address = IPv4Address | IPv6Address


class Leap(enum.Enum):
    """How a message came to the hop."""

    NETWORK = "network"  # from another host, or from a client
    LOCAL = "local"  # handed over on the host itself: a command, a list's expansion, a fetch from a mailbox
    UNKNOWN = "unknown"  # the field names nobody it came from


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a hop; empty where a list expander or an old sendmail names the envelope's sender in its place."""

    claimed: str = ""
    name: str = ""
    address: Address | None = None
    more: tuple[Address, ...] = ()  # addresses beside the first: of NAT, of the host behind a proxy
    forged_note: bool = False  # the server itself said "may be forged"

    @property
    def names(self) -> tuple[str, ...]:
        """Verified name first, then the claim."""
        return tuple(dict.fromkeys(one for one in (self.name, self.claimed) if one))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them."""
        return (self.address, *self.more) if self.address is not None else self.more


@dataclass(frozen=True, slots=True)
class Hop:
    """One field. number: 1 is the oldest. text: the field's body unfolded. software: the words it is known by, from
    comments and `with`, lower-case; remarks: what the parser had to pass over."""

    number: int
    text: str
    leap: Leap
    sender: Party
    taker: Party
    via: str
    protocol: str
    ident: str
    recipient: str
    software: str
    moment: Moment | None
    remarks: tuple[str, ...] = ()
