"""routing/router.py: every end a decision can have, with a resolver that answers from a table."""

import random
from collections.abc import Iterable
from typing import Any, cast

import pytest

from fastrelay import config
from fastrelay.mail.outcome import Deferred, Failed, Outcome, Phase
from fastrelay.mail.route import Route, RouteKind
from fastrelay.routing.answers import Answer, Exchange, Question, Status, failure
from fastrelay.routing.ourselves import Ourselves
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.router import LONGEST, Router

OWN = Ourselves(frozenset({"relay.test"}), frozenset({("198.41.0.99", 25)}))


class Table:
    """Answers by (name, type); what is not there does not exist, "!" fails, "?" exists without data."""

    def __init__(self, rows: dict[tuple[str, str], list[str]], ttl: int = 300, doubtful: str = "") -> None:
        self.rows = rows
        self.doubtful = doubtful  # the name whose answers nobody has validated
        self.ttl = ttl
        self.asked: list[tuple[str, str]] = []
        self.time = 1000.0

    def cached(self, name: str, rdtype: str, now: float) -> Answer | None:
        return None

    def statistics(self) -> dict[str, int]:
        return {"entries": len(self.rows)}

    def query_all(self, questions: Iterable[tuple[str, str]]) -> list[Answer]:
        return [self.answer(name, rdtype) for name, rdtype in questions]

    def answer(self, name: str, rdtype: str) -> Answer:
        self.asked.append((name, rdtype))
        rows = self.rows.get((name, rdtype))
        secure = name != self.doubtful
        expires = self.time + self.ttl
        if rows is None:
            known = any(owner == name for owner, _ in self.rows)
            return Answer(name, rdtype, Status.NO_DATA if known else Status.NO_NAME, expires=expires, secure=secure)
        if rows == ["!"]:
            return failure(Question(name, rdtype), "SERVFAIL")
        if rows == ["?"]:
            return Answer(name, rdtype, Status.NO_DATA, expires=expires, secure=secure)
        exchanges = tuple(Exchange(int(one.split()[0]), one.split()[1].rstrip(".")) for one in rows if rdtype == "MX")
        return Answer(name, rdtype, Status.FOUND, tuple(rows), exchanges, self.ttl, expires, secure=secure)


def router(rows: dict[tuple[str, str], list[str]], text: str = "", **more: Any) -> tuple[Router, Table]:
    table = Table(rows, **more)
    resolver = cast(Resolver, table)
    made = Router(
        config.parse(text),
        resolver,
        lambda: table.time,
        own=OWN,
        chance=random.Random(7),
        has_route=lambda address: True,
    )
    return made, table


def route(domain: str, rows: dict[tuple[str, str], list[str]], text: str = "") -> Route | Outcome:
    return router(rows, text)[0].route(domain)


def told(outcome: Route | Outcome) -> tuple[type, int, str]:
    assert isinstance(outcome, Outcome) and outcome.phase is Phase.ROUTE
    return type(outcome), outcome.reply.code, outcome.reply.enhanced


MX = {
    ("a.test", "MX"): ["10 mx1.a.test", "20 mx2.a.test"],
    ("mx1.a.test", "A"): ["198.41.0.4"],
    ("mx1.a.test", "AAAA"): ["2001:503:ba3e::1"],
    ("mx2.a.test", "A"): ["198.41.0.5"],
}


def test_by_mx() -> None:
    found = route("a.test", MX)
    assert isinstance(found, Route)
    assert (found.kind, found.site, found.exempt, found.secure) == (RouteKind.MX, "mx1.a.test,mx2.a.test", False, True)
    assert [(host.name, host.addresses, host.preference) for host in found.hosts] == [
        ("mx1.a.test", ("2001:503:ba3e::1", "198.41.0.4"), 10),
        ("mx2.a.test", ("198.41.0.5",), 20),
    ]
    assert found.expires == 1300.0


@pytest.mark.parametrize("doubtful", ["a.test", "mx1.a.test", "mx2.a.test"])
def test_one_answer_that_nobody_validated_makes_the_route_unsure(doubtful: str) -> None:
    """DANE may be built on nothing less than all of them (RFC 7672 2.2)."""
    found = router(MX, doubtful=doubtful)[0].route("a.test")
    assert isinstance(found, Route) and not found.secure


@pytest.mark.parametrize(("ip", "types"), [("4", {"MX", "A"}), ("6", {"MX", "AAAA"}), ("both", {"MX", "A", "AAAA"})])
def test_only_the_families_asked_for(ip: str, types: set[str]) -> None:
    made, table = router(MX, f'[delivery]\nip = "{ip}"')
    made.route("a.test")
    assert {rdtype for _, rdtype in table.asked} == types


def test_implicit_mx() -> None:
    found = route("a.test", {("a.test", "A"): ["198.41.0.4"]})
    assert isinstance(found, Route)
    assert (found.kind, found.site, found.hosts[0].name) == (RouteKind.IMPLICIT, "a.test", "a.test")


def test_the_way_is_kept_as_one_object_until_it_is_due() -> None:
    made, _ = router(MX)
    assert made.route_cached("a.test", 1000.0) is None
    found = made.route("a.test")
    assert made.route_cached("a.test", 1299.9) is found
    assert made.route_cached("a.test", 1300.0) is None
    made.forget("a.test")
    assert made.route_cached("a.test", 1000.0) is None
    gone = made.route("no.test")
    assert made.route_cached("no.test", 1000.0) is gone
    assert made.statistics()["routes"] == 1
    made.forget()
    assert made.statistics()["routes"] == 0


def test_no_decision_outlives_an_hour() -> None:
    made, _ = router(MX, ttl=10**6)
    found = made.route("a.test")
    assert isinstance(found, Route) and found.expires == 1000.0 + LONGEST


@pytest.mark.parametrize(
    ("domain", "rows", "end"),
    [
        ("no.test", {}, (Failed, 550, "5.1.2")),
        ("ä.test", {}, (Failed, 550, "5.1.2")),
        ("a" * 64 + ".test", {}, (Failed, 550, "5.1.2")),
        (".".join(["a" * 50] * 5) + ".test", {}, (Failed, 550, "5.1.2")),
        ("-", {}, (Failed, 550, "5.1.2")),
        ("a.test", {("a.test", "MX"): ["0 .", "10 ."]}, (Failed, 556, "5.1.10")),
        ("a.test", {("a.test", "MX"): ["10 relay.test"], ("relay.test", "A"): ["198.41.0.4"]}, (Failed, 554, "5.4.6")),
        ("a.test", {("a.test", "MX"): ["10 mx.test"], ("mx.test", "A"): ["!"]}, (Deferred, 451, "4.4.3")),
        (
            "a.test",
            {("a.test", "MX"): ["10 gone.test", "20 mx.test"], ("mx.test", "A"): ["!"]},
            (Deferred, 451, "4.4.3"),
        ),
        ("a..test", {}, (Failed, 550, "5.1.2")),
        ("", {}, (Failed, 550, "5.1.2")),
        ("192.0.2.1", {}, (Failed, 550, "5.1.2")),
        ("a.test", {("a.test", "MX"): ["!"]}, (Deferred, 451, "4.4.3")),
        ("a.test", {("a.test", "MX"): ["0 ."]}, (Failed, 556, "5.1.10")),
        ("a.test", {("a.test", "MX"): ["?"]}, (Failed, 550, "5.4.4")),
        ("a.test", {("a.test", "MX"): ["?"], ("a.test", "A"): ["!"]}, (Deferred, 451, "4.4.3")),
        ("a.test", {("a.test", "MX"): ["10 gone.test"], ("a.test", "A"): ["198.41.0.4"]}, (Failed, 550, "5.4.4")),
        ("a.test", {("a.test", "MX"): ["10 mx.test"], ("mx.test", "AAAA"): ["!"]}, (Deferred, 451, "4.4.3")),
        ("a.test", {("a.test", "MX"): [r"10 a\010b"]}, (Failed, 550, "5.4.4")),
        ("a.test", {("a.test", "MX"): ["10 mx.test"], ("mx.test", "A"): ["10.0.0.1"]}, (Failed, 550, "5.4.4")),
        ("a.test", {("a.test", "A"): ["127.0.0.1"]}, (Failed, 550, "5.4.4")),
        ("a.test", {("a.test", "MX"): ["10 relay.test", "20 b.test"]}, (Failed, 554, "5.4.6")),
        ("a.test", {("a.test", "MX"): ["10 mx.test"], ("mx.test", "A"): ["198.41.0.99"]}, (Failed, 554, "5.4.6")),
        ("relay.test", {("relay.test", "A"): ["198.41.0.4"]}, (Failed, 554, "5.4.6")),
        ("[127.0.0.1]", {}, (Failed, 550, "5.4.4")),
        ("[ipv6:::1]", {}, (Failed, 550, "5.4.4")),
        ("[198.41.0.99]", {}, (Failed, 554, "5.4.6")),
        ("[198.41.0]", {}, (Failed, 550, "5.1.2")),
        ("[x-tag:y]", {}, (Failed, 550, "5.1.2")),
    ],
)
def test_ends_without_a_way(domain: str, rows: dict[tuple[str, str], list[str]], end: tuple[type, int, str]) -> None:
    assert told(route(domain, rows)) == end


def test_one_host_that_fails_does_not_stop_the_others() -> None:
    found = route("a.test", {**MX, ("mx1.a.test", "A"): ["!"], ("mx1.a.test", "AAAA"): ["!"]})
    assert isinstance(found, Route) and [host.name for host in found.hosts] == ["mx2.a.test"]


def test_better_hosts_than_ourselves_are_used() -> None:
    rows = {**MX, ("a.test", "MX"): ["10 mx1.a.test", "20 relay.test", "30 mx2.a.test"]}
    found = route("a.test", rows)
    assert isinstance(found, Route) and [host.name for host in found.hosts] == ["mx1.a.test"]


def test_private_hosts_where_allowed() -> None:
    rows = {("a.test", "MX"): ["10 mx.test"], ("mx.test", "A"): ["127.0.0.1"]}
    found = route("a.test", rows, "[delivery]\nallow_private = true")
    assert isinstance(found, Route) and found.hosts[0].addresses == ("127.0.0.1",)
    one_site = '[[site]]\nname = "inner"\ndomain = ["a.test"]\nallow_private = true'
    assert isinstance(route("a.test", rows, one_site), Route)
    assert isinstance(route("b.test", {**rows, ("b.test", "MX"): ["10 mx.test"]}, one_site), Failed)


def test_address_literals() -> None:
    for domain, address in (("[198.41.0.4]", "198.41.0.4"), ("[ipv6:2001:503:ba3e::1]", "2001:503:ba3e::1")):
        found = route(domain, {})
        assert isinstance(found, Route) and found.kind is RouteKind.LITERAL
        assert (found.site, found.hosts[0].addresses) == (f"[{address}]", (address,))


def test_sixty_dead_mx_end_and_the_next_round_is_tried() -> None:
    rows = {("a.test", "MX"): [f"{n} mx{n}.test" for n in range(60)]}
    made, table = router(rows)
    assert told(made.route("a.test")) == (Failed, 550, "5.4.4")
    assert len(table.asked) == 1 + 2 * 30
    found = route("a.test", {**rows, ("mx15.test", "A"): ["198.41.0.4"]})
    assert isinstance(found, Route) and found.hosts[0].name == "mx15.test"


def test_ten_thousand_mx_are_looked_up_by_the_ten() -> None:
    rows = {("a.test", "MX"): [f"{n % 50} mx{n}.some-long-name-of-a-host.test" for n in range(10_000)]}
    made, table = router({**rows, ("mx50.some-long-name-of-a-host.test", "A"): ["198.41.0.4"]})
    found = made.route("a.test")
    assert len(table.asked) <= 1 + 2 * 30
    assert isinstance(found, Failed) or (isinstance(found, Route) and len(found.site) <= 255)
    assert sum(len(one) for one in made.explain("a.test").notes) < 10_000


def test_static_hops_are_exempt_and_sites_of_their_own() -> None:
    text = '[[route]]\ndomain = "*"\nnext_hop = ["127.0.0.1:2526"]'
    for domain in ("a.test", "[192.0.2.1]", "relay.test"):
        made, table = router({}, text)
        found = made.route(domain)
        assert isinstance(found, Route) and found.exempt and found.kind is RouteKind.STATIC
        assert (found.site, found.hosts[0].addresses, found.hosts[0].port) == ("127.0.0.1:2526", ("127.0.0.1",), 2526)
        assert table.asked == []


@pytest.mark.parametrize(("ip", "addresses"), [("both", ("127.0.0.1", "::1")), ("4", ("127.0.0.1",)), ("6", ("::1",))])
def test_localhost_has_the_families_asked_for(ip: str, addresses: tuple[str, ...]) -> None:
    found = route("a.test", {}, f'[delivery]\nip = "{ip}"\n[[route]]\ndomain = "*"\nnext_hop = ["localhost:26"]')
    assert isinstance(found, Route) and found.hosts[0].addresses == addresses


def test_a_site_row_that_names_the_domain_holds_whatever_way_its_mail_goes() -> None:
    """Its `tls = "verify"` must not end because a smart host was set up; domains without a row share the hops' site."""
    text = (
        '[[site]]\nname = "bank"\ndomain = ["bank.example", ".sub.example"]\ntls = "verify"\nip = "4"\n'
        '[[site]]\nname = "mx"\nmx_suffix = ["bank.example"]\n'
        '[[route]]\ndomain = "*"\nnext_hop = ["localhost:26"]'
    )
    found = [route(domain, {}, text) for domain in ("bank.example", "a.sub.example", "other.example")]
    assert [(one.site, one.hosts[0].addresses) for one in found if isinstance(one, Route)] == [
        ("bank", ("127.0.0.1",)), ("bank", ("127.0.0.1",)), ("localhost:26", ("127.0.0.1", "::1")),
    ]  # fmt: skip


def test_a_row_names_who_we_are_there() -> None:
    text = (
        '[[credentials]]\nname = "hub"\nuser = "u"\npassword = "p"\n'
        '[[route]]\ndomain = "a.example"\nnext_hop = ["192.0.2.7"]\ncredentials = "hub"\n'
        '[[route]]\ndomain = "b.example"\nnext_hop = ["192.0.2.7"]\n'
    )
    found = [route(domain, {}, text) for domain in ("a.example", "b.example")]
    assert [(one.site, one.credentials) for one in found if isinstance(one, Route)] == [
        ("192.0.2.7", "hub"), ("192.0.2.7", ""),
    ]  # fmt: skip


def test_a_named_hop_is_resolved_without_mx_and_waits_while_it_has_no_address() -> None:
    text = '[[route]]\ndomain = "a.test"\nnext_hop = ["smart.test:587", "unix:/run/x"]'
    made, table = router({("smart.test", "A"): ["10.0.0.1"]}, text)
    found = made.route("a.test")
    assert isinstance(found, Route)
    assert {(host.name, host.addresses, host.port) for host in found.hosts} == {
        ("smart.test", ("10.0.0.1",), 587),
        ("unix:/run/x", ("unix:/run/x",), 0),
    }
    assert table.asked == [("smart.test", "A"), ("smart.test", "AAAA")]
    alone = '[[route]]\ndomain = "a.test"\nnext_hop = ["smart.test:587"]'
    assert told(route("a.test", {}, alone)) == (Deferred, 451, "4.4.4")


def test_a_site_row_names_the_lane() -> None:
    found = route("a.test", MX, '[[site]]\nname = "big"\nmx_suffix = [".a.test"]')
    assert isinstance(found, Route) and found.site == "big"


def test_explain_tells_the_way() -> None:
    rows = {**MX, ("mx2.a.test", "A"): ["10.0.0.1"]}
    made, _ = router(rows)
    walk = made.explain("a.test")
    assert isinstance(walk.result, Route)
    assert [one.answer.rdtype for one in walk.asked] == ["MX", "A", "AAAA", "A", "AAAA"]
    assert {one.source for one in walk.asked} == {"servers"}
    assert any("10.0.0.1" in note for note in walk.notes)
    assert made.route_cached("a.test", 1000.0) is None


def test_a_reload_decides_anew_and_a_decision_from_before_is_not_kept() -> None:
    rows = {("d.test", "MX"): ["10 a.d.test"], ("a.d.test", "A"): ["1.1.1.1"]}
    one, table = router(rows)
    before = one.route("d.test")
    renewed = config.parse("[[site]]\nname = 'mine'\ndomain = ['d.test']\n")

    def in_the_middle(questions: Iterable[tuple[str, str]]) -> list[Answer]:
        one.renew(renewed, cast(Resolver, table))
        del table.query_all  # type: ignore[method-assign]
        return table.query_all(questions)

    table.query_all = in_the_middle  # type: ignore[method-assign]
    one.forget()
    one.route("d.test")  # begun before the reload
    assert one.route_cached("d.test", table.time) is None
    after = one.route("d.test")
    assert isinstance(before, Route) and isinstance(after, Route)
    assert before.site != "mine" and after.site == "mine"
