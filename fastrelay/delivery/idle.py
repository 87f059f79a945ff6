"""Idle connections: which of them may carry a message with a Demand, and which are to be closed.

Pure: over lists, with `now` as an argument. A connection will do only where it goes to one of the demand's hosts at the
same site, with at least its encryption, as the same user and from the address asked for.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.config import Delivery
from fastrelay.delivery import limits
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.tls_policy import wanted_names
from fastrelay.mail.route import Demand, TlsLevel


class Choice(NamedTuple):
    """What to do with the idle connections of a site: hand out `take` (None: open one), close `close`."""

    take: Connection | None
    close: list[Connection]


def satisfies(connection: Connection, demand: Demand, default_port: int) -> bool:
    """May a message with this demand ride on this connection?"""
    if connection.demand is demand:
        return True
    mine = connection.demand
    if mine.site != demand.site or mine.credentials != demand.credentials or connection.tls < demand.tls:
        return False
    if demand.source_address and connection.source != demand.source_address:
        return False
    if demand.tls is TlsLevel.VERIFY and not connection.place.is_local:
        names = wanted_names(demand.verify_names, connection.place.name)
        if connection.verified not in names:
            return False
    _, address, port, lmtp = connection.place
    return any(
        (host.port or default_port) == port and address in host.addresses and host.lmtp is lmtp for host in demand.hosts
    )


def choose(idle: Sequence[Connection], demand: Demand, now: float, settings: Delivery) -> Choice:
    """The youngest idle connection that satisfies; worn ones passed on the way are to be closed."""
    close = []
    for connection in reversed(idle):
        if _is_worn(connection, now, settings):
            close.append(connection)
        elif satisfies(connection, demand, settings.port):
            return Choice(connection, close)
    return Choice(None, close)


def idle_ends(idle: Sequence[Connection], now: float, settings: Delivery) -> list[Connection]:
    """Those that were idle or alive too long."""
    return [
        connection
        for connection in idle
        if now - connection.used >= settings.idle_timeout or _is_worn(connection, now, settings)
    ]


def _is_worn(connection: Connection, now: float, settings: Delivery) -> bool:
    most = connection.client.offer.mails
    return limits.is_worn(connection.messages, connection.opened, now, settings, most)
