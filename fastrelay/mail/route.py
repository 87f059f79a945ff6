"""Where mail goes: Host, Route; what a connection must satisfy: Demand; what a limit hangs on: LimitKey."""

import enum

import msgspec


class Host(msgspec.Struct, frozen=True, gc=False):
    """One next hop: a name (or address text) and the addresses to try in order.

    addresses: text forms, both families interleaved. port 0 = the site's `delivery.port`. preference: MX preference,
    lower is better, 0 for static hops. An entry "unix:/path" is a local socket. lmtp: RFC 2033 is spoken there.
    """

    name: str
    addresses: tuple[str, ...]
    preference: int = 0
    port: int = 0
    lmtp: bool = False


class RouteKind(enum.Enum):
    """How the route came about; `explain` and `resolve` show it."""

    MX = "mx"
    IMPLICIT = "implicit-mx"
    LITERAL = "address-literal"
    STATIC = "static"


class Route(msgspec.Struct, frozen=True, gc=False):
    """A routing decision for one recipient domain.

    site: the name its lane, window, limits and metrics hang on. hosts: in order of attempt, best first, equals
    shuffled. expires: monotonic seconds until which the decision may be reused. exempt: static hop, so the guard
    against private and loopback addresses does not apply. secure: every DNS answer on the way had the AD bit.
    credentials: those of the `[[route]]` row, "" = those of the site.
    """

    domain: str
    site: str
    kind: RouteKind
    hosts: tuple[Host, ...]
    expires: float
    exempt: bool = False
    secure: bool = False
    credentials: str = ""


class TlsLevel(enum.IntEnum):
    """How much encryption is asked for, or was proved. Ordered: a connection satisfies every level up to its own."""

    NEVER = 0
    OPPORTUNISTIC = 1
    REQUIRE = 2
    VERIFY = 3


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a connection must offer before a message may ride on it; belongs to the recipient domain, not the lane.

    verify_names: names one of which the certificate must bear, "" = the host's own, ".x" = any below x; empty: the
    host's own alone (always unless tls is VERIFY). credentials: name of the
    configured credentials for AUTH, "" = none. source_address: "" = the system chooses.
    """

    site: str
    hosts: tuple[Host, ...]
    tls: TlsLevel = TlsLevel.OPPORTUNISTIC
    source_address: str = ""
    verify_names: tuple[str, ...] = ()
    credentials: str = ""


class LimitKey(msgspec.Struct, frozen=True, gc=False):
    """What one limit hangs on: kind ("site", "client", ...) and its names. Hashed into a ledger row."""

    kind: str
    names: tuple[str, ...]
