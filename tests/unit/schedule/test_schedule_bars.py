"""schedule/bars.py, and what the scheduler does with mail before a bar: it waits, expires, comes when it is gone."""

import math
import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.schedule.bars import Bar, Bars
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.places import BATCH
from fastrelay.schedule.scheduler import BARRED, Scheduler

IDS = IdentSource()
FROM_JOE = Envelope("Joe@News.Example", (Recipient("x@a.test"),), 0.0, client="192.0.2.7")
FROM_NOBODY = Envelope("", (Recipient("x@a.test"),), 0.0, client="2001:db8::1")


@pytest.mark.parametrize(
    ("kind", "name", "finds"),
    [
        ("site", "big", True),
        ("site", "small", False),
        ("domain", "a.test", True),
        ("domain", "test", False),
        ("sender", "joe@news.example", True),
        ("sender", "", False),
        ("sender-domain", "news.example", True),
        ("sender-domain", "example", False),
        ("client", "192.0.2.7", True),
        ("client", "192.0.2.0/24", True),
        ("client", "2001:db8::/32", False),
    ],
)
def test_each_kind_bars_what_bears_its_name(kind: str, name: str, finds: bool) -> None:
    bar = Bar(kind, name, math.inf)
    assert Bars([bar], lambda ident: FROM_JOE, lambda: 0.0).find(b"", "a.test", "big") == (bar if finds else None)


def test_a_domain_beyond_ascii_is_barred_as_mail_is_grouped() -> None:
    envelope = Envelope("joe@b\u00fccher.test", FROM_JOE.recipients, 0.0)
    for bar in (Bar("domain", "b\u00fccher.test", math.inf), Bar("sender-domain", "b\u00fccher.test", math.inf)):
        bars = Bars([bar], lambda ident: envelope, lambda: 0.0)
        assert bars.find(b"", "xn--bcher-kva.test" if bar.kind == "domain" else "a.test", "") == bar


def test_the_null_sender_a_network_of_ipv6_and_who_has_no_envelope() -> None:
    bars = Bars(
        [Bar("sender", "", 5.0), Bar("client", "2001:db8::/32", 9.0), Bar("sender-domain", "x", 9.0)],
        lambda ident: {b"n": FROM_NOBODY}.get(ident),
        lambda: 0.0,
    )
    assert bars.find(b"n", "a.test", "") == Bar("client", "2001:db8::/32", 9.0), "the one that stands longest"
    assert bars.find(b"gone", "a.test", "") is None


def test_the_envelope_is_not_read_where_only_names_are_barred() -> None:
    def never(ident: bytes) -> Envelope:
        raise AssertionError("read")

    bars = Bars([Bar("site", "big", 5.0), Bar("domain", "b.test", 5.0)], never, lambda: 0.0)
    assert bars.find(b"", "a.test", "other") is None
    assert bars.find_by_name("b.test", "big") == [Bar("site", "big", 5.0), Bar("domain", "b.test", 5.0)]


def test_one_that_is_over_bars_nothing_and_hides_no_other() -> None:
    bars = Bars([Bar("site", "big", 5.0), Bar("domain", "a.test", 9.0)], lambda ident: None, lambda: 5.0)
    assert bars.find(b"", "a.test", "big") == Bar("domain", "a.test", 9.0)
    assert bars.find(b"", "x.test", "big") is None


class Clock:
    """Both clocks show the same."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    wall = now


class Settings:
    connections = 10


class House:
    """A scheduler whose domains are sites of their own, `mx.` before them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns: list[Callable[[], object]] = []
        self.ended: list[Item] = []
        self.off: list[bytes] = []
        self.woken: list[Lane] = []
        self.envelopes: dict[bytes, Envelope] = {}
        self.s = Scheduler(lambda site: Settings(), clock=self.clock, later=self.turns.append, chance=lambda: 0.5)
        self.s.attach(
            unrouted=lambda domain: self.s.routed(domain, a_route(domain), self.clock.at),
            ready=self.woken.append,
            expired=self.ended.append,
            put_off=lambda item: self.off.append(item.ident),
            late=lambda item: None,
        )

    def add(self, domain: str = "a.test", lasts: float = 100_000.0, envelope: Envelope = FROM_JOE) -> bytes:
        ident = IDS.fresh()
        self.envelopes[ident] = envelope
        self.s.add(ident, domain, (0,), expires=self.clock.at + lasts)
        return ident

    def bar(self, *bars: Bar) -> None:
        self.s.bar(Bars(bars, self.envelopes.get, self.clock.now) if bars else None)

    def run(self, until: float = 0.0) -> None:
        self.clock.at = max(self.clock.at, until)
        self.s.tick(self.clock.at)
        while self.turns:
            self.turns.pop(0)()

    def places(self, idents: Iterable[bytes]) -> set[Place]:
        return {item.place for ident in idents for item in self.s.items(ident)}

    def pick(self, domain: str = "a.test") -> Item | None:
        return self.s.next(self.s.lane(f"mx.{domain}"), self.clock.at)


def a_route(domain: str) -> Route:
    return Route(domain, f"mx.{domain}", RouteKind.MX, (Host("mx", ("192.0.2.1",)),), 9e9)


EVERY_KIND = [
    Bar("site", "mx.a.test", math.inf),
    Bar("domain", "a.test", math.inf),
    Bar("sender", "joe@news.example", math.inf),
    Bar("sender-domain", "news.example", math.inf),
    Bar("client", "192.0.2.0/24", math.inf),
]


@pytest.mark.parametrize("bar", EVERY_KIND, ids=lambda bar: bar.kind)
def test_mail_that_is_there_and_mail_that_comes_waits_and_comes_back(bar: Bar) -> None:
    house = House()
    there = [house.add() for _ in range(3)]
    other = house.add("b.test", envelope=FROM_NOBODY)
    house.bar(bar)
    house.run()
    later = house.add()
    assert house.places([*there, later]) == {Place.WAITING} and house.pick() is None
    assert house.places([other]) == {Place.READY} and set(house.off) == {*there, later}
    house.bar()
    house.run()
    assert house.places([*there, later]) == {Place.READY}
    assert house.s.walk() == (0, 0, 5, 0, 0, 0)


def test_mail_without_a_way_waits_before_its_bar_and_is_not_judged() -> None:
    """Else a domain suspended because its DNS is broken would lose the mail it was suspended for."""
    house = House()
    asked: list[str] = []
    house.s.attach(
        unrouted=asked.append, ready=house.woken.append, expired=house.ended.append,
        put_off=lambda item: house.off.append(item.ident), late=lambda item: None,
    )  # fmt: skip
    house.bar(Bar("domain", "a.test", math.inf))
    barred, free = house.add("a.test"), house.add("b.test")
    assert house.s.unroutable("a.test", house.clock.at) is None
    assert [item.ident for item in house.s.unroutable("b.test", house.clock.at) or ()] == [free]
    assert house.places([barred]) == {Place.WAITING} and house.off == [barred]
    house.bar()
    house.run()
    assert asked == ["a.test", "b.test", "a.test"], "it is routed anew when the bar is gone"
    assert [item.ident for item in house.s.unroutable("a.test", house.clock.at) or ()] == [barred]


def test_a_long_row_of_suspended_mail_without_a_way_is_put_aside_in_turns() -> None:
    """One call must not hold the loop for as long as the queue is; what is free behind them is still found."""
    house = House()
    house.s.attach(
        unrouted=lambda domain: None, ready=house.woken.append, expired=house.ended.append,
        put_off=lambda item: house.off.append(item.ident), late=lambda item: None,
    )  # fmt: skip
    house.bar(Bar("sender-domain", "news.example", math.inf))
    for _ in range(2 * BARRED + 1):
        house.add()
    free = house.add(envelope=FROM_NOBODY)
    row, answers = [0], []
    while (taken := house.s.unroutable("a.test", house.clock.at)) is not None:
        answers.append([item.ident for item in taken])
        row.append(len(house.off))
    assert answers == [[], [], [free]] and max(b - a for a, b in pairwise(row)) == BARRED
    assert len(house.off) == 2 * BARRED + 1 and house.s.walk().orphans == 0


def test_what_is_resumed_is_only_what_stood_before_that_bar() -> None:
    house = House()
    both, one = house.add("a.test"), house.add("b.test")
    house.bar(Bar("domain", "a.test", math.inf), Bar("sender", "joe@news.example", math.inf))
    house.run()
    item = house.add("c.test", envelope=FROM_NOBODY)
    picked = house.pick("c.test")
    assert picked is not None
    house.s.again(picked, (0,), house.clock.at + 300)
    house.bar(Bar("domain", "a.test", math.inf))
    house.run()
    assert house.places([both, item]) == {Place.WAITING} and house.places([one]) == {Place.READY}


def test_a_bar_ends_by_itself_and_its_mail_comes_spread() -> None:
    house = House()
    idents = [house.add() for _ in range(4)]
    house.bar(Bar("domain", "a.test", 5000.0))
    house.run()
    house.run(4999)
    assert house.places(idents) == {Place.WAITING}
    house.run(5061)
    assert house.places(idents) == {Place.READY}
    item = house.pick()
    assert item is not None and item.route is not None and item.attempts == 0


def test_mail_expires_while_it_waits_before_a_bar() -> None:
    house = House()
    idents = [house.add(lasts=500) for _ in range(3)]
    house.bar(Bar("domain", "a.test", math.inf))
    house.run()
    house.run(1502)
    assert [item.ident for item in house.ended] == idents


def test_hold_retry_and_release_do_not_pass_a_bar() -> None:
    house = House()
    held, hastened = house.add(), house.add()
    house.bar(Bar("domain", "a.test", math.inf))
    house.run()
    house.s.hold(held)
    house.s.retry(hastened)
    assert house.places([held]) == {Place.HELD} and house.places([hastened]) == {Place.WAITING}
    house.s.release(held)
    assert house.places([held]) == {Place.WAITING}
    house.s.hold(held)
    house.bar()
    house.run()
    assert house.places([held]) == {Place.HELD} and house.places([hastened]) == {Place.READY}


def test_what_was_held_before_a_bar_is_no_longer_marked_as_suspended() -> None:
    house = House()
    ident = house.add()
    house.bar(Bar("domain", "a.test", math.inf))
    house.run()
    (item,) = house.s.items(ident)
    assert item.route is not None
    house.s.hold(ident)
    house.s.release(ident, house.clock.at + 500)
    assert item.place is Place.WAITING and item.route is None


def test_a_pick_puts_a_bounded_number_aside_and_runners_are_woken_behind_them() -> None:
    house = House()
    barred = [house.add() for _ in range(3 * BARRED)]
    free = house.add(envelope=FROM_NOBODY)
    house.bar(Bar("sender", "joe@news.example", math.inf))
    assert house.pick() is None and house.s.audit().waiting == BARRED
    house.woken.clear()
    house.run()
    assert house.places(barred) == {Place.WAITING} and house.woken
    item = house.pick()
    assert item is not None and item.ident == free


def test_a_suspended_site_is_left_to_its_window() -> None:
    """A bar is the operator's, the lane's own suspension the window's: neither ends the other."""
    house = House()
    ident = house.add()
    lane = house.s.suspend_lane("mx.a.test", 2000.0, "down")
    house.bar(Bar("site", "mx.a.test", 1500.0))
    house.run(1600.0)
    assert lane.suspended(house.clock.at) and house.places([ident]) == {Place.WAITING}
    house.bar(Bar("site", "mx.a.test", 9000.0))
    house.run(3000.0)
    assert house.places([ident]) == {Place.WAITING}
    house.bar()
    house.run()
    assert house.places([ident]) == {Place.READY}


def test_nothing_is_lost_at_random() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    house = House()
    idents = []
    for step in range(300):
        match chance.randrange(6):
            case 0:
                idents += [house.add(chance.choice(("a.test", "b.test"))) for _ in range(chance.randrange(8))]
            case 1:
                house.bar(*chance.sample(EVERY_KIND, chance.randrange(4)))
            case 2:
                item = house.pick(chance.choice(("a.test", "b.test")))
                if item is not None:
                    house.s.again(item, (0,), house.clock.at + chance.choice((0, 60)))
            case 3 if idents:
                chance.choice((house.s.hold, house.s.release, house.s.retry))(chance.choice(idents))
            case 4:
                house.run(house.clock.at + chance.randrange(100))
            case 5 if house.turns:
                house.turns.pop(0)()
        assert sum(house.s.audit()[:5]) == len(idents), step
    house.bar()
    for ident in idents:
        house.s.release(ident)
    house.run()
    house.run(house.clock.at + 4000)
    assert house.s.walk().orphans == 0
    assert house.places(idents) <= {Place.READY}


def test_a_long_lane_is_gone_through_in_slices() -> None:
    house = House()
    for _ in range(3 * BATCH):
        house.add()
    house.bar(Bar("domain", "a.test", math.inf))
    turns = 0
    house.clock.at += 1
    while house.turns:
        house.turns.pop(0)()
        turns += 1
    assert turns >= 1 and house.s.audit().waiting == 3 * BATCH
