"""Who may do what at one listener: pure answers from its configuration. No I/O, no clock.

A client may relay when its address lies in `relay_from`, its certificate is one of `relay_certificates` (owners.py) or
it has logged in (logins.py); nothing about the sender or the recipient opens the way, so percent hacks, bang paths,
source routes and literals have nothing to get round (RFC 5321 7.9). A unix socket is open to whom its file permissions
let in: who connects there may relay. Names claimed in HELO open nothing; `helo_check` may have a false one refused.
"""

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import msgspec

from fastrelay.config import Listener, Rate
from fastrelay.mail.address import domain_of
from fastrelay.mail.reply import Reply, reply
from fastrelay.mail.route import LimitKey
from fastrelay.reception import stress
from fastrelay.reception.owners import CertificateOwners
from fastrelay.smtp.commands import POSTMASTER
from fastrelay.smtp.extensions import BASIC, Extension
from fastrelay.smtp.terms import Terms

UNIX = "unix"  # what runtime.stream says a local peer is
TARPIT_SECONDS = 1.0  # per reply group with an error, after the tenth: Postfix smtpd_error_sleep_time
_REMEMBERED = 4096  # clients whose right is kept; working it out costs 4 us, looking it up 0.1

FALSE_HELO = reply(550, "5.7.1", "The name in your HELO does not lead to your address")
HELO_UNKNOWN = reply(450, "4.4.3", "The name in your HELO cannot be looked up now")
RELAY_DENIED = reply(550, "5.7.1", "Relaying denied")
CLIENT_FULL = "Too many connections from your address"
HOUSE_FULL = "Too many connections, try again later"


class Limit(msgspec.Struct, frozen=True):
    """What the ledger enforces for a key: at most `count` at once on this machine."""

    count: int | None
    rate: Rate | None = None


def network_of(client: str) -> str:
    """What a client's limits hang on: an IPv4 address, the /64 of an IPv6 one (a customer has as many), or "unix"."""
    address = _address(client)
    if address is None:
        return client
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _address(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def in_networks(texts: Sequence[str]) -> Callable[[str], bool]:
    """Does a client (address as text, or "unix") come from one of these, or by a local socket?"""
    networks = tuple(ipaddress.ip_network(text, strict=False) for text in texts)

    def does(client: str) -> bool:
        if client == UNIX:
            return True
        address = _address(client)
        return address is not None and any(
            address in network for network in networks if network.version == address.version
        )

    return does


class Policy:
    """The rules of one listener, whose keys are `listener`. total: what all its connections count against, on this
    machine. may_relay(client): may its mail go on to anywhere? trusts(client): is it offered XCLIENT, by the
    trusted_terms? None: nobody is. These and `terms` are for strangers; where there are aliases, terms_for tells the
    others of them. proxied: connections begin with the PROXY protocol, from those that may_introduce.
    """

    __slots__ = (
        "_every_client",
        "_looks_up",
        "_others",
        "_per_client",
        "_told_of_aliases",
        "_unlimited",
        "aliases",
        "block_seconds",
        "calm",
        "certificates",
        "helo_check",
        "implicit_tls",
        "listener",
        "may_introduce",
        "may_relay",
        "min_rate",
        "name",
        "proxied",
        "strained",
        "terms",
        "total",
        "trusted_terms",
        "trusts",
    )

    def __init__(self, listener: Listener, hostname: str, *, tarpit_seconds: float = TARPIT_SECONDS) -> None:
        self.name = listener.address
        self.listener = listener
        terms = partial(
            Terms,
            hostname,
            max_size=listener.max_message_size,
            max_recipients=listener.max_recipients,
            mend=listener.bare_newlines == "normalise",
            remove_bcc=listener.remove_bcc,
            tls=listener.tls,
            auth=listener.auth,
            auth_plaintext=listener.auth_plaintext,
        )
        self.terms = terms()
        self.aliases = dict(listener.aliases)
        self.trusts = in_networks(listener.xclient_from) if listener.xclient_from else None
        trusted = BASIC | {Extension.XCLIENT}
        self.trusted_terms = self.terms if self.trusts is None else terms(extensions=trusted)
        self._told_of_aliases = (
            (terms(aliases=True), terms(aliases=True, extensions=trusted))
            if self.aliases
            else (self.terms, self.trusted_terms)
        )
        self.calm = stress.calm(listener.command_timeout, tarpit_seconds)
        self.strained = stress.strained(listener.command_timeout)
        self.block_seconds = listener.data_timeout
        self._looks_up = listener.reverse_lookup
        self.helo_check = listener.helo_check
        self.min_rate = listener.min_data_rate
        self.implicit_tls = listener.tls == "implicit"
        self.certificates = CertificateOwners(listener.relay_certificates) if listener.relay_certificates else None
        self.total = (LimitKey("listener", (listener.address,)), Limit(listener.max_connections))
        self._others = (self.total[0], Limit(listener.max_connections - listener.reserved_connections))
        networks = listener.unlimited_from
        self._unlimited = lru_cache(_REMEMBERED)(in_networks(networks)) if networks else None
        self._per_client = Limit(listener.max_connections_per_client) if listener.max_connections_per_client else None
        self._every_client = listener.client_limit_set
        self.may_relay = lru_cache(_REMEMBERED)(in_networks(listener.relay_from))
        self.proxied = listener.proxy_protocol
        self.may_introduce = lru_cache(_REMEMBERED)(in_networks(listener.proxy_from))

    def terms_for(self, *, trusted: bool, entitled: bool) -> Terms:
        """What is offered to a client. trusted: XCLIENT too; entitled: it may send to aliases, and ask about them."""
        if entitled:
            return self._told_of_aliases[trusted]
        return self.trusted_terms if trusted else self.terms

    @property
    def has_rates(self) -> bool:
        """Anything that clients begin here is counted by the time."""
        return self.has_session_rates or self.listener.connection_rate_per_client is not None

    @property
    def has_session_rates(self) -> bool:
        """Anything that they begin inside a session is."""
        one = self.listener
        return bool(
            one.tls_rate_per_client
            or one.message_rate_per_client
            or one.recipient_rate_per_client
            or one.message_rate_per_account
        )

    def unlimited(self, client: str) -> bool:
        """Is it one of those that no limit by client holds up?"""
        return self._unlimited is not None and self._unlimited(client)

    def looks_up(self, client: str, may_relay: bool) -> bool:
        """Is the name of this client asked for?"""
        if client == UNIX or self._looks_up == "never":
            return False
        return self._looks_up == "all" or not may_relay

    def checks_helo(self, client: str, may_relay: bool) -> bool:
        """Is what this client calls itself looked up? For those that may relay only where all names are."""
        return self.helo_check != "off" and client != UNIX and (not may_relay or self._looks_up == "all")

    def limits(self, client: str) -> Sequence[tuple[LimitKey, Limit]]:
        """What a connection of this client takes from the ledger. Clients that may relay have no limit of their own
        unless the configuration sets one; a part of the total is for those in `unlimited_from` alone."""
        if self._unlimited is not None and self._unlimited(client):
            return (self.total,)
        if self._per_client is None or (not self._every_client and self.may_relay(client)):
            return (self._others,)
        return (LimitKey("client", (network_of(client),)), self._per_client), self._others

    def at_the_limit(self, key: LimitKey) -> Reply:
        """What a client hears whose connection the ledger refused."""
        if key.kind == "client":
            return reply(421, "4.7.0", f"{self.terms.hostname} {CLIENT_FULL}")
        return reply(421, "4.3.2", f"{self.terms.hostname} {HOUSE_FULL}")

    def recipient(self, address: str, may_relay: bool) -> str | Reply:
        """The address mail is accepted for, or the refusal. A bare <postmaster> is ours (RFC 5321 4.5.1)."""
        if not may_relay:
            return RELAY_DENIED
        return f"{POSTMASTER}@{self.terms.hostname}" if address == POSTMASTER else address

    def alias(self, name: str) -> Sequence[str]:
        """What an address stands for, or a bare name at our own; () for what is no alias. Case does not count, nor in
        which form a domain beyond ASCII is written."""
        whole = self.terms.whole(name)
        if not whole.isascii():
            whole = f"{whole.rpartition('@')[0]}@{domain_of(whole)}"
        return self.aliases.get(whole.lower(), ())
