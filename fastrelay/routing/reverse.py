"""The name of a client's address, as far as DNS stands by it: PTR, then A or AAAA of what it says (RFC 8601 2.7.3).

A PTR record is written by whoever holds the address and may claim any name; it counts only where the name leads back
to the address. A claim that is no domain name by the grammar of mail is passed over before it is asked for, so that
nothing else reaches a header or a log. Any failure means: no name. Costs two lookups side by side with the session;
the answers are cached like all others.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from fastrelay.routing.answers import Answer, Status
from fastrelay.routing.resolver import Resolver
from fastrelay.smtp import grammar

MAX_CLAIMS = 5  # names looked up per address; shared hosts with hundreds of PTR records get their first few tried


def verified_name(resolver: Resolver, client: str) -> str:
    """The first name that leads back to the address, case-folded; "" when there is none. May wait for DNS."""
    address = _public_form(client)
    if address is None:
        return ""
    names = claims(resolver.query(address.reverse_pointer, "PTR"))
    rdtype = "A" if address.version == 4 else "AAAA"
    for name, answer in zip(names, resolver.query_all((name, rdtype) for name in names), strict=True):
        if leads_to(answer, address):
            return name
    return ""


def claim(resolver: Resolver, name: str, client: str) -> Literal["pass", "fail", "temperror"]:
    """Is a client what it calls itself in HELO: does the name lead to its address, or is the literal its address? The
    words are those of RFC 8601 2.7. A name confirmed from the other side (`verified_name`) leads there too, so it needs
    no look-up of its own. May wait for DNS.
    """
    address = _public_form(client)
    if address is None:
        return "fail"
    if name.startswith("["):
        return "pass" if _public_form(name[1:-1].lower().removeprefix("ipv6:")) == address else "fail"
    try:
        host = grammar.domain(name.rstrip(".").lower().encode("ascii"))
    except (grammar.Malformed, UnicodeEncodeError):
        return "fail"
    if host.rpartition(".")[2].isdigit():  # an address without brackets; no top-level domain is a number (RFC 3696 2)
        return "fail"
    (answer,) = resolver.query_all([(host, "A" if address.version == 4 else "AAAA")])
    if leads_to(answer, address):
        return "pass"
    return "temperror" if answer.status is Status.FAILED else "fail"


def claims(answer: Answer) -> list[str]:
    """The names of a PTR answer that are domain names, at most MAX_CLAIMS."""
    names: list[str] = []
    for record in answer.records[:MAX_CLAIMS]:
        try:
            names.append(grammar.domain(record.rstrip(".").lower().encode("ascii")))
        except (grammar.Malformed, UnicodeEncodeError):
            continue
    return names


def leads_to(answer: Answer, address: IPv4Address | IPv6Address) -> bool:
    """One of the addresses answered is this one, however it is written."""
    return any(_public_form(record) == address for record in answer.records)


def _public_form(text: str) -> IPv4Address | IPv6Address | None:
    """The address; None for what is none, or has a meaning on one link only (a zone)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address
