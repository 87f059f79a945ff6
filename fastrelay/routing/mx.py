"""From MX answers and addresses to hosts in the order of attempt. Pure; chance is an argument.

RFC 5321 5.1: lower preference first, equals in random order; ourselves in the list removes us and every host that is
not better, and a list headed by ourselves is a loop (5.4.6). RFC 7505: a single "." means the domain takes no mail; a
"." among others is passed over. An MX that is an address instead of a name is against RFC 5321 but common, and taken.
A host whose name is a CNAME is taken too (RFC 2181 10.3 forbids it to the zone, not to us).
"""

import enum
import random
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from itertools import zip_longest

import msgspec

from fastrelay.mail.route import Host
from fastrelay.routing.answers import Exchange, is_host_name

MAX_HOSTS = 10  # resolved per round; an attempt uses 5 addresses at most (Postfix smtp_mx_address_limit)
MAX_ROUNDS = 3  # rounds of MAX_HOSTS when the round before gave no address: 60-MX lists of dead names end
MAX_ADDRESSES = 16  # per host and family: what lies beyond is never tried


class Finding(enum.Enum):
    """What an MX list says before any address is known."""

    HOSTS = "hosts"
    NULL = "null MX"
    LOOP = "loop"
    NOTHING = "no usable MX"


class Choice(msgspec.Struct, frozen=True):
    """exchanges: usable, best preference first, each host once. notes: what was passed over and why."""

    finding: Finding
    exchanges: tuple[Exchange, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[str, ...]:
        """The hosts of best preference."""
        return tuple(e.host for e in self.exchanges if e.preference == self.exchanges[0].preference)


class Arranged(msgspec.Struct, frozen=True):
    """hosts: in order of attempt, those with addresses only. loop: ourselves were the best. notes as in Choice."""

    hosts: tuple[Host, ...] = ()
    loop: bool = False
    notes: tuple[str, ...] = ()


def choose(exchanges: Sequence[Exchange], is_own_name: Callable[[str], bool]) -> Choice:
    """Order and clean what the MX answer holds."""
    if exchanges and not any(one.host for one in exchanges):
        return Choice(Finding.NULL)
    notes: list[str] = []
    usable: dict[str, Exchange] = {}
    for one in sorted(exchanges):
        host = literal_address(one.host) or one.host
        if not host:
            notes.append('"." among other MX (RFC 7505 3)')
        elif host not in usable:
            if host is one.host and not is_host_name(host):
                notes.append(f"{host}: no host name")
            else:
                usable[host] = Exchange(one.preference, host)
    if not usable:
        return Choice(Finding.NOTHING, notes=tuple(notes))
    own = [one.preference for one in usable.values() if is_own_name(one.host)]
    if own:
        better = tuple(one for one in usable.values() if one.preference < own[0])
        notes.append(f"this relay is an MX of preference {own[0]}; only better ones are used")
        return Choice(Finding.HOSTS if better else Finding.LOOP, better, tuple(notes))
    return Choice(Finding.HOSTS, tuple(usable.values()), tuple(notes))


def literal_address(host: str) -> str:
    """The address an MX or a hop gives in place of a name ("192.0.2.1", "[192.0.2.1]"), "" for a name."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bare = bare.removeprefix("ipv6:")
    if not bare or not (bare[-1].isdigit() or ":" in bare):
        return ""
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""


def shuffled(exchanges: Sequence[Exchange], chance: random.Random) -> list[Exchange]:
    """Best preference first, equals in random order: the order in which hosts are looked up and tried."""
    order = list(exchanges)
    chance.shuffle(order)
    order.sort(key=lambda one: one.preference)
    return order


def arrange(
    order: Sequence[Exchange],
    addresses: Mapping[str, Sequence[str]],
    *,
    is_own_end: Callable[[str], bool],
    forbidden: Callable[[str], str],
    has_route: Callable[[str], bool],
    chance: random.Random,
) -> Arranged:
    """Hosts with the addresses mail may go to; families interleaved, IPv6 first (RFC 6724 prefers it).

    An address without a route from here is left out, unless none has one: that is an outage, not a decision. The kernel
    is asked only where both families are there to choose from.
    """
    hosts: list[Host] = []
    notes: list[str] = []
    unreachable: list[Host] = []
    both = len({":" in address for _, name in order for address in addresses.get(name, ())}) == 2
    cut: int | None = None
    for preference, name in order:
        if cut is not None and preference >= cut:
            break
        some: list[str] = []
        for address in addresses.get(name, ()):
            if is_own_end(address):
                cut = preference
                notes.append(f"{name} [{address}]: this relay; only better ones are used")
                break
            reason = forbidden(address)
            if reason:
                notes.append(f"{name} [{address}]: {reason}" if name != address else f"{name}: {reason}")
            else:
                some.append(address)
        if not some:
            continue
        routed = [address for address in some if has_route(address)] if both else some
        if len(routed) < len(some):
            notes.append(f"{name}: no route to {', '.join(a for a in some if a not in routed)}")
        if routed:
            hosts.append(Host(name, interleaved(routed, chance), preference))
        else:
            unreachable.append(Host(name, interleaved(some, chance), preference))
    hosts = hosts or unreachable
    if cut is not None:
        hosts = [host for host in hosts if host.preference < cut]
    return Arranged(tuple(hosts), cut is not None and not hosts, tuple(notes))


def interleaved(addresses: Sequence[str], chance: random.Random) -> tuple[str, ...]:
    """Each family in random order, one of each in turn, IPv6 first."""
    six = [address for address in addresses if ":" in address][:MAX_ADDRESSES]
    four = [address for address in addresses if ":" not in address][:MAX_ADDRESSES]
    chance.shuffle(six)
    chance.shuffle(four)
    return tuple(address for pair in zip_longest(six, four) for address in pair if address)
