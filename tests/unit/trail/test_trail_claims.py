"""Host name and address of each pair, and what a stranger says in HELO: by their looks, and by DNS."""

import pytest

from fastrelay.trail import claims
from fastrelay.trail.finding import Check
from fastrelay.trail.parse import hop, hops
from tests.peers.trails import Dns

WHEN = "; Wed, 25 Nov 2026 12:00:00 +0000"
NOON = 1_795_608_000.0


def checks(sender: str, by: str = "mx.example.com", protocol: str = "ESMTP", before: str = "") -> list[Check]:
    older = hop(f"from pc by {before}{WHEN}") if before else None
    return [one.check for one in claims.pair(hop(f"from {sender} by {by} with {protocol}{WHEN}"), older)]


def test_an_ordinary_pair_says_nothing() -> None:
    assert checks("out.example.net (out.example.net [203.0.113.1])") == []
    assert checks("pc (dsl-7.example.net [203.0.113.1])") == []


@pytest.mark.parametrize(
    "sender",
    [
        "mx.example.com (dsl-7.example.net [203.0.113.1])",
        "mx.example.com (unknown [203.0.113.1])",
        "dsl-7.example.net ([203.0.113.1] helo=mx.example.com)",
        "unknown (HELO mx.example.com) (203.0.113.1)",
    ],
)
def test_helo_is_the_receivers_name(sender: str) -> None:
    assert checks(sender) == [Check.HELO_SELF]


def test_helo_is_the_receivers_address() -> None:
    assert checks("[198.51.100.9] (unknown [203.0.113.1])", by="mx.example.com ([198.51.100.9])") == [Check.HELO_SELF]


def test_a_host_may_hand_to_itself() -> None:
    assert checks("mx.example.com (localhost [127.0.0.1])") == []
    assert checks("mx.example.com (mx.example.com [203.0.113.1])") == []
    assert checks("mx.example.com (in.example.com [203.0.113.1])") == []
    assert checks("mx.example.com (unknown [203.0.113.1])", before="in.example.com") == []
    assert checks("mx.example.com (unknown [203.0.113.1])", by="mx.example.com ([203.0.113.1])") == []


def test_a_user_who_logged_in_may_say_anything() -> None:
    assert checks("mx.example.com (unknown [203.0.113.1])", protocol="ESMTPSA") == []
    assert checks("gmail.com (dsl-7.example.net [203.0.113.1])", protocol="ESMTPSA") == []
    assert checks("gmail.com (dsl-7.example.net [203.0.113.1]) (authenticated bits=0)") == []
    assert checks("dsl-7.example.net (HELO mx.example.com) (joe@203.0.113.1 with login)") == []
    assert checks("mx.example.com (author.example.net [203.0.113.1])") == [Check.HELO_SELF]


def test_a_large_provider_is_not_a_strangers_name() -> None:
    assert checks("mx4.mail.yahoo.com (host217.example.net [203.0.113.1])") == [Check.BORROWED]
    assert checks("mail-wr1.google.com (mail-wr1.google.com [203.0.113.1])") == []
    assert checks("mx4.mail.yahoo.com (unknown [203.0.113.1])") == []  # without DNS nobody can say
    assert checks("mx.small.example (host217.example.net [203.0.113.1])") == []


@pytest.mark.parametrize(
    ("sender", "wrong"),
    [
        ("pc (74-93-104-97.hfc.example.net [198.51.100.7])", True),
        ("pc (host-7.pool-100-51-198.example.net [203.0.113.1])", False),  # not four next to one another
        ("pc (203-0-113-97.dsl.example.net [203.0.113.97])", False),
        ("pc (97.113.0.203.dsl.example.net [203.0.113.97])", False),
        ("pc (mx1.example.net [203.0.113.97])", False),
    ],
)
def test_a_name_that_spells_another_address(sender: str, wrong: bool) -> None:
    assert checks(sender) == ([Check.NAME_ADDRESS] if wrong else [])


@pytest.mark.parametrize(
    "sender", ["x (unknown [0.1.2.3])", "x (unknown [240.1.1.1])", "x (y [300.1.2.3])", "x [1.2.3.999]"]
)
def test_addresses_no_host_can_have(sender: str) -> None:
    assert checks(sender) == [Check.ADDRESS]


def test_the_servers_own_doubt() -> None:
    assert checks("x (y.example.net [203.0.113.1] (may be forged))") == [Check.SPOKEN]


def test_a_private_client_behind_a_public_host_of_another_house() -> None:
    def found(before: str, sender: str) -> list[int]:
        chain = hops([f"from {sender} by mx.example.com with SMTP{WHEN}", f"from pc by {before} with SMTP{WHEN}"])
        return [one.hop for one in claims.inward(chain)]

    assert found("out.example.net", "x (unknown [10.0.0.1])") == [2]
    assert found("in.example.com", "x (unknown [10.0.0.1])") == []
    assert found("out.example.net", "out.example.net (unknown [10.0.0.1])") == []
    assert found("mailhost", "x (unknown [10.0.0.1])") == []
    assert found("out.example.net", "x (unknown [203.0.113.1])") == []


# -- with DNS ---------------------------------------------------------------------------------------------------------

DNS = Dns({"out.example.net": "203.0.113.1 2001:db8::1"}, {"203.0.113.1": "out.example.net"})


def asked(sender: str, dns: Dns = DNS, now: float = NOON + 60) -> list[Check]:
    return [one.check for one in claims.by_dns(hop(f"from {sender} by mx.example.com with SMTP{WHEN}"), dns, now)]


def test_dns_agrees() -> None:
    assert asked("pc (out.example.net [203.0.113.1])") == [] and asked("pc (out.example.net [IPv6:2001:db8::1])") == []


def test_dns_says_otherwise() -> None:
    assert asked("pc (out.example.net [198.51.100.1])") == [Check.NO_NAME]
    assert asked("pc (gone.example.net [198.51.100.1])") == [Check.NO_NAME]


def test_of_old_mail_dns_knows_nothing_any_more() -> None:
    assert asked("pc (gone.example.net [198.51.100.1])", now=NOON + 60 * 86400) == []


def test_a_provider_is_asked_for_its_address() -> None:
    assert asked("mx4.mail.yahoo.com (unknown [203.0.113.1])") == [Check.BORROWED]
    dns = Dns({}, {"203.0.113.1": "mx4.mail.yahoo.com"})
    assert asked("mx4.mail.yahoo.com (unknown [203.0.113.1])", dns) == []


def test_private_addresses_are_not_asked_about() -> None:
    assert asked("pc (gone.example.net [10.0.0.1])") == []
