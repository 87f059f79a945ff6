"""How much encryption a message asks for, what to do with what the peer offers, and what a connection has proved.

Pure. Opportunistic (RFC 7435): TLS where it is offered and works, whatever the certificate says; else plaintext, once
refused in the same session, once failed in a new one. REQUIRE and VERIFY never fall back: the message waits.

Certificates are judged at every level, for the event log must not claim more or less than was found. OpenSSL ends the
handshake where a chain is bad, so below VERIFY a bad one costs one further connection, without judgement, and is
remembered with its reason (hosts.py); a name that does not match costs nothing.
"""

import enum
from collections.abc import Sequence

from fastrelay.config import Delivery
from fastrelay.mail.outcome import Phase
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import Demand, Route, TlsLevel

_LEVELS = {
    "never": TlsLevel.NEVER,
    "opportunistic": TlsLevel.OPPORTUNISTIC,
    "require": TlsLevel.REQUIRE,
    "verify": TlsLevel.VERIFY,
}
HOST, DOMAIN = "host", "domain"  # words of [delivery] tls_names


class Step(enum.Enum):
    """What comes next on a connection."""

    STARTTLS = "starttls"
    PLAINTEXT = "plaintext"
    REFUSE = "refuse"


def demand(route: Route, settings: Delivery) -> Demand:
    """What a message on `route` asks of a connection."""
    level = _LEVELS[settings.tls]
    names = () if level is not TlsLevel.VERIFY or settings.tls_names == (HOST,) else _names(route, settings)
    credentials = route.credentials or settings.login
    return Demand(site=route.site, hosts=route.hosts, tls=level, verify_names=names, credentials=credentials)


def _names(route: Route, settings: Delivery) -> tuple[str, ...]:
    """As Demand has them: "" is the host's own, whichever it will be."""
    own = {HOST: "", DOMAIN: route.domain}
    return tuple([own[name] if name in own else name.lower().rstrip(".") for name in settings.tls_names])


def wanted_names(names: Sequence[str], host: str) -> list[str]:
    """Names one of which the certificate of `host` must bear, by a Demand's verify_names; an address is none."""
    found = [name if name.startswith(".") else server_name(name or host) for name in names or ("",)]
    return [name.lower() for name in found if name]


def next_step(level: TlsLevel, offered: bool, broken: bool) -> Step:
    """After EHLO. broken: a handshake with this host failed, on the connection before or a short while ago."""
    if level is TlsLevel.NEVER:
        return Step.PLAINTEXT
    if level is TlsLevel.OPPORTUNISTIC:
        return Step.STARTTLS if offered and not broken else Step.PLAINTEXT
    return Step.STARTTLS if offered else Step.REFUSE


def after_refusal(level: TlsLevel) -> Step:
    """The peer answered STARTTLS with a refusal, or the handshake failed."""
    return Step.PLAINTEXT if level <= TlsLevel.OPPORTUNISTIC else Step.REFUSE


def proved(level: TlsLevel, encrypted: bool, local: bool = False) -> TlsLevel:
    """What a connection opened for `level` satisfies from then on. local: a socket of this machine needs no TLS."""
    if local:
        return level
    if not encrypted:
        return min(level, TlsLevel.OPPORTUNISTIC)
    return max(level, TlsLevel.REQUIRE)


def not_offered(host: str, *, for_login: bool = False) -> tuple[Phase, Reply]:
    """Why a host without STARTTLS cannot be used. for_login: only our password asks for it."""
    who = "our login there asks for it (credentials.plaintext)" if for_login else "policy asks for it"
    return Phase.STARTTLS, Reply(451, "4.7.4", (f"{host} does not offer STARTTLS, and {who}",))


def server_name(host: str) -> str | None:
    """The name to send in the handshake (RFC 6066 3), None where `host` is none: an address, a literal, no DNS name."""
    name = host.rstrip(".")
    if not name.isascii() or ":" in name or "/" in name or name.startswith("[") or len(name) > 253:
        return None
    labels = name.split(".")
    if any(not 0 < len(label) <= 63 for label in labels) or labels[-1].isdigit():
        return None
    return name
