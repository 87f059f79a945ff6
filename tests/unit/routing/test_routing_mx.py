"""routing/mx.py: from MX records and addresses to hosts in order."""

import random

import pytest

from fastrelay.mail.route import Host
from fastrelay.routing import mx
from fastrelay.routing.answers import Exchange
from fastrelay.routing.guard import forbidden
from fastrelay.routing.mx import Arranged, Choice, Finding


def choose(*rows: tuple[int, str], own: str = "") -> Choice:
    return mx.choose([Exchange(*row) for row in rows], lambda name: name == own)


def arrange(
    order: list[tuple[int, str]], addresses: dict[str, list[str]], *, own: str = "", routes: str = "46", seed: int = 1
) -> Arranged:
    return mx.arrange(
        [Exchange(*row) for row in order],
        addresses,
        is_own_end=lambda address: address == own,
        forbidden=forbidden,
        has_route=lambda address: ("6" if ":" in address else "4") in routes,
        chance=random.Random(seed),
    )


def test_by_preference_each_host_once() -> None:
    choice = choose((20, "b.test"), (10, "a.test"), (30, "a.test"), (10, "c.test"))
    assert choice.exchanges == (Exchange(10, "a.test"), Exchange(10, "c.test"), Exchange(20, "b.test"))
    assert choice.best == ("a.test", "c.test")


def test_null_mx_only_where_the_dot_stands_alone() -> None:
    assert choose((0, "")).finding is Finding.NULL
    assert choose((0, ""), (0, "")).finding is Finding.NULL
    mixed = choose((0, ""), (10, "a.test"))
    assert mixed.finding is Finding.HOSTS and mixed.best == ("a.test",) and mixed.notes


def test_what_is_no_host_name_is_passed_over() -> None:
    choice = choose((10, r"a\013\010b.test"), (20, "b.test"))
    assert choice.best == ("b.test",) and "no host name" in choice.notes[0]
    assert choose((10, "a b.test")).finding is Finding.NOTHING


@pytest.mark.parametrize("host", ["198.41.0.4", "[198.41.0.4]", "2001:503:ba3e::2:30", "[ipv6:2001:503:ba3e::2:30]"])
def test_an_address_for_an_mx_is_taken(host: str) -> None:
    assert choose((10, host)).best in (("198.41.0.4",), ("2001:503:ba3e::2:30",))


def test_ourselves_and_worse_ones_are_removed() -> None:
    rows = ((10, "a.test"), (20, "us.test"), (20, "b.test"), (30, "c.test"))
    choice = choose(*rows, own="us.test")
    assert choice.finding is Finding.HOSTS and choice.exchanges == (Exchange(10, "a.test"),)
    assert choose((20, "us.test"), (20, "b.test"), (30, "c.test"), own="us.test").finding is Finding.LOOP


def test_equals_are_shuffled_within_their_preference() -> None:
    rows = [Exchange(10, f"a{n}.test") for n in range(5)] + [Exchange(5, "first.test"), Exchange(20, "last.test")]
    seen = set()
    for seed in range(50):
        order = mx.shuffled(rows, random.Random(seed))
        assert order[0].host == "first.test" and order[-1].host == "last.test"
        seen.add(order[1].host)
    assert seen == {f"a{n}.test" for n in range(5)}


def test_hosts_without_addresses_fall_out() -> None:
    arranged = arrange([(10, "a.test"), (20, "b.test")], {"b.test": ["198.41.0.4"]})
    assert arranged.hosts == (Host("b.test", ("198.41.0.4",), 20),)


def test_families_are_interleaved() -> None:
    addresses = {"a.test": ["198.41.0.4", "198.41.0.5", "198.41.0.6", "2001:503:ba3e::1"]}
    (host,) = arrange([(10, "a.test")], addresses).hosts
    assert [":" in address for address in host.addresses] == [True, False, False, False]
    assert set(host.addresses) == set(addresses["a.test"])


def test_many_addresses_are_cut() -> None:
    (host,) = arrange([(10, "a.test")], {"a.test": [f"198.41.1.{n}" for n in range(200)]}).hosts
    assert len(host.addresses) == mx.MAX_ADDRESSES


def test_a_family_without_a_route_is_left_out_unless_nothing_remains() -> None:
    addresses = {"a.test": ["198.41.0.4", "2001:503:ba3e::1"], "b.test": ["2001:503:ba3e::2"]}
    order = [(10, "a.test"), (20, "b.test")]
    assert arrange(order, addresses, routes="4").hosts == (Host("a.test", ("198.41.0.4",), 10),)
    assert [host.name for host in arrange(order, addresses, routes="").hosts] == ["a.test", "b.test"]


def test_forbidden_addresses_are_passed_over_with_a_note() -> None:
    arranged = arrange(
        [(10, "a.test"), (20, "b.test")], {"a.test": ["127.0.0.1", "198.41.0.4"], "b.test": ["10.0.0.1"]}
    )
    assert arranged.hosts == (Host("a.test", ("198.41.0.4",), 10),)
    assert [note.partition(":")[0] for note in arranged.notes] == ["a.test [127.0.0.1]", "b.test [10.0.0.1]"]


def test_our_own_address_cuts_the_list_there() -> None:
    addresses = {"a.test": ["198.41.0.4"], "b.test": ["198.41.0.5"], "c.test": ["198.41.0.6"], "d.test": ["198.41.0.7"]}
    order = [(10, "a.test"), (20, "b.test"), (20, "c.test"), (30, "d.test")]
    arranged = arrange(order, addresses, own="198.41.0.6")
    assert [host.name for host in arranged.hosts] == ["a.test"] and not arranged.loop
    assert arrange(order, addresses, own="198.41.0.4").loop
    assert arrange(order[1:], addresses, own="198.41.0.6").loop
