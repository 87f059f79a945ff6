"""idle.py: a connection carries what it satisfies and nothing else; the youngest first; who is to end."""

from typing import Any

import msgspec
import pytest

from fastrelay.config import Delivery
from fastrelay.delivery import limits
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.hosts import Place
from fastrelay.delivery.idle import Choice, choose, idle_ends, satisfies
from fastrelay.mail.route import Demand, Host, TlsLevel
from fastrelay.smtp.client import Client
from tests.unit.road_ends import GOOD, HELLO, Link, host
from tests.unit.rooms import HandClock

NEVER, OPPORTUNISTIC, REQUIRE, VERIFY = TlsLevel
NOW = 1000.0
HERE = Place("mx1.example", "192.0.2.1", 25)
DEMAND = Demand("example", (host(1), host(2)))
SETTINGS = Delivery(messages_per_connection=100, connection_lifetime=300.0, idle_timeout=60.0)


def a_connection(demand: Demand = DEMAND, at: Place = HERE, opened: float = NOW, **proved: Any) -> Connection:
    link: Any = Link(GOOD, HandClock())
    proved.setdefault("tls", OPPORTUNISTIC)
    return Connection(link, Client(HELLO), at, demand, limits.key_of(demand.site), opened=opened, **proved)


def but(**changes: Any) -> Demand:
    return msgspec.structs.replace(DEMAND, **changes)


def named(*names: str) -> Demand:
    """A certificate for one of the names is asked for; without any: for the host's."""
    return but(tls=VERIFY, verify_names=names) if names else but(tls=VERIFY)


def verified(name: str) -> dict[str, Any]:
    """What a connection with a certificate for that name has proved."""
    return {"tls": VERIFY, "verified": name}


@pytest.mark.parametrize(
    ("demand", "proved", "wanted"),
    [
        pytest.param(DEMAND, {}, True, id="the same object"),
        pytest.param(but(), {}, True, id="an equal one"),
        pytest.param(but(site="other"), {}, False, id="another site"),
        pytest.param(but(hosts=(host(2), host(1, "192.0.2.9", "192.0.2.1"))), {}, True, id="its address among others"),
        pytest.param(but(hosts=(host(9, "192.0.2.1"),)), {}, True, id="its address by another name"),
        pytest.param(but(hosts=(host(1, "192.0.2.9"),)), {}, False, id="its name at another address"),
        pytest.param(but(hosts=()), {}, False, id="no host"),
        pytest.param(but(hosts=(host(1, port=25),)), {}, True, id="the port in words"),
        pytest.param(but(hosts=(host(1, port=587),)), {}, False, id="another port"),
        pytest.param(
            but(hosts=(Host("mx1.example", ("192.0.2.1",), 1, 0, lmtp=True),)), {}, False, id="another protocol"
        ),
        pytest.param(but(credentials="me"), {}, False, id="another user"),
        pytest.param(but(source_address="192.0.2.77"), {}, False, id="from anywhere, asked from one"),
        pytest.param(but(source_address="192.0.2.77"), {"source": "192.0.2.77"}, True, id="from the one"),
        pytest.param(but(), {"source": "192.0.2.77"}, True, id="from one, asked from anywhere"),
        pytest.param(but(tls=NEVER), {}, True, id="more than none is asked"),
        pytest.param(but(), {"tls": NEVER}, False, id="opened without trying TLS"),
        pytest.param(but(tls=REQUIRE), {}, False, id="plaintext, TLS required"),
        pytest.param(but(tls=REQUIRE), {"tls": REQUIRE}, True, id="TLS required"),
        pytest.param(but(tls=REQUIRE), {"tls": VERIFY, "verified": "x"}, True, id="verified, TLS required"),
        pytest.param(but(tls=VERIFY), {"tls": REQUIRE}, False, id="TLS, not verified"),
        pytest.param(named(), verified("mx1.example"), True, id="verified"),
        pytest.param(named(), verified("mx2.example"), False, id="for another name"),
        pytest.param(named("a.example", "b.example"), verified("b.example"), True, id="for one of the names"),
        pytest.param(named("a.example"), verified("mx1.example"), False, id="for its own name, none of these"),
        pytest.param(named("a.example", ""), verified("mx1.example"), True, id="for its own name, one of these"),
        pytest.param(named(".example"), verified(".example"), True, id="for a suffix"),
    ],
)
def test_satisfies(demand: Demand, proved: dict[str, Any], wanted: bool) -> None:
    assert satisfies(a_connection(**proved), demand, 25) is wanted


def test_the_sites_port_is_meant_where_the_host_names_none() -> None:
    assert satisfies(a_connection(at=Place("mx1.example", "192.0.2.1", 26)), but(), 26)
    assert not satisfies(a_connection(), but(), 26)


# -- which --------------------------------------------------------------------------------------------------------


def test_the_one_that_came_last_is_taken() -> None:
    idle = [a_connection() for _ in range(3)]
    assert choose(idle, DEMAND, NOW, SETTINGS) == Choice(idle[2], [])


def test_those_that_do_not_satisfy_are_passed_over_and_kept() -> None:
    idle = [a_connection(), a_connection(but(tls=NEVER), tls=NEVER)]
    assert choose(idle, DEMAND, NOW, SETTINGS) == Choice(idle[0], [])
    assert choose(idle, but(tls=REQUIRE), NOW, SETTINGS) == Choice(None, [])


def test_worn_ones_on_the_way_are_closed() -> None:
    old, good, used, below = a_connection(opened=NOW - 300), a_connection(), a_connection(), a_connection()
    used.messages = 100
    below.messages = 99
    assert choose([good, old, used], DEMAND, NOW, SETTINGS) == Choice(good, [used, old])
    assert choose([old, good], DEMAND, NOW, SETTINGS) == Choice(good, []), "nothing is looked at behind it"
    assert choose([below], DEMAND, NOW, SETTINGS).take is below
    assert choose([old], DEMAND, NOW, SETTINGS) == Choice(None, [old])
    assert choose([], DEMAND, NOW, SETTINGS) == Choice(None, [])


def test_idle_too_long_or_worn_ends() -> None:
    quiet, young, old, used = (a_connection(opened=NOW - age) for age in (61.0, 59.0, 300.0, 0.0))
    for one in (young, old, used):
        one.used = NOW
    quiet.used = NOW - 60.0
    used.messages = 100
    assert idle_ends([quiet, young, old, used], NOW, SETTINGS) == [quiet, old, used]
    assert idle_ends([], NOW, SETTINGS) == []
