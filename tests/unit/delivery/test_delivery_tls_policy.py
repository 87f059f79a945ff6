"""tls_policy.py: the whole table of what is asked for, what is offered, and what follows."""

from typing import Any

import pytest

from fastrelay.config import Delivery
from fastrelay.delivery import tls_policy
from fastrelay.delivery.tls_policy import Step
from fastrelay.mail.outcome import Phase
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import Demand, Route, RouteKind, TlsLevel
from tests.unit.road_ends import host

NEVER, OPPORTUNISTIC, REQUIRE, VERIFY = TlsLevel


@pytest.mark.parametrize(
    ("word", "level"),
    [("never", NEVER), ("opportunistic", OPPORTUNISTIC), ("require", REQUIRE), ("verify", VERIFY)],
)
def test_demand(word: str, level: TlsLevel) -> None:
    route = Route("example", "mx.example", RouteKind.MX, (host(1), host(2)), 9e9)
    settings = Delivery(tls=word)  # type: ignore[arg-type]
    assert tls_policy.demand(route, settings) == Demand("mx.example", (host(1), host(2)), level)


@pytest.mark.parametrize(
    ("tls", "names", "wanted", "of_mx"),
    [
        ("verify", ["host"], (), ["mx.example"]),
        ("verify", ["domain"], ("a.example",), ["a.example"]),
        ("verify", ["host", "domain"], ("", "a.example"), ["mx.example", "a.example"]),
        ("verify", ["MX9.Example.", ".Example"], ("mx9.example", ".example"), ["mx9.example", ".example"]),
        ("require", ["domain"], (), ["mx.example"]),
    ],
)
def test_names_asked_for(tls: Any, names: list[str], wanted: tuple[str, ...], of_mx: list[str]) -> None:
    route = Route("a.example", "mx.example", RouteKind.MX, (host(1),), 9e9)
    found = tls_policy.demand(route, Delivery(tls=tls, tls_names=tuple(names))).verify_names
    assert found == wanted
    assert tls_policy.wanted_names(found, "MX.example.") == of_mx


def test_an_address_is_no_name_to_ask_for() -> None:
    assert tls_policy.wanted_names((), "192.0.2.1") == []
    assert tls_policy.wanted_names(("", "mx.example"), "unix:/run/lmtp") == ["mx.example"]
    assert tls_policy.wanted_names(("[192.0.2.1]",), "mx.example") == []


@pytest.mark.parametrize(
    ("level", "offered", "broken", "wanted"),
    [
        (NEVER, False, False, Step.PLAINTEXT),
        (NEVER, True, False, Step.PLAINTEXT),
        (NEVER, True, True, Step.PLAINTEXT),
        (OPPORTUNISTIC, False, False, Step.PLAINTEXT),
        (OPPORTUNISTIC, False, True, Step.PLAINTEXT),
        (OPPORTUNISTIC, True, False, Step.STARTTLS),
        (OPPORTUNISTIC, True, True, Step.PLAINTEXT),
        *[
            (level, offered, broken, Step.STARTTLS if offered else Step.REFUSE)
            for level in (REQUIRE, VERIFY)
            for offered in (True, False)
            for broken in (True, False)  # a handshake that failed before is no reason to go without
        ],
    ],
)
def test_next_step(level: TlsLevel, offered: bool, broken: bool, wanted: Step) -> None:
    assert tls_policy.next_step(level, offered, broken) is wanted


@pytest.mark.parametrize(
    ("level", "wanted"),
    [(NEVER, Step.PLAINTEXT), (OPPORTUNISTIC, Step.PLAINTEXT), (REQUIRE, Step.REFUSE), (VERIFY, Step.REFUSE)],
)
def test_after_refusal(level: TlsLevel, wanted: Step) -> None:
    assert tls_policy.after_refusal(level) is wanted


@pytest.mark.parametrize(
    ("level", "plain", "encrypted"),
    [
        (NEVER, NEVER, REQUIRE),
        (OPPORTUNISTIC, OPPORTUNISTIC, REQUIRE),
        (REQUIRE, OPPORTUNISTIC, REQUIRE),
        (VERIFY, OPPORTUNISTIC, VERIFY),
    ],
)
def test_proved(level: TlsLevel, plain: TlsLevel, encrypted: TlsLevel) -> None:
    """In plaintext nothing above OPPORTUNISTIC, whatever was asked; VERIFY only where it was."""
    assert tls_policy.proved(level, encrypted=False) is plain
    assert tls_policy.proved(level, encrypted=True) is encrypted


def test_not_offered() -> None:
    words = "mx.example does not offer STARTTLS, and policy asks for it"
    assert tls_policy.not_offered("mx.example") == (Phase.STARTTLS, Reply(451, "4.7.4", (words,)))


@pytest.mark.parametrize(
    ("host_name", "wanted"),
    [
        ("mx.example", "mx.example"),
        ("mx.example.", "mx.example"),
        ("_mx.example", "_mx.example"),
        ("localhost", "localhost"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        ("a" * 64 + ".example", None),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),  # 253
        (".".join(["a" * 49] * 5) + ".abcd", None),  # 254
        ("192.0.2.1", None),
        ("[192.0.2.1]", None),
        ("2001:db8::1", None),
        ("unix:/run/lmtp", None),
        ("/run/lmtp", None),
        ("mx..example", None),
        (".example", None),
        ("", None),
        (".", None),
        ("mx.exämple", None),
    ],
)
def test_server_name(host_name: str, wanted: str | None) -> None:
    assert tls_policy.server_name(host_name) == wanted
