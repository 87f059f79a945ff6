"""The road to LMTP hosts: an outcome for each recipient, whatever becomes of the session between the replies."""

from typing import Any

import pytest

from fastrelay.errors import PeerClosed, PeerTimeout
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.route import Host
from tests.unit.road_ends import HELLO, ShortRoad

SOCKET = "unix:/run/lmtp"
STORE = Host(SOCKET, (SOCKET,), lmtp=True)
OTHER = Host("unix:/run/lmtp2", ("unix:/run/lmtp2",), lmtp=True)


def send(script: Any, *hosts: Host, recipients: int = 3, **settings: Any) -> tuple[list[Outcome], ShortRoad]:
    road = ShortRoad(**settings)
    road.wire.hosts[SOCKET] = [script]
    road.wire.hosts["unix:/run/lmtp2"] = [{"dot": b"250 kept\r\n" * 3}]
    carrier = road.carrier()
    outcomes = road.send(carrier, road.way(*(hosts or (STORE,))), recipients)
    carrier.close()
    return outcomes, road


def test_a_verdict_each() -> None:
    outcomes, road = send({"dot": b"250 2.0.0 kept\r\n452 4.2.2 quota\r\n550 5.2.1 off\r\n"})
    delivered, deferred, failed = outcomes
    assert isinstance(delivered, Delivered)
    assert isinstance(deferred, Deferred) and not deferred.uncertain and deferred.reply.enhanced == "4.2.2"
    assert isinstance(failed, Failed) and failed.reply.enhanced == "5.2.1"
    (link,) = road.wire.links
    assert link.told[0] == f"LHLO {HELLO}" and link.told.count("<content>") == 1 and not link.closed


@pytest.mark.parametrize("end", [b"", PeerClosed("reset"), PeerTimeout("late"), b"garbage\r\n"])
def test_a_session_that_ends_between_replies_leaves_the_others_deferred_and_in_doubt(end: Any) -> None:
    """And nobody else is asked in this attempt: that would make a duplicate certain."""
    road = ShortRoad()
    road.wire.hosts[SOCKET] = [{"dot": b"250 2.0.0 kept\r\n"}]
    road.wire.hosts["unix:/run/lmtp2"] = [{"dot": b"250 kept\r\n" * 3}]
    carrier, way = road.carrier(), road.way(STORE, OTHER)
    assert carrier.ready(way.demand, way.route, road.clock.now()) is None
    (link,) = road.wire.links

    def then() -> None:
        if "<content>" in link.told:
            link.before_read = lambda: None
            link._said.append(end)

    link.before_read = then
    outcomes = road.send(carrier, way, 3)
    assert isinstance(outcomes[0], Delivered)
    for one in outcomes[1:]:
        assert isinstance(one, Deferred) and one.uncertain and one.phase is Phase.DOT and one.scope is Scope.HOST
    assert len(road.wire.links) == 1
    carrier.close()
    assert road.balance == (0, 0, 0)


def test_421_between_replies_is_the_word_on_one_and_leaves_doubt_on_the_rest() -> None:
    outcomes, road = send({"dot": b"250 kept\r\n421 4.3.2 bye\r\n"}, STORE, OTHER)
    kinds = [(type(one), one.host) for one in outcomes]
    assert kinds[0] == (Delivered, SOCKET)
    assert kinds[1] == (Delivered, OTHER.name), "421 said it was not taken: the next host may"
    assert kinds[2] == (Deferred, SOCKET) and getattr(outcomes[2], "uncertain", False)
    assert len(road.wire.links) == 2


@pytest.mark.parametrize("level", ["opportunistic", "require", "verify"])
def test_over_a_local_socket_no_tls_is_asked_for(level: str) -> None:
    extensions = ("PIPELINING", "STARTTLS")
    outcomes, road = send({"extensions": extensions, "dot": b"250 kept\r\n"}, recipients=1, tls=level)
    assert isinstance(outcomes[0], Delivered) and road.wire.links[0].tls is None


def test_the_connection_is_used_again_whatever_is_asked_of_tls() -> None:
    for level in ("opportunistic", "require", "verify"):
        road = ShortRoad(tls=level)
        road.wire.hosts[SOCKET] = [{"dot": b"250 kept\r\n"}]
        carrier = road.carrier()
        for _ in range(3):
            road.send(carrier, road.way(STORE))
            carrier.rest(road.clock.now())
        assert len(road.wire.links) == 1


def test_over_tcp_tls_is_as_asked() -> None:
    road = ShortRoad(tls="require")
    road.wire.hosts["192.0.2.1"] = [{"extensions": ("PIPELINING", "STARTTLS"), "dot": b"250 kept\r\n"}]
    (outcome,) = road.send(road.carrier(), road.way(Host("store.example", ("192.0.2.1",), port=24, lmtp=True)))
    assert isinstance(outcome, Delivered)
    assert road.wire.links[0].told[:3] == [f"LHLO {HELLO}", "STARTTLS", f"LHLO {HELLO}"]
