"""What the operator knows: networks and names of hosts whose Received lines are to be believed."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastrelay.config import Config
from fastrelay.trail.networks import Network, network


@dataclass(frozen=True, slots=True)
class Known:
    """names: as DNS has them; a host counts by its verified name, not by what it says in HELO."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()


def known_to(config: Config, trust: Iterable[str] = ()) -> Known:
    """From `relay_from` of all listeners, `hostname` and `hello`, and what else is to be trusted. MisuseError for a
    network that is none."""
    told = [one for listener in config.listeners for one in listener.relay_from]
    names = {config.server.hostname, config.delivery.hello, *(site.delivery.hello for site in config.sites)} - {""}
    return Known(tuple(network(one) for one in (*told, *trust)), frozenset(name.lower() for name in names))
