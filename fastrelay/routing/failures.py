"""Why a domain has no way, as outcomes: what the sender's bounce or the queue will say. One row per reason, pure.

Permanent only where the name service said so with authority: no such domain, a null MX, nothing but forbidden
addresses, ourselves. Everything a server did not say, or said it could not, is temporary (RFC 5321 5.1, RFC 3463).
"""

from fastrelay.mail.outcome import Deferred, Failed, Phase, Scope
from fastrelay.mail.reply import reply


def _failed(code: int, enhanced: str, text: str) -> Failed:
    return Failed(reply(code, enhanced, text), Phase.ROUTE, Scope.RECIPIENT)


def _deferred(enhanced: str, text: str) -> Deferred:
    return Deferred(reply(451, enhanced, text), Phase.ROUTE, Scope.RECIPIENT)


def bad_domain(domain: str) -> Failed:
    """Not a name DNS could hold, or a malformed address literal."""
    return _failed(550, "5.1.2", f"{_shown(domain) or 'An empty name'} is not a valid mail domain")


def no_such_domain(domain: str) -> Failed:
    """NXDOMAIN."""
    return _failed(550, "5.1.2", f"Domain {domain} does not exist")


def null_mx(domain: str) -> Failed:
    """RFC 7505 3."""
    return _failed(556, "5.1.10", f"Domain {domain} does not accept mail (null MX)")


def no_address(domain: str) -> Failed:
    """No MX, and no address of its own either."""
    return _failed(550, "5.4.4", f"Domain {domain} has neither MX nor address records")


def dead_hosts(domain: str) -> Failed:
    """MX records, none of which leads to an address; the domain's own address must not be used then."""
    return _failed(550, "5.4.4", f"No mail exchanger of {domain} has an address")


def unusable_mx(domain: str) -> Failed:
    """MX records that name no host."""
    return _failed(550, "5.4.4", f"The MX records of {domain} name no usable host")


def forbidden(domain: str, why: str) -> Failed:
    """Addresses, but only such as mail must not go to."""
    return _failed(550, "5.4.4", f"Domain {domain} leads only to addresses mail must not go to: {why}")


def loop(domain: str) -> Failed:
    """We are the best host of a domain we have no other way for."""
    return _failed(554, "5.4.6", f"Mail for {domain} loops back to this relay")


def unanswered(name: str, rdtype: str, why: str) -> Deferred:
    """SERVFAIL, silence, broken replies."""
    return _deferred("4.4.3", f"Name service failed for {rdtype} of {name}: {why}"[:400])


def hop_unresolved(pattern: str, names: str) -> Deferred:
    """A configured next hop without an address: our own set-up, so mail waits for it to be mended."""
    return _deferred("4.4.4", f"Next hop {names} of route {pattern} has no address")


def _shown(domain: str) -> str:
    return domain[:80].encode("ascii", "backslashreplace").decode("ascii")
