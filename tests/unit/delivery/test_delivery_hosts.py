"""hosts.py: the order of addresses, what failures and missing families do to it, and what is forgotten."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.delivery import hosts
from fastrelay.delivery.hosts import (
    MAX_ADDRESSES,
    PLAIN_FOR,
    REST_FIRST,
    REST_MOST,
    UNTRUSTED_FOR,
    Health,
    Place,
    family_of,
    in_order,
)
from fastrelay.mail.route import Host
from tests.unit.road_ends import host

NOW = 1000.0


def order(*route: Host, health: Health | None = None, now: float = NOW, tried: tuple[Place, ...] = ()) -> list[str]:
    return [place.address for place in in_order(route, 25, health or Health(), now, tried)]


A, B, C = Place("a", "192.0.2.1", 25), Place("b", "192.0.2.2", 25), Place("c", "2001:db8::1", 25)


# -- the order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        pytest.param((host(1),), ["192.0.2.1"], id="one"),
        pytest.param((host(1, "2001:db8::1", "192.0.2.1"),), ["2001:db8::1", "192.0.2.1"], id="as the route has them"),
        pytest.param((host(2), host(1)), ["192.0.2.1", "192.0.2.2"], id="preference before position"),
        pytest.param((host(2, preference=5), host(1, preference=5)), ["192.0.2.2", "192.0.2.1"], id="equals as given"),
        pytest.param(
            (host(1, "a1", "a2", "a3", preference=1), host(2, "b1", "b2", "b3", preference=1)),
            ["a1", "a2", "b1", "b2", "a3"],
            id="two of each equal before a third of any",
        ),
        pytest.param(
            (host(1, "a1", "a2", "a3"), host(2, "b1")), ["a1", "a2", "a3", "b1"], id="preference before a fair turn"
        ),
        pytest.param((host(1, *"abcdefgh"),), list("abcde"), id="five of eight"),
        pytest.param((), [], id="no host"),
        pytest.param((Host("mx", ()), host(2)), ["192.0.2.2"], id="a host without an address"),
    ],
)
def test_order(route: tuple[Host, ...], wanted: list[str]) -> None:
    assert order(*route) == wanted


@pytest.mark.parametrize("route", [(host(1, port=2525),), (host(1, port=2525), host(2))])
def test_a_port_of_the_host_goes_before_that_of_the_site(route: tuple[Host, ...]) -> None:
    first, *others = in_order(route, 26, Health(), NOW)
    assert first == Place("mx1.example", "192.0.2.1", 2525)
    assert [place.port for place in others] == [26] * (len(route) - 1)


def test_places_tried_are_left_out_and_count() -> None:
    route = (host(1, *"abcdefgh"),)
    done = tuple(Place("mx1.example", address, 25) for address in "abc")
    assert order(*route, tried=done) == ["d", "e"]
    assert order(*route, tried=(*done, Place("x", "y", 25), Place("x", "z", 25))) == []
    assert order(*route, tried=tuple(Place("x", str(n), 25) for n in range(7))) == []
    assert order(host(1), tried=(Place("mx1.example", "192.0.2.1", 25),)) == [], "the only one"


# -- what failures do -------------------------------------------------------------------------------------------------


def test_a_failure_sends_an_address_to_the_end_of_the_line_for_a_while() -> None:
    health = Health()
    health.failed(Place("mx1.example", "192.0.2.1", 25), NOW)
    assert order(host(1), host(2), health=health) == ["192.0.2.2", "192.0.2.1"]
    assert order(host(1), host(2), health=health, now=NOW + REST_FIRST) == ["192.0.2.1", "192.0.2.2"]
    assert order(Host("mx1", ("192.0.2.1",), 1, 26), host(2), health=health)[0] == "192.0.2.1", "another port"


def test_when_all_failed_the_one_that_has_rested_most_is_first() -> None:
    health = Health()
    for number, when in ((1, 2.0), (2, 0.0), (3, 1.0)):
        health.failed(Place("x", f"192.0.2.{number}", 25), NOW + when)
    assert order(host(1), host(2), host(3), health=health) == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]


def test_each_further_failure_doubles_the_rest_up_to_a_bound() -> None:
    health, rests = Health(), []
    for _ in range(12):
        health.failed(A, NOW)
        rests.append(health.rests_until(A) - NOW)
    assert rests == [60.0, 120.0, 240.0, 480.0] + [REST_MOST] * 8


def test_success_forgets_the_failures() -> None:
    health = Health()
    health.failed(A, NOW)
    health.succeeded(A)
    health.succeeded(B)
    assert health.rests_until(A) == 0.0
    health.failed(A, NOW)
    assert health.rests_until(A) == NOW + REST_FIRST


# -- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "family"), [("192.0.2.1", 4), ("2001:db8::1", 6), ("::ffff:192.0.2.1", 6), ("unix:/run/lmtp:1", 0)]
)
def test_family(address: str, family: int) -> None:
    assert family_of(address) == family


def test_a_family_without_a_way_out_is_passed_over_while_there_is_another() -> None:
    health, both = Health(), host(1, "2001:db8::1", "192.0.2.1")
    health.unreachable(C, NOW)
    assert order(both, health=health) == ["192.0.2.1"]
    assert order(both, health=health, now=NOW + REST_FIRST) == ["2001:db8::1", "192.0.2.1"]
    assert order(host(1, "2001:db8::1", "2001:db8::2"), health=health) == ["2001:db8::1", "2001:db8::2"]
    health.unreachable(A, NOW)
    assert order(both, health=health) == ["2001:db8::1", "192.0.2.1"], "neither: all are tried"


def test_a_local_socket_is_of_no_family() -> None:
    health = Health()
    health.unreachable(Place("x", "unix:/run/x", 0), NOW)
    assert not any(health.family_is_down(address, NOW) for address in ("192.0.2.1", "::1", "unix:/run/x"))


# -- TLS that fails ---------------------------------------------------------------------------------------------------


def test_a_failed_handshake_is_remembered_for_a_while_per_address_and_port() -> None:
    health = Health()
    assert not health.tls_is_broken(A, NOW)
    health.tls_failed(A, NOW)
    assert health.tls_is_broken(A, NOW + PLAIN_FOR - 1) and not health.tls_is_broken(A, NOW + PLAIN_FOR)
    assert not health.tls_is_broken(B, NOW) and not health.tls_is_broken(A._replace(port=26), NOW)


def test_a_bad_certificate_is_looked_at_again_after_hours() -> None:
    health = Health()
    health.untrusted(A, "expired", NOW)
    assert health.doubt(A, NOW + UNTRUSTED_FOR - 1.0) == "expired"
    assert health.doubt(A, NOW + UNTRUSTED_FOR) == ""
    assert health.doubt(B, NOW) == "" and health.doubt(A._replace(port=26), NOW) == ""


def test_memory_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_REMEMBERED", 2)
    health = Health()
    for place in (A, B):
        health.failed(place, NOW)
        health.tls_failed(place, NOW)
        health.untrusted(place, "expired", NOW)
    health.failed(A, NOW)  # the younger one now
    health.failed(C, NOW)
    health.tls_failed(C, NOW)
    health.untrusted(C, "expired", NOW)
    assert health.statistics() == {"resting": 2, "without_tls": 2, "untrusted": 2}
    assert (health.doubt(A, NOW), health.doubt(C, NOW)) == ("", "expired")
    assert health.rests_until(B) == 0.0 and health.rests_until(A) == NOW + 120.0
    assert not health.tls_is_broken(A, NOW) and health.tls_is_broken(C, NOW)


# -- whatever the route -----------------------------------------------------------------------------------------------

ADDRESSES = st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "10.0.0.1"]), unique=True)
ROUTES = st.lists(st.tuples(ADDRESSES, st.integers(0, 2)), max_size=5)


@settings(max_examples=60, deadline=None)
@given(ROUTES, st.lists(st.sampled_from([A, B, C]), max_size=6), st.integers(0, 3), st.booleans())
def test_at_most_five_each_once_and_some_while_there_are_some(
    given_route: list[tuple[list[str], int]], failures: list[Place], tried: int, down: bool
) -> None:
    route = [Host(f"mx{n}", tuple(addresses), rank) for n, (addresses, rank) in enumerate(given_route)]
    health = Health()
    for place in failures:
        health.failed(place, NOW)
    if down:
        health.unreachable(C, NOW)
    everywhere = {Place(mx.name, address, 25) for mx in route for address in mx.addresses}
    done = set(sorted(everywhere)[:tried])
    found = in_order(route, 25, health, NOW, done)
    assert len(found) == len(set(found)) <= MAX_ADDRESSES - len(done)
    assert set(found) <= everywhere - done
    assert bool(found) is bool(everywhere - done)
    if not failures and not down:
        ranks = {mx.name: mx.preference for mx in route}
        assert [ranks[place.name] for place in found] == sorted(ranks[place.name] for place in found)
