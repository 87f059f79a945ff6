"""control/explain.py on a real schedule and window, with a router, a ledger and a spool that live in dicts."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fastrelay.config import Config, Delivery, Rate, Site
from fastrelay.control import explain
from fastrelay.control.explain import Explainer
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.outcome import Deferred, Outcome, Phase, Scope
from fastrelay.mail.reply import reply
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.mail.state import State, Waiting
from fastrelay.routing.walk import Walk
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.bars import Bar, Bars
from fastrelay.schedule.item import Item
from fastrelay.schedule.scheduler import Scheduler

IDS = IdentSource()
CONFIG = Config(
    delivery=Delivery(connections=7),
    sites=(Site("big", delivery=Delivery(connections=3)), Site("guarded", delivery=Delivery(login="of the site"))),
)


class House:
    def __init__(self) -> None:
        self.known: dict[str, Route | Outcome] = {}
        self.states: dict[bytes, State] = {}
        self.used, self.seconds = 2, 1.5
        self.s = Scheduler(lambda site: CONFIG.delivery, later=lambda function: function())
        self.s.attach(
            unrouted=self.unrouted,
            ready=lambda lane: None,
            expired=lambda item: None,
            put_off=lambda item: None,
            late=lambda item: None,
        )
        self.explain: Callable[[str], Walk] = lambda domain: Walk(domain, self.known[domain])
        self.unconnected: list[Item] = []
        self.line = 0
        self.explainer = Explainer(
            self.s, self, self, self, lambda: CONFIG,
            rests=lambda address, port: clock.now() + 40.0 if (address, port) == ("192.0.2.1", 25) else 0.0,
            unconnected=lambda site: self.unconnected, in_line=lambda site: self.line, rest=lambda seconds: None,
        )  # fmt: skip

    def unrouted(self, domain: str) -> None:
        found = self.known.get(domain)
        if isinstance(found, Route):
            self.s.routed(domain, found, clock.now())

    def route_cached(self, domain: str, now: float) -> Route | Outcome | None:
        return self.known.get(domain)

    def total(self, key: Any) -> int:
        return self.used if key.names == ("big",) else 0

    def rate_seconds(self, key: Any, rate: Rate, now: float) -> float:
        return self.seconds

    def envelope(self, ident: bytes) -> Envelope | None:
        return Envelope("s@x.test", (Recipient("r@a.test"),), 0.0) if ident in self.states else None

    def state(self, ident: bytes) -> State:
        return self.states[ident]

    def add(self, domain: str = "a.test", due: float = 0.0) -> bytes:
        ident = IDS.fresh()
        self.states[ident] = State(1, (Waiting(1, due, "451 4.2.0 grey"),))
        self.s.add(ident, domain, (0,), expires=clock.wall() + 9999, due=due, attempts=1)
        return ident


def a_route(domain: str, site: str = "big") -> Route:
    return Route(domain, site, RouteKind.MX, (Host("mx", ("192.0.2.1",)),), clock.now() + 600)


@pytest.fixture
def house() -> House:
    return House()


def test_a_domain_whose_mail_is_in_line(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    house.known["b.test"] = a_route("b.test")
    house.add("b.test")
    for _ in range(3):
        house.add()
    facts = house.explainer.domain("a.test")
    assert facts["site"] == "big" and facts["route"]["hosts"][0]["name"] == "mx"
    assert facts["route"]["hosts"][0]["resting"] == {"192.0.2.1": pytest.approx(40.0, abs=5.0)}
    assert facts["limits"]["connections"] == {"value": 3, "from": "[[site]] big"}
    assert facts["limits"]["tls"] == {"value": "opportunistic", "from": "default"}
    assert facts["ledger"] == {"connections": 2, "rate_seconds": 1.5}
    assert facts["queued"]["places"] == {"ready": 3} and facts["lane"]["ready"] == 4
    assert facts["queued"]["last"] == "451 4.2.0 grey" and facts["queued"]["attempts"] == 1
    assert "may begin in 1.5 s" in facts["why"]


def test_whose_login_it_is(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    assert house.explainer.domain("a.test")["login"] == ""
    house.known["a.test"] = msgspec.structs.replace(a_route("a.test"), credentials="hub")
    assert house.explainer.domain("a.test")["login"] == "hub"
    house.known["a.test"] = a_route("a.test", "guarded")
    assert house.explainer.domain("a.test")["login"] == "of the site"


def test_where_a_limit_comes_from_goes_by_the_site(house: House) -> None:
    house.known["c.test"] = a_route("c.test", "mx.c.test")
    assert house.explainer.domain("c.test")["limits"]["connections"] == {"value": 7, "from": "[delivery]"}


def test_one_message_in_its_lane(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    idents = [house.add() for _ in range(5)]
    (facts,) = house.explainer.message(idents[3])
    assert facts["queued"]["position"] == 4 and facts["queued"]["items"] == 1
    assert house.explainer.message(b"x" * 16) == []


def test_one_that_waits_and_what_the_site_said(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    ident = house.add(due=clock.wall() + 300)
    lane = house.s.lane("big")
    for n in range(7):
        lane.note(clock.now(), f"45{n} no")
    lane.window, _ = lane.window.crowded(clock.now(), 0.5)
    lane.word = "it says so"
    (facts,) = house.explainer.message(ident)
    assert facts["queued"]["next_seconds"] == pytest.approx(300, abs=5)
    assert [one["reply"] for one in facts["lane"]["last"]] == [f"45{n} no" for n in range(2, 7)]
    assert facts["lane"]["window"]["closed_seconds"] > 200 and facts["lane"]["window"]["word"] == "it says so"
    assert "451 4.2.0 grey; the next attempt is in 5 min" in facts["why"]


def test_a_suspension_is_named(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    ident = house.add()
    house.s.bar(Bars([Bar("domain", "a.test", math.inf, "moving")], house.envelope, clock.now))
    (facts,) = house.explainer.message(ident)
    assert facts["queued"]["places"] == {"suspended": 1}
    assert facts["suspensions"] == [{"kind": "domain", "name": "a.test", "seconds": None, "reason": "moving"}]
    assert house.explainer.domain("a.test")["suspensions"] == facts["suspensions"]


def test_a_domain_of_which_a_sender_is_suspended_names_him(house: House) -> None:
    """What waits before such a bar is looked at next when it expires: that is not its next attempt."""
    house.known["a.test"] = a_route("a.test")
    for _ in range(3):
        house.add()
    house.s.bar(Bars([Bar("sender", "s@x.test", math.inf, "he asked")], house.envelope, clock.now))
    facts = house.explainer.domain("a.test")
    assert [bar["name"] for bar in facts["suspensions"]] == ["s@x.test"]
    assert "sender s@x.test is suspended until it is resumed: he asked" in facts["why"]
    house.s.bar(None)
    soon = house.add(due=clock.wall() + 300)
    house.s.bar(Bars([Bar("sender", "s@x.test", math.inf, "he asked")], house.envelope, clock.now))
    facts = house.explainer.domain("a.test")
    assert facts["queued"]["places"] == {"suspended": 3, "waiting": 1}
    assert facts["queued"]["next_seconds"] == pytest.approx(300, abs=5)
    assert "next attempt is in 5 min; 3 of its 4 messages are suspended" in facts["why"], soon


def test_a_domain_on_hold_tells_why(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    ident = house.add()
    house.s.hold(ident)
    house.states[ident] = State(2, house.states[ident].recipients, "asked by marketing")
    assert "on hold: asked by marketing;" in house.explainer.domain("a.test")["why"]


def test_a_message_in_hand_is_delivered_once_it_has_a_connection(house: House) -> None:
    house.known["a.test"] = a_route("a.test")
    idents = [house.add() for _ in range(3)]
    lane = house.s.lane("big")
    item = house.s.next(lane, clock.now())
    assert item is not None
    house.unconnected, house.line = [item], 1
    (facts,) = house.explainer.message(idents[0])
    assert facts["queued"]["unconnected"] == 1 and facts["lane"]["in_line"] == 1
    assert facts["why"].startswith("waiting because the next connection to big may begin in 1.5 s")
    house.line = 0
    (facts,) = house.explainer.message(idents[0])
    assert facts["why"].startswith("waiting because the connection to big is being made")
    house.unconnected = []
    (facts,) = house.explainer.message(idents[0])
    assert facts["why"] == "being delivered this moment"


def test_the_name_servers_are_asked_for_all_domains_of_a_message_at_once(house: House) -> None:
    """Whoever asks waits two seconds for a worker, whatever the number of domains."""
    all_asked = tasks.Event()
    asked: list[str] = []

    def wait(domain: str) -> Walk:
        asked.append(domain)
        if len(asked) == 3:
            all_asked.set()
        all_asked.wait(10.0)
        return Walk(domain, house.known[domain])

    house.explain = wait
    house.known |= {name: a_route(name) for name in ("a.test", "b.test", "c.test")}
    ident = house.add("a.test")
    for name in ("b.test", "c.test"):
        house.s.add(ident, name, (0,), expires=clock.wall() + 9999)
    facts = house.explainer.message(ident)
    assert sorted(one["domain"] for one in facts) == ["a.test", "b.test", "c.test"] == sorted(asked)
    assert all(one["dns"] == [] for one in facts)


def test_no_route_is_told_with_its_reason(house: House) -> None:
    house.known["a.test"] = Deferred(reply(451, "4.4.3", "no name server answers"), Phase.ROUTE, Scope.SITE)
    house.add(due=clock.wall() + 60)
    facts = house.explainer.domain("a.test")
    assert facts["route"] is None and facts["ledger"] is None and facts["lane"] is None
    assert "no way to a.test: 451 4.4.3 no name server answers" in facts["why"]


def test_name_servers_that_do_not_answer_are_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "DNS_PATIENCE", 0.01)
    never = tasks.Parking()
    house.explain = lambda domain: never.wait(5.0)
    house.add()
    facts = house.explainer.domain("a.test")
    assert facts["dns"] is None and "name servers have not answered" in facts["why"]
    never.wake(Walk("a.test", a_route("a.test")))
