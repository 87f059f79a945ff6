"""policy.py: who may relay, what a connection counts against, which recipients are ours."""

import pytest

from fastrelay.config import Listener
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import LimitKey
from fastrelay.reception.policy import RELAY_DENIED, Limit, Policy, network_of


def policy(**listener: object) -> Policy:
    return Policy(Listener(**listener), "relay.example")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("client", "relays"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("unix", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_who_may_relay_by_default(client: str, relays: bool) -> None:
    assert policy().may_relay(client) is relays


def test_relay_from_takes_networks_of_both_families_and_host_bits() -> None:
    some = policy(relay_from=("192.0.2.77/24", "2001:db8::/32", "fe80::/10"))
    assert some.may_relay("192.0.2.1") and some.may_relay("2001:db8:1::1") and some.may_relay("fe80::1%eth0")
    assert not some.may_relay("127.0.0.1") and not some.may_relay("192.0.3.1")
    assert not policy(relay_from=()).may_relay("127.0.0.1")


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_what_a_limit_hangs_on(client: str, network: str) -> None:
    assert network_of(client) == network


def test_strangers_are_limited_each_and_all_together() -> None:
    limits = policy(max_connections=7, max_connections_per_client=3).limits("192.0.2.1")
    assert limits == (
        (LimitKey("client", ("192.0.2.1",)), Limit(3)),
        (LimitKey("listener", ("127.0.0.1:2525",)), Limit(7)),
    )


def test_clients_that_relay_have_no_limit_of_their_own_unless_it_is_written_down() -> None:
    assert [key.kind for key, _ in policy().limits("127.0.0.1")] == ["listener"]
    assert [key.kind for key, _ in policy(client_limit_set=True).limits("127.0.0.1")] == ["client", "listener"]
    assert [key.kind for key, _ in policy(max_connections_per_client=0).limits("192.0.2.1")] == ["listener"]


def test_a_part_of_the_total_is_kept_for_those_without_limits() -> None:
    some = policy(max_connections=100, reserved_connections=30, unlimited_from=("198.51.100.0/24",))
    total = LimitKey("listener", ("127.0.0.1:2525",))
    assert some.limits("192.0.2.1")[1:] == ((total, Limit(70)),)
    assert some.limits("127.0.0.1") == ((total, Limit(70)),)
    assert some.limits("198.51.100.9") == ((total, Limit(100)),)
    assert some.total == (total, Limit(100)), "who is not known yet, behind a proxy, may be one of them"


def test_unlimited_means_also_where_the_limit_of_connections_is_written_down() -> None:
    some = policy(client_limit_set=True, unlimited_from=("198.51.100.0/24",))
    assert [key.kind for key, _ in some.limits("198.51.100.9")] == ["listener"]
    assert [key.kind for key, _ in some.limits("198.51.101.9")] == ["client", "listener"]
    assert not policy().unlimited("unix") and some.unlimited("unix")


def test_words_at_the_limit() -> None:
    some = policy()
    assert str(some.at_the_limit(LimitKey("client", ("x",)))).startswith("421 4.7.0 relay.example ")
    assert str(some.at_the_limit(LimitKey("listener", ("x",)))).startswith("421 4.3.2 relay.example ")


def test_recipients() -> None:
    some = policy()
    assert some.recipient("b@there.example", True) == "b@there.example"
    assert some.recipient("postmaster", True) == "postmaster@relay.example"
    for address in ("b@there.example", "postmaster", "b@relay.example"):
        verdict = some.recipient(address, False)
        assert isinstance(verdict, Reply) and verdict is RELAY_DENIED


def test_the_listeners_keys_arrive() -> None:
    some = policy(
        max_message_size=1234,
        max_recipients=200,
        bare_newlines="normalise",
        command_timeout=10.0,
        data_timeout=20.0,
        min_data_rate=30.0,
    )
    assert (some.terms.max_size, some.terms.max_recipients, some.terms.mend) == (1234, 200, True)
    assert (some.calm.command_seconds, some.block_seconds, some.min_rate) == (10.0, 20.0, 30.0)
    assert not some.implicit_tls and policy(tls="implicit").implicit_tls
    assert policy(tls="required").terms.needs_tls


@pytest.mark.parametrize(
    "name", ["staff", "STAFF", "Staff@Relay.example", "sales@xn--bcher-kva.test", "Sales@Bücher.test"]
)
def test_an_alias_however_it_is_written(name: str) -> None:
    to = ("anna@there.example",)
    assert policy(aliases=(("staff@relay.example", to), ("sales@xn--bcher-kva.test", to))).alias(name) == to


@pytest.mark.parametrize("name", ["staffs", "staff@elsewhere.example", "ståff@relay.example", "sales@bücher", "@", ""])
def test_what_is_no_alias_stands_for_nothing(name: str) -> None:
    to = ("anna@there.example",)
    assert policy(aliases=(("staff@relay.example", to), ("sales@xn--bcher-kva.test", to))).alias(name) == ()
