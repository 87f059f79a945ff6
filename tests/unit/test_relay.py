"""relay.py and schedule/runners.py: the walk over scripted routers and carriers; whatever fails, no item is lost."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fastrelay.config import Config, Delivery, Retry, Server
from fastrelay.errors import Impossible, MachineShort, SpoolDamaged
from fastrelay.intake import Intake
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import reply
from fastrelay.mail.route import Route
from fastrelay.mail.state import Status, Waiting
from fastrelay.metrics import Counts
from fastrelay.relay import Relay
from fastrelay.runtime import tasks
from fastrelay.schedule import runners as runners_module
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.settlement.notices import left_when_late
from fastrelay.settlement.settle import Settle
from tests.unit.rooms import IDS, HandClock, MemorySpool, Remembered, Stored, a_route, settle_down, until

OK = Delivered(reply(250, "2.0.0", "ok"), Phase.DOT, Scope.MESSAGE, "mx")
LATER = Deferred(reply(450, "4.2.0", "later"), Phase.RCPT, Scope.RECIPIENT, "mx")
DEAD = Deferred(reply(451, "4.4.1", "refused"), Phase.CONNECT, Scope.HOST, "mx")
LIMIT = Deferred(reply(451, "4.4.5", "in use"), Phase.QUEUE, Scope.SITE, retry_after=0.02)
NXDOMAIN = Failed(reply(550, "5.1.2", "no such domain"), Phase.ROUTE, Scope.RECIPIENT)
DNS_DOWN = Deferred(reply(451, "4.4.3", "no answer"), Phase.ROUTE, Scope.RECIPIENT)


class Connection:
    local_address = "192.0.2.99"
    tls_version = tls_cipher = tls_doubt = ""


class Hands:
    """A carrier. Every step asks the house what to do, and notes that it was taken."""

    def __init__(self, house: "House") -> None:
        self.house = house
        self.connection: object = None
        self.connect_seconds = self.transmit_seconds = self.progress = 0.0
        self.converted = False
        self.login = ""
        self.rested = 0
        self.closed = False
        self.doubt: list[Outcome | None] | None = None
        house.hands.append(self)

    def ready(self, demand: Any, route: Route, now: float) -> Outcome | None:
        self.demand = demand
        answer = self.house.on_ready(self, route)
        if answer is None:
            self.connection = self.connection or Connection()
        return answer

    def deliver(
        self, demand: Any, route: Route, envelope: Envelope, indices: tuple[int, ...], parts: Any, now: float
    ) -> Sequence[Outcome]:
        assert demand is self.demand and not self.closed
        self.house.carried.append((route.domain, tuple(envelope.recipients[n].address for n in indices)))
        return self.house.on_deliver(self, route, indices)

    def so_far(self, indices: tuple[int, ...]) -> list[Outcome | None]:
        return self.doubt or [None] * len(indices)

    def rest(self, now: float) -> None:
        self.rested += 1

    def close(self) -> None:
        self.closed = True


class Noted:
    """Who begins and ends, and who is tried alone."""

    def __init__(self, notes: list[bytes], alone: list[bytes]) -> None:
        self.notes = notes
        self.lone = alone

    def begin(self, ident: bytes) -> int:
        self.notes.append(ident)
        return 1

    def end(self, cell: int, ident: bytes) -> None:
        assert cell == 1 and ident in self.notes
        self.notes.append(b"")

    def alone(self, ident: bytes) -> None:
        self.lone.append(ident)


class House:
    """Everything real but spool, router and carriers. Routes are known unless `routes` says otherwise."""

    def __init__(self, wary: Sequence[bytes] = ()) -> None:
        self.clock = HandClock()
        self.spool = MemorySpool()
        self.log = Remembered()
        self.hands: list[Hands] = []
        self.carried: list[tuple[str, tuple[str, ...]]] = []
        self.notes: list[bytes] = []
        self.alone: list[bytes] = []
        self.cached: dict[str, Route | Outcome] = {}
        self.asked: list[str] = []
        self.on_route: Callable[[str], Route | Outcome] = a_route
        self.on_ready: Callable[[Hands, Route], Outcome | None] = lambda hands, route: None
        self.on_deliver: Callable[[Hands, Route, tuple[int, ...]], Sequence[Outcome]] = lambda hands, route, indices: (
            [OK] * len(indices)
        )
        self.settings = Delivery()
        config = Config(server=Server(hostname="relay.test"), retry=Retry(jitter=0.0))
        self.turns: list[Callable[[], object]] = []
        self.schedule = Scheduler(
            self.settings_of,
            notice_left=left_when_late(config),
            clock=self.clock,
            later=tasks.later,
            chance=lambda: 0.5,
        )
        self.intake = Intake(self.spool, self.schedule, IDS, config.retry.expire)
        self.settle = Settle(
            self.spool,
            self.schedule,
            self.intake,
            self.log,
            Counts(),
            config,
            clock=self.clock,
            chance=lambda: 0.5,
        )
        self.relay = Relay(
            self.spool,
            self.schedule,
            self,
            lambda: Hands(self),
            self.settle,
            self.settings_of,
            in_hand=Noted(self.notes, self.alone),
            wary=wary,
            now=self.clock.now,
        )

    def settings_of(self, site: str) -> Delivery:
        return self.settings

    def route_cached(self, domain: str, now: float) -> Route | Outcome | None:
        found = self.cached.get(domain)
        return None if isinstance(found, Route) and found.expires <= now else found

    def route(self, domain: str) -> Route | Outcome:
        self.asked.append(domain)
        found = self.on_route(domain)
        self.cached[domain] = found
        return found

    def accept(self, *addresses: str, sender: str = "a@s.test") -> bytes:
        recipients = tuple(Recipient(address) for address in addresses)
        return self.intake.accept(
            Envelope(sender, recipients, self.clock.wall()), b"", b"Subject: x\r\n\r\n", ident=IDS.fresh()
        )

    def item(self, ident: bytes) -> Item:
        (item,) = self.schedule.items(ident)
        return item

    def at(self, seconds: float) -> None:
        self.clock.mono = seconds
        self.schedule.tick(seconds)

    def is_sound(self) -> bool:
        """Every item stands somewhere, and none is left in a hand."""
        audit = self.schedule.walk()
        return audit.orphans == 0 and audit.running == 0


class Crashes(list[BaseException]):
    """What tasks ended with. A test that expects none need not look: the fixture does."""

    expected = False


@pytest.fixture(autouse=True)
def crashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crashes]:
    found = Crashes()
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: found.append(error))
    yield found
    if not found.expected:
        assert found == []


# -- the walk -----------------------------------------------------------------------------------------------------


def test_a_message_walks_through() -> None:
    house = House()
    ident = house.accept("x@d.test", "y@d.test", "z@e.test")
    until(lambda: not house.spool.messages)
    assert sorted(house.carried) == [("d.test", ("x@d.test", "y@d.test")), ("e.test", ("z@e.test",))]
    assert house.spool.ended[ident].recipients == (1, 1, 1) and len(house.schedule) == 0
    assert house.asked == ["d.test", "e.test"] and house.notes == [ident, b"", ident, b""]
    assert house.log.kinds == ["Delivery"] * 3


def test_a_known_route_is_used_without_a_task_for_it() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    ident = house.accept("x@d.test")
    assert house.item(ident).place is Place.READY and house.asked == []
    until(lambda: not house.spool.messages)


def test_one_question_for_all_who_wait_and_none_waits_for_another_domain() -> None:
    house = House()
    place = tasks.Parking()

    def route(domain: str) -> Route:
        if domain == "slow.test":
            place.wait()
        return a_route(domain)

    house.on_route = route
    for _ in range(5):
        house.accept("x@slow.test")
    house.accept("x@d.test")
    until(lambda: house.carried == [("d.test", ("x@d.test",))])
    assert house.asked == ["slow.test", "d.test"]
    place.wake()
    until(lambda: not house.spool.messages)
    assert house.asked == ["slow.test", "d.test"] and len(house.carried) == 6


def test_more_domains_than_routers_are_asked_for_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrelay.errands.ROUTERS", 3)
    house = House()
    waiting: list[tasks.Parking] = []

    def route(domain: str) -> Route:
        waiting.append(tasks.Parking())
        waiting[-1].wait()
        return a_route(domain)

    house.on_route = route
    for n in range(10):
        house.accept(f"x@d{n}.test")
    settle_down()
    assert len(house.asked) == 3 and house.relay.statistics()["routing"] == 10

    def answer(n: int) -> None:
        until(lambda: len(waiting) > n)
        waiting[n].wake()

    for n in range(10):
        answer(n)
    until(lambda: not house.spool.messages)
    assert len(set(house.asked)) == 10 and house.relay.statistics()["routing"] == 0


def test_a_domain_that_does_not_exist_bounces_all_that_waits_for_it() -> None:
    house = House()
    house.on_route = lambda domain: NXDOMAIN if domain == "d.test" else a_route(domain)
    idents = [house.accept("x@d.test") for _ in range(70)]
    until(lambda: not house.spool.messages, "bounces delivered")
    assert all(house.spool.ended[ident].recipients == (Status.FAILED,) for ident in idents)
    assert house.asked == ["d.test", "s.test"] and len(house.carried) == 70 and house.is_sound()


def test_dns_that_is_down_defers() -> None:
    house = House()
    house.on_route = lambda domain: DNS_DOWN
    ident = house.accept("x@d.test")
    until(lambda: house.item(ident).place is Place.WAITING)
    assert house.item(ident).attempts == 1
    house.cached.clear()
    house.on_route = a_route
    house.at(house.clock.mono + 302.0)
    until(lambda: not house.spool.messages)


def test_a_router_with_a_bug_leaves_the_item_to_the_patrol(crashes: Crashes) -> None:
    crashes.expected = True
    house = House()

    def broken(domain: str) -> Route:
        raise Impossible("a bug")

    house.on_route = broken
    ident = house.accept("x@d.test")
    until(lambda: len(crashes) == 1)
    assert house.item(ident).place is Place.ROUTING
    house.on_route = a_route
    house.at(house.clock.mono + 61.0)
    until(lambda: not house.spool.messages)


def test_a_stale_route_is_looked_up_again_before_it_is_used() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test", expires=house.clock.mono + 5.0)
    house.accept("x@d.test")
    house.clock.mono += 10.0
    until(lambda: not house.spool.messages)
    assert house.asked == ["d.test"]


def test_a_domain_that_moved_takes_its_items_along() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test", expires=house.clock.mono + 5.0)
    house.on_route = lambda domain: a_route(domain, "elsewhere")
    ident = house.accept("x@d.test")
    house.clock.mono += 10.0
    until(lambda: not house.spool.messages)
    assert house.log.events[-1]["site"] == "elsewhere" and house.log.events[-1]["num_attempts"] == 1
    assert house.spool.ended[ident].version == 1


def test_after_a_reload_no_route_from_before_is_used() -> None:
    """Nor by what stood in its lane already; and the router is asked again where it knows nothing yet."""
    house = House()
    house.cached["d.test"] = a_route("d.test")
    ident = house.accept("x@d.test")
    house.cached.clear()
    house.on_route = lambda domain: a_route(domain, "elsewhere")
    house.relay.renew()
    until(lambda: not house.spool.messages)
    assert house.asked == ["d.test"]
    assert house.log.events[-1]["site"] == "elsewhere" and house.log.events[-1]["num_attempts"] == 1
    assert house.spool.ended[ident].version == 1
    house.accept("y@d.test")
    until(lambda: not house.spool.messages)
    assert house.asked == ["d.test"], "the new one is kept"


def test_a_domain_that_went_is_settled_with_what_the_router_says() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test", expires=house.clock.mono + 5.0)
    house.on_route = lambda domain: NXDOMAIN if domain == "d.test" else a_route(domain)
    ident = house.accept("x@d.test")
    house.clock.mono += 10.0
    until(lambda: ident in house.spool.ended)
    assert house.spool.ended[ident].recipients == (Status.FAILED,)


# -- what goes wrong in an attempt --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["ready", "read", "deliver", "settle"])
@pytest.mark.parametrize("error", [ValueError("a bug"), Impossible("a bug"), KeyError("x"), BaseException("worse")])
def test_a_bug_in_any_step_gives_the_item_back(
    step: str, error: BaseException, crashes: Crashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes.expected = True
    house = House()

    def broken(*args: Any, **named: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        if step == "read":
            patch.setattr(house.spool, "read", broken)
        elif step == "settle":
            patch.setattr(house.spool, "record", broken)
        else:
            patch.setattr(house, f"on_{step}", broken)
        ident = house.accept("x@d.test")
        until(lambda: house.item(ident).place is Place.WAITING)
    assert house.item(ident).attempts == 1 and error in crashes and house.is_sound()
    assert house.item(ident).due >= house.clock.mono + 60.0
    house.at(house.clock.mono + 400.0)
    until(lambda: not house.spool.messages)


@pytest.mark.parametrize("step", ["route", "ready", "deliver"])
@pytest.mark.parametrize("nth", range(3))
def test_a_task_killed_at_any_wait_leaves_nothing_in_its_hands(step: str, nth: int) -> None:
    """At the nth wait of that step. What it had waits again, and goes out with the next attempt. While a notice is
    written: further down."""
    house = House()
    killed: list[tasks.Task] = []

    def waits(now: str) -> None:
        for n in range(3):
            if now == step and n == nth and not killed:
                killed.append(tasks.current())
                tasks.kill(tasks.current())
            tasks.sleep(0.0)

    def route(domain: str) -> Route:
        waits("route")
        return a_route(domain)

    def ready(hands: Hands, route: Route) -> None:
        waits("ready")

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        waits("deliver")
        return [OK] * len(indices)

    house.on_route, house.on_ready, house.on_deliver = route, ready, deliver
    house.accept("x@d.test", "y@d.test")
    until(lambda: bool(killed))
    settle_down()
    assert killed[0].dead or step == "route", "a resting task lives on without the work"

    def all_have_ended() -> bool:
        house.at(house.clock.mono + 400.0)
        settle_down()
        return not house.spool.messages

    until(all_have_ended, "the end of every message")
    assert house.is_sound() and len(house.schedule) == 0


def test_outcomes_that_do_not_match_the_recipients_are_a_bug_too(crashes: Crashes) -> None:
    crashes.expected = True
    house = House()
    house.on_deliver = lambda hands, route, indices: [OK]
    ident = house.accept("x@d.test", "y@d.test")
    until(lambda: house.item(ident).place is Place.WAITING)
    assert len(crashes) == 1 and house.is_sound()


def test_a_damaged_message_is_set_aside() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    ident = house.accept("x@d.test")
    house.spool.damaged.add(ident)
    until(lambda: house.item(ident).place is Place.HELD)
    assert house.carried == [] and house.spool.states[ident].held


def lending(house: House, recipients: int = 2) -> tuple[bytes, Stored]:
    """A message whose body is read back for its delivery."""
    house.cached["d.test"] = a_route("d.test")
    ident = house.accept(*(f"x{n}@d.test" for n in range(recipients)))
    house.spool.messages[ident] = lent = house.spool.messages[ident]._replace(lent=1000)
    return ident, lent


@pytest.mark.parametrize("ending", ["delivered", "later", "bug", "damaged", "short", "killed"])
def test_what_was_lent_for_a_delivery_is_returned_however_it_ends(ending: str, crashes: Crashes) -> None:
    crashes.expected = ending == "bug"
    house = House()
    ends: dict[str, BaseException] = {
        "bug": ValueError("a bug"),
        "damaged": SpoolDamaged("changed on disk"),
        "short": MachineShort("the disk fails"),
        "killed": tasks.TaskExit(),
    }

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        if ending in ends:
            raise ends[ending]
        return [OK if ending == "delivered" else LATER] * len(indices)

    house.on_deliver = deliver
    _, lent = lending(house)
    until(lambda: bool(house.spool.given_back))
    house.on_deliver = lambda hands, route, indices: [OK] * len(indices)
    until(lambda: len(house.spool.given_back) == len(house.carried))
    assert house.spool.given_back == [lent] * len(house.carried), "once for each delivery"
    assert house.is_sound()


def test_what_lies_in_memory_is_not_returned() -> None:
    house = House()
    house.accept("x@d.test")
    until(lambda: not house.spool.messages)
    assert house.spool.given_back == []


@pytest.mark.parametrize("error", [SpoolDamaged("changed on disk"), MachineShort("the disk fails")])
def test_a_body_that_cannot_be_read_to_its_end_takes_no_outcome_from_who_has_one(error: Exception) -> None:
    house = House()

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        hands.doubt = [OK, None]
        if isinstance(error, SpoolDamaged):
            house.spool.damaged.add(ident)
        raise error

    house.on_deliver = deliver
    ident, _ = lending(house)
    wanted = Place.HELD if isinstance(error, SpoolDamaged) else Place.WAITING
    until(lambda: bool(house.carried) and house.item(ident).place is wanted)
    assert [kind for kind in house.log.kinds if kind == "Delivery"] == ["Delivery"]
    state = house.spool.states[ident]
    assert state.recipients[0] == Status.DELIVERED and isinstance(state.recipients[1], Waiting)
    assert house.item(ident).indices == (1,) and house.item(ident).attempts == 0
    assert len(house.carried) == 1 and house.is_sound()


def test_a_body_the_machine_cannot_read_now_is_no_attempt() -> None:
    house = House()
    house.spool.read_error = MachineShort("no descriptors", code=451, enhanced="4.3.0")
    ident = house.accept("x@d.test")
    until(lambda: house.item(ident).place is Place.WAITING)
    assert house.item(ident).attempts == 0 and house.spool.states[ident].version == 0 and house.is_sound()


def test_the_body_leaves_memory_after_the_first_attempt_of_all_domains() -> None:
    house = House()
    place = tasks.Parking()

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        if route.domain == "slow.test":
            place.wait()
        return [LATER]

    house.on_deliver = deliver
    ident = house.accept("x@d.test", "x@slow.test")
    until(lambda: len(house.carried) == 2)
    settle_down()
    assert house.spool.released == []
    place.wake()
    until(lambda: house.spool.released == [ident])


# -- runners ------------------------------------------------------------------------------------------------------


def test_a_parked_runner_is_woken_and_keeps_its_hands() -> None:
    house = House()
    for count in range(1, 6):
        house.accept("x@d.test")
        until(lambda: not house.spool.messages)
        settle_down()
        lane = house.schedule.lane("mx.d.test")
        assert len(house.hands) == 1 and house.hands[0].rested == count
        assert (lane.runners, len(lane.parked), lane.coming) == (1, 1, 0)


def test_the_runner_that_parked_last_is_woken_first() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    places = [tasks.Parking() for _ in range(3)]
    started: list[Hands] = []

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        started.append(hands)
        places[len(started) - 1].wait()
        return [OK]

    house.on_deliver = deliver
    for _ in range(3):
        house.accept("x@d.test")
    until(lambda: len(started) == 3)
    for place in (places[0], places[2], places[1]):
        place.wake()
        settle_down()
    places[:] = [tasks.Parking() for _ in range(9)]
    house.accept("x@d.test")
    until(lambda: len(started) == 4)
    assert started[3] is started[1] and len(house.hands) == 3


def test_as_many_runners_as_the_window_allows_and_it_grows() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    waiting: list[tasks.Parking] = []

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        place = tasks.Parking()
        waiting.append(place)
        place.wait()
        return [OK]

    house.on_deliver = deliver
    for _ in range(30):
        house.accept("x@d.test")
    settle_down()
    lane = house.schedule.lane("mx.d.test")
    assert len(waiting) == lane.window.size == lane.runners == 5
    waiting.pop(0).wake()
    settle_down()
    assert lane.window.size == 6 and len(waiting) == 6
    most = 0
    while house.spool.messages:
        until(lambda: bool(waiting))
        waiting.pop(0).wake()
        settle_down(3)
        most = max(most, lane.runners - len(lane.parked))
    assert most == house.settings.connections == 10


def test_a_stalled_site_does_not_touch_another() -> None:
    house = House()
    stalled = tasks.Parking()

    def ready(hands: Hands, route: Route) -> Outcome | None:
        if route.domain == "tar.test":
            stalled.wait()
        return None

    house.on_ready = ready
    stuck = [house.accept("x@tar.test") for _ in range(20)]
    fine = [house.accept("x@d.test") for _ in range(200)]
    until(lambda: all(ident in house.spool.ended for ident in fine))
    assert not any(ident in house.spool.ended for ident in stuck)
    assert house.schedule.walk().orphans == 0


def test_a_dead_site_costs_one_round_then_rests() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    house.on_ready = lambda hands, route: DEAD
    for _ in range(100):
        house.accept("x@d.test")
    lane = house.schedule.lane("mx.d.test")
    until(lambda: lane.suspended(house.clock.mono) and lane.runners == 0)
    until(lambda: house.schedule.audit().ready == 0)
    audit = house.schedule.audit()
    assert audit.waiting == 100 and house.is_sound() and all(hands.closed for hands in house.hands)
    assert sum(event["type"] == "TransientFailure" for event in house.log.events) == 5


def test_a_limit_of_ours_makes_the_runner_rest_without_an_item() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    asked: list[int] = []

    def ready(hands: Hands, route: Route) -> Outcome | None:
        asked.append(1)
        return LIMIT if len(asked) == 1 else None

    house.on_ready = ready
    ident = house.accept("x@d.test")
    until(lambda: house.item(ident).place is Place.WAITING)
    lane = house.schedule.lane("mx.d.test")
    assert lane.runners == 1 and not lane.parked and house.item(ident).attempts == 0
    house.at(house.clock.mono + 2.0)
    until(lambda: not house.spool.messages)
    assert house.log.kinds == ["Delivery"]


def test_a_runner_without_a_connection_ends() -> None:
    house = House()
    house.on_ready = lambda hands, route: LATER
    house.accept("x@d.test")
    until(lambda: bool(house.hands) and house.hands[0].closed)
    lane = house.schedule.lane("mx.d.test")
    assert (lane.runners, lane.coming, len(house.relay.runners)) == (0, 0, 0)


def test_a_runner_that_parked_too_long_goes_home() -> None:
    house = House()
    house.accept("x@d.test")
    lane = house.schedule.lane("mx.d.test")
    until(lambda: len(lane.parked) == 1)
    house.relay.tick(house.clock.mono + 59.0)
    settle_down()
    assert len(lane.parked) == 1
    house.relay.tick(house.clock.mono + 65.0)
    until(lambda: house.hands[0].closed)
    assert lane.runners == 0 and lane.parked == []
    house.accept("x@d.test")
    until(lambda: not house.spool.messages)


def test_beyond_the_most_runners_each_lane_still_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners_module, "MOST", 4)
    house = House()
    waiting: list[tasks.Parking] = []

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        waiting.append(tasks.Parking())
        waiting[-1].wait()
        return [OK]

    house.on_deliver = deliver
    for n in range(20):
        house.accept(f"x@d{n}.test")
        house.accept(f"y@d{n}.test")
    settle_down(50)
    assert len(house.relay.runners) == 8 and house.relay.statistics()["line"] == 14  # two lanes were early
    while house.spool.messages:
        until(lambda: bool(waiting))
        waiting.pop(0).wake()
        settle_down(5)
        assert len(house.relay.runners) <= 8
    assert len({domain for domain, _ in house.carried}) == 20 and house.relay.statistics()["line"] == 0


def test_attempts_that_never_wait_give_others_their_turn() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    house.settings = Delivery(connections=1)
    turns: list[int] = []

    def other() -> None:
        while len(turns) < 1000 and house.spool.messages:
            turns.append(len(house.spool.ended))
            tasks.run_loop_once()

    for _ in range(1000):
        house.accept("x@d.test")
    tasks.spawn(other)
    until(lambda: not house.spool.messages)
    assert max(b - a for a, b in itertools.pairwise(turns)) <= 2 * runners_module.TURN


# -- expiry -------------------------------------------------------------------------------------------------------


def test_who_is_late_is_told_of_where_it_waits() -> None:
    house = House()
    house.on_deliver = lambda hands, route, indices: [LATER] * len(indices)
    ids = [house.accept(f"x@d{n}.test") for n in range(20)]
    until(lambda: house.schedule.audit().waiting == 20)
    for ident in ids:  # the next attempt: tomorrow
        house.schedule.hold(ident)
        house.schedule.release(ident, house.clock.wall() + 86_400.0)
    told = len(house.spool.messages)
    house.at(house.clock.mono + 4 * 3600 + 2)
    until(lambda: len(house.spool.messages) == told + 20)
    assert all(house.item(ident).place is Place.WAITING for ident in ids)
    assert house.is_sound()


def test_what_has_expired_is_settled_by_a_few_tasks() -> None:
    house = House()
    house.on_deliver = lambda hands, route, indices: [LATER]
    idents = [house.accept("x@d.test", sender="") for _ in range(300)]
    until(lambda: house.schedule.audit().waiting == 300)
    house.at(house.clock.mono + 600_000.0)
    until(lambda: len(house.spool.ended) == 300)
    assert all(house.spool.ended[ident].recipients == (Status.EXPIRED,) for ident in idents)
    assert house.is_sound() and len(house.schedule) == 0


@pytest.mark.interpreted
def test_a_bug_while_expiring_gives_the_item_back(crashes: Crashes, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes.expected = True
    house = House()
    house.on_deliver = lambda hands, route, indices: [LATER]
    ident = house.accept("x@d.test", sender="")
    until(lambda: house.item(ident).place is Place.WAITING)
    with monkeypatch.context() as patch:
        patch.setattr(house.settle, "_carry_out", lambda *args: 1 / 0)
        house.at(house.clock.mono + 600_000.0)
        until(lambda: len(crashes) == 1)
    assert house.item(ident).place is Place.WAITING and house.is_sound()
    house.at(house.clock.mono + 62.0)
    until(lambda: ident in house.spool.ended)


# -- the end ------------------------------------------------------------------------------------------------------


def test_drain_waits_for_transactions_and_picks_nothing_new() -> None:
    house = House()
    house.cached["d.test"] = a_route("d.test")
    place = tasks.Parking()

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        place.wait()
        return [OK]

    house.on_deliver = deliver
    house.settings = Delivery(connections=1)
    first, second = house.accept("x@d.test"), house.accept("y@d.test")
    until(lambda: place.taken)
    ended: list[bool] = []
    tasks.spawn(lambda: ended.append(house.relay.drain(30.0)))
    settle_down()
    assert ended == []
    place.wake()
    until(lambda: ended == [True])
    assert first in house.spool.ended and house.item(second).place is Place.READY
    assert all(hands.closed for hands in house.hands)
    house.accept("z@d.test")
    settle_down()
    assert len(house.carried) == 1


def test_drain_sends_parked_and_resting_runners_home_at_once() -> None:
    house = House()
    house.on_ready = lambda hands, route: (
        Deferred(LIMIT.reply, Phase.QUEUE, Scope.SITE, retry_after=3600.0) if route.domain == "limit.test" else None
    )
    house.accept("x@d.test")
    house.accept("x@limit.test")
    until(lambda: house.schedule.audit().waiting == 1 and len(house.relay.runners) == 2)
    assert house.relay.drain(30.0) and len(house.relay.runners) == 0


@pytest.mark.parametrize("step", ["ready", "route"])
def test_drain_cuts_off_who_only_waits_for_a_connection_or_a_route(step: str) -> None:
    house = House()
    place = tasks.Parking()

    def wait(*args: object) -> Any:
        place.wait()

    house.cached["d.test"] = a_route("d.test", expires=house.clock.mono + 5.0)
    if step == "ready":
        house.on_ready = wait
    else:
        house.on_route = wait
    ident = house.accept("x@d.test")
    house.clock.mono += 10.0 if step == "route" else 0.0
    until(lambda: place.taken)
    assert house.relay.drain(30.0)
    item = house.item(ident)
    assert item.place in (Place.ROUTING, Place.READY) and item.attempts == 0
    assert house.spool.states[ident].version == 0


@pytest.mark.parametrize("doubt", [False, True])
def test_what_outlasts_the_drain_is_cut_off_and_honest_about_it(doubt: bool) -> None:
    house = House()
    place = tasks.Parking()
    lost = Deferred(reply(451, "4.4.2", "this relay stopped"), Phase.DOT, Scope.HOST, "mx", uncertain=True)

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        hands.doubt = [OK, lost] if doubt else None
        place.wait()
        return [OK, OK]

    house.on_deliver = deliver
    ident = house.accept("x@d.test", "y@d.test")
    until(lambda: place.taken)
    assert not house.relay.drain(0.01)
    item = house.item(ident)
    assert house.hands[0].closed and len(house.relay.runners) == 0 and house.schedule.walk().running == 0
    if doubt:
        standing = house.spool.states[ident].recipients
        assert standing[0] == Status.DELIVERED and isinstance(standing[1], Waiting) and standing[1].attempts == 1
        assert item.place is Place.WAITING and item.indices == (1,)
    else:
        assert item.place is Place.READY and item.attempts == 0 and house.spool.states[ident].version == 0


def test_a_kill_while_a_notice_is_being_written_leaves_no_item_in_hand() -> None:
    house = House()
    house.on_deliver = lambda hands, route, indices: [Failed(reply(550, "5.1.1", "no"), Phase.RCPT, Scope.RECIPIENT)]
    ident = house.accept("x@d.test")
    gate = house.spool.gate = tasks.Parking()
    until(lambda: gate.taken)
    house.relay.cut()
    until(lambda: len(house.relay.runners) == 0)
    assert house.schedule.walk().running == 0 and house.hands[0].closed
    assert ident not in house.spool.ended


def test_cut_ends_a_drain() -> None:
    house = House()
    place = tasks.Parking()

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        place.wait()
        return [OK]

    house.on_deliver = deliver
    house.accept("x@d.test")
    until(lambda: place.taken)
    ended: list[bool] = []
    tasks.spawn(lambda: ended.append(house.relay.drain(600.0)))
    settle_down()
    house.relay.cut()
    until(lambda: bool(ended))


# -- all of it at random --------------------------------------------------------------------------------------------


def test_no_limbo_at_random(chance: Any) -> None:
    house = House()
    outcomes = [OK, OK, OK, LATER, DEAD, LIMIT, Failed(reply(550, "5.1.1", "no"), Phase.RCPT, Scope.RECIPIENT)]

    def route(domain: str) -> Route | Outcome:
        for _ in range(chance.randrange(3)):
            tasks.run_loop_once()
        if chance.random() < 0.1:
            return chance.choice([NXDOMAIN, DNS_DOWN])
        return a_route(domain, chance.choice(["", "shared"]), house.clock.mono + chance.choice([1.0, 9e9]))

    def ready(hands: Hands, route: Route) -> Outcome | None:
        for _ in range(chance.randrange(3)):
            tasks.run_loop_once()
        hands.connection = None if chance.random() < 0.3 else Connection()
        return chance.choice([None, None, None, None, DEAD, LIMIT])

    def deliver(hands: Hands, route: Route, indices: tuple[int, ...]) -> Sequence[Outcome]:
        for _ in range(chance.randrange(4)):
            tasks.run_loop_once()
        return [chance.choice(outcomes) for _ in indices]

    house.on_route, house.on_ready, house.on_deliver = route, ready, deliver
    idents = []
    for _ in range(150):
        domains = [f"d{chance.randrange(12)}.test" for _ in range(chance.randrange(1, 5))]
        idents.append(house.accept(*(f"x{n}@{domain}" for n, domain in enumerate(domains))))
        if chance.random() < 0.3:
            settle_down(2)
        if chance.random() < 0.05:
            house.spool.short = not house.spool.short
            if house.spool.short:
                settle_down(3)
                house.spool.short = False

    def all_have_ended() -> bool:
        """After one more round: rests are taken in real time, so how many rounds that takes is luck."""
        if chance.random() < 0.1:
            house.cached.clear()
        house.at(house.clock.mono + chance.choice([2.0, 60.0, 1000.0, 10_000.0]))
        house.relay.tick(house.clock.mono)
        settle_down(15)
        return len(house.schedule) == 0

    until(all_have_ended, "the end of every message", seconds=60.0)
    assert house.schedule.walk().orphans == 0
    assert not house.spool.messages
    assert all(house.spool.ended[ident].ended for ident in idents)
    until(lambda: house.relay.drain(10.0))
    assert all(lane.runners == 0 and lane.coming == 0 for lane in house.schedule.lanes())
