"""pool.py: what is leased, opened, waited for and given back, on a ledger in memory and hosts without sockets."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.config import Rate
from fastrelay.delivery import limits
from fastrelay.delivery import pool as module
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.hosts import MAX_ADDRESSES, Place
from fastrelay.delivery.limits import PATIENCE
from fastrelay.errors import MachineShort, PeerClosed, PeerTimeout, PeerUnreachable
from fastrelay.mail.outcome import Deferred, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import LimitKey
from fastrelay.runtime import tasks
from tests.unit.road_ends import ShortRoad, Way, host
from tests.unit.rooms import settle_down, until

KEY = limits.key_of("example")
REFUSES = {"banner": b"554 5.7.1 go away\r\n"}
GOES = {"banner": b"421 4.3.2 later\r\n"}
SHORT = MachineShort("no resources", code=451, enhanced="4.3.2")


def lease(road: ShortRoad, way: Way | None = None, tried: set[Place] | None = None, fresh: bool = False) -> Any:
    way = way or road.way()
    tried = set() if tried is None else tried
    return road.pool.lease(way.demand, way.route, road.clock.now(), tried=tried, fresh=fresh)


class Waiter:
    """A task that asks for a connection."""

    def __init__(self, road: ShortRoad, way: Way | None = None, fresh: bool = False) -> None:
        self.road = road
        self.answer: Any = None
        self.task = tasks.spawn(self._run, way, fresh)
        settle_down()

    def _run(self, way: Way | None, fresh: bool) -> None:
        self.answer = lease(self.road, way, fresh=fresh)

    @property
    def connection(self) -> Connection:
        until(lambda: self.answer is not None, "an answer")
        assert isinstance(self.answer, Connection), self.answer
        return self.answer

    @property
    def outcome(self) -> Outcome:
        until(lambda: self.answer is not None, "an answer")
        assert isinstance(self.answer, Outcome)
        return self.answer


def pass_time(road: ShortRoad, seconds: float) -> None:
    """The clock goes on, and all who wait look at it."""
    road.clock.mono += seconds
    road.pool.slot_freed(KEY)
    settle_down()


@pytest.fixture
def road() -> Iterator[ShortRoad]:
    """Two connections at most; at the end all is given back."""
    one = ShortRoad(connections=2)
    yield one
    one.pool.close_idle()
    wire, ledger, gauges = one.balance
    assert wire == ledger == gauges
    assert one.pool.statistics()["waiting"] == 0 and not one.ledger.marked


# -- reuse ------------------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_leased_again(road: ShortRoad) -> None:
    first = lease(road)
    road.pool.release(first, road.clock.now() + 3.0)
    assert road.pool.statistics() | {"resting": 0} == {
        "active": 0, "idle": 1, "waiting": 0, "resting": 0, "without_tls": 0, "untrusted": 0,
    }  # fmt: skip
    assert first.used == road.clock.now() + 3.0 and not first.is_fresh
    way = road.way(host(1), host(2))
    assert lease(road, way) is first and first.demand is way.demand
    assert road.ledger.takes == 1 and len(road.wire.links) == 1
    assert (road.counts.out_active, road.counts.out_idle, road.counts.connections_opened) == (1, 0, 1)


@pytest.mark.parametrize(
    ("used", "age", "again"), [(99, 0.0, True), (100, 0.0, False), (1, 299.0, True), (1, 300.0, False)]
)
def test_until_it_is_worn_by_count_or_time(road: ShortRoad, used: int, age: float, again: bool) -> None:
    first = lease(road)
    first.messages = used
    road.pool.release(first, road.clock.now())
    road.clock.mono += age
    assert (lease(road) is first) is again
    assert road.wire.links[0].closed is not again and road.ledger.total == 1


def test_the_older_one_where_the_younger_does_not_satisfy(road: ShortRoad) -> None:
    one, other = lease(road), lease(road, road.way(host(2)))
    road.pool.release(one, 0.0)
    road.pool.release(other, 0.0)
    assert lease(road) is one
    assert not road.wire.links[1].closed, "there is room for both"


@pytest.mark.parametrize("how", ["fresh", "tried"])
def test_no_idle_one_where_they_are_suspected_dead_or_a_host_has_failed(road: ShortRoad, how: str) -> None:
    first = lease(road)
    road.pool.release(first, 0.0)
    way = road.way(host(1), host(2))
    if how == "fresh":
        second = lease(road, way, fresh=True)
    else:
        second = lease(road, way, {first.place})
    assert second is not first and second.place.name == ("mx1.example" if how == "fresh" else "mx2.example")


def test_sites_do_not_share(road: ShortRoad) -> None:
    first = lease(road)
    road.pool.release(first, 0.0)
    assert lease(road, road.way(site="other")) is not first


# -- giving back ------------------------------------------------------------------------------------------------------


def test_what_is_not_ready_is_closed_instead(road: ShortRoad) -> None:
    first = lease(road)
    first.transact("a@example", ["b@example"], [b"x"], size=1)
    first.client.state = first.client.state.CLOSED
    road.pool.release(first, 0.0)
    assert road.balance == (0, 0, 0)


def test_what_another_worker_waits_for_is_closed_instead(road: ShortRoad) -> None:
    first = lease(road)
    assert not road.pool.is_wanted_elsewhere(first)
    road.ledger.waiting = 1
    assert road.pool.is_wanted_elsewhere(first)
    road.pool.release(first, 0.0)
    assert road.balance == (0, 0, 0)


def test_no_more_idle_ones_than_a_worker_may_keep(road: ShortRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IDLE", 1)
    one, other = lease(road), lease(road)
    road.pool.release(one, 0.0)
    road.pool.release(other, 0.0)
    assert road.wire.open == 1 and lease(road) is one


def test_a_close_that_fails_gives_its_place_back(road: ShortRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lease(road)

    def broken() -> None:
        raise ValueError("a bug")

    link = road.wire.links[0]
    monkeypatch.setattr(link, "close", broken)
    with pytest.raises(ValueError):
        road.pool.discard(first)
    assert road.ledger.total == 0 and road.counts.out_active == 0
    link.closed = True


# -- housekeeping -----------------------------------------------------------------------------------------------------


def test_tick_closes_what_was_idle_or_alive_too_long(road: ShortRoad) -> None:
    start = road.clock.now()
    quiet, busy = lease(road), lease(road)
    road.pool.release(quiet, start)
    road.pool.release(busy, start + 30.0)
    road.pool.tick(start + 59.9)
    assert road.wire.open == 2
    road.pool.tick(start + 60.0)
    assert [link.closed for link in road.wire.links] == [True, False]
    assert road.wire.links[0].told[-1] == "QUIT"
    road.pool.tick(start + 90.0)
    assert road.balance == (0, 0, 0)
    road.pool.tick(start + 91.0)


@pytest.mark.parametrize(("waiting", "left"), [(0, 3), (1, 2), (2, 1), (9, 0)])
def test_tick_makes_room_for_as_many_workers_as_wait(waiting: int, left: int) -> None:
    road = ShortRoad(connections=3)
    for connection in [lease(road) for _ in range(3)]:
        road.pool.release(connection, road.clock.now())
    road.ledger.waiting = waiting
    road.pool.tick(road.clock.now())
    assert road.balance == (left, left, left)
    assert [link.closed for link in road.wire.links] == [True] * (3 - left) + [False] * left, "the oldest first"


def test_a_worker_that_stops_says_quit(road: ShortRoad) -> None:
    one, other = lease(road), lease(road, road.way(site="other"))
    road.pool.release(one, 0.0)
    road.pool.release(other, 0.0)
    road.pool.close_idle()
    assert [link.told[-1] for link in road.wire.links] == ["QUIT"] * 2 and road.balance == (0, 0, 0)


# -- which place ------------------------------------------------------------------------------------------------------


def test_the_next_place_where_one_fails(road: ShortRoad) -> None:
    road.wire.hosts |= {"192.0.2.1": [PeerClosed("refused")], "192.0.2.2": [GOES]}
    tried: set[Place] = set()
    connection = lease(road, road.way(host(1), host(2), host(3)), tried)
    assert connection.place.name == "mx3.example"
    assert {place.name for place in tried} == {"mx1.example", "mx2.example"}
    assert road.ledger.takes == 1, "one place in the ledger for the walk"


def test_at_most_five_addresses(road: ShortRoad) -> None:
    names = [f"192.0.2.{n}" for n in range(1, 9)]
    road.wire.hosts |= {name: [PeerTimeout("late")] for name in names}
    tried: set[Place] = set()
    outcome = lease(road, road.way(host(1, *names)), tried)
    assert road.wire.dialled == names[:MAX_ADDRESSES] and len(tried) == MAX_ADDRESSES
    assert (outcome.phase, outcome.address) == (Phase.CONNECT, "192.0.2.5")
    assert lease(road, road.way(host(1, *names)), tried) == Deferred(
        Reply(451, "4.4.4", ("no address of example is left to try",)), Phase.CONNECT, Scope.HOST
    )
    assert road.balance == (0, 0, 0)


@pytest.mark.parametrize(
    ("scripts", "permanent"),
    [
        pytest.param([REFUSES, REFUSES], True, id="every host refuses"),
        pytest.param([REFUSES, {"ehlo": b"502 no\r\n", "helo": b"550 5.7.1 no\r\n"}], True, id="in whatever words"),
        pytest.param([REFUSES, GOES], False, id="one is only busy"),
        pytest.param([REFUSES, PeerClosed("refused")], False, id="one is down"),
        pytest.param([PeerTimeout("late"), REFUSES], False, id="the last word is not the only one"),
    ],
)
def test_permanent_only_where_every_host_refuses_for_good(road: ShortRoad, scripts: list[Any], permanent: bool) -> None:
    road.wire.hosts |= {f"192.0.2.{n}": [script] for n, script in enumerate(scripts, 1)}
    outcome = lease(road, road.way(host(1), host(2)))
    assert isinstance(outcome, Failed if permanent else Deferred)
    assert outcome.scope is (Scope.SITE if permanent else Scope.HOST)


@pytest.mark.parametrize("scripts", [[{}, PeerClosed("refused")], [PeerClosed("refused"), {}]])
def test_the_word_of_a_host_weighs_more_than_that_another_is_not_there(scripts: list[Any]) -> None:
    """Whoever reads why a message waits should see the policy that keeps it, not the port that is closed."""
    road = ShortRoad(tls="require")
    road.wire.hosts |= {f"192.0.2.{n}": [script] for n, script in enumerate(scripts, 1)}
    outcome = lease(road, road.way(host(1), host(2)))
    assert (outcome.phase, outcome.reply.enhanced) == (Phase.STARTTLS, "4.7.4")


def test_a_host_that_failed_before_in_this_attempt_is_one_that_might_have_taken_it(road: ShortRoad) -> None:
    road.wire.hosts["192.0.2.2"] = [REFUSES]
    tried = {Place("mx1.example", "192.0.2.1", 25)}
    for way in (road.way(host(1), host(2)), road.way(host(1, "192.0.2.1", "192.0.2.2"))):
        assert isinstance(lease(road, way, set(tried)), Deferred)


def test_a_second_address_of_a_host_may_take_what_the_first_refuses(road: ShortRoad) -> None:
    road.wire.hosts |= {"192.0.2.1": [REFUSES], "2001:db8::1": [PeerClosed("refused")]}
    both = road.way(host(1, "192.0.2.1", "2001:db8::1"))
    assert isinstance(lease(road, both), Deferred)


def test_starttls_that_is_refused_for_good_is_policy_and_waits() -> None:
    road = ShortRoad(tls="require")
    road.wire.hosts["192.0.2.1"] = [{"extensions": ("STARTTLS",), "starttls": b"503 5.5.1 no\r\n"}]
    assert isinstance(lease(road), Deferred) and road.balance == (0, 0, 0)


def test_every_address_forbidden_is_the_sites_own_doing(road: ShortRoad) -> None:
    outcome = lease(road, road.way(host(1, "127.0.0.1"), host(2, "10.0.0.1"), exempt=False))
    assert isinstance(outcome, Failed) and outcome.reply.enhanced == "5.4.4" and road.wire.dialled == []


def test_a_machine_that_is_short_ends_the_walk_and_is_no_attempt(road: ShortRoad) -> None:
    road.wire.hosts["192.0.2.1"] = [SHORT]
    outcome = lease(road, road.way(host(1), host(2)))
    assert (outcome.phase, outcome.scope, outcome.retry_after) == (Phase.QUEUE, Scope.SITE, limits.SHORT_REST)
    assert road.wire.dialled == ["192.0.2.1"]


def test_a_family_without_a_route_is_passed_over_the_next_time(road: ShortRoad) -> None:
    road.wire.hosts["2001:db8::1"] = [PeerUnreachable("no route")]
    both = road.way(host(1, "2001:db8::1", "192.0.2.1"))
    road.pool.discard(lease(road, both))
    road.pool.discard(lease(road, both))
    assert road.wire.dialled == ["2001:db8::1", "192.0.2.1", "192.0.2.1"]


# -- waiting in line --------------------------------------------------------------------------------------------------


def test_who_waits_gets_the_connection_that_comes_free_in_order_of_arrival(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    first, second, third = Waiter(road), Waiter(road), Waiter(road)
    assert road.pool.has_waiters("example") and not road.pool.has_waiters("other")
    assert road.pool.statistics()["waiting"] == 3 and road.counts.throttled == {"count": 1}
    road.pool.release(one, road.clock.now())
    assert first.connection is one and second.answer is None
    road.pool.discard(other)
    assert second.connection is not other and third.answer is None
    road.pool.release(first.connection, road.clock.now())
    assert third.connection is one
    assert road.ledger.most == 2 and not road.pool.has_waiters("example")
    for waiter in (second, third):
        road.pool.discard(waiter.connection)


def test_nobody_jumps_the_line(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    waiter = Waiter(road)
    found: list[Any] = []
    tasks.spawn(lambda: found.append(lease(road)))  # asks before the one who waits has run
    road.pool.release(one, road.clock.now())
    settle_down()
    assert waiter.connection is one and not found
    road.pool.release(other, road.clock.now())
    settle_down()
    assert found == [other]
    for connection in (one, other):
        road.pool.discard(connection)


def test_a_free_one_that_does_not_satisfy_makes_room(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    waiter = Waiter(road, road.way(host(2)))
    road.pool.release(one, road.clock.now())
    assert waiter.connection.place.name == "mx2.example" and road.wire.links[0].closed
    assert road.ledger.most == 2
    for connection in (other, waiter.connection):
        road.pool.discard(connection)


def test_a_fresh_one_is_asked_for_so_an_idle_one_makes_room(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    road.pool.release(one, road.clock.now())
    again = lease(road, fresh=True)
    assert again is not one and road.wire.links[0].closed
    for connection in (other, again):
        road.pool.discard(connection)


def test_a_rate_closes_no_idle_connection() -> None:
    """It would make no room: what is short is beginnings, and each one kept saves one."""
    road = ShortRoad(connections=3)
    one, other = lease(road), lease(road)
    for connection in (one, other):
        road.pool.release(connection, road.clock.now())
    road.ledger.not_before = road.clock.now() + 10.0
    waiter = Waiter(road, road.way(host(2)))
    assert waiter.answer is None and road.wire.open == 2
    road.ledger.not_before = 0.0
    pass_time(road, 10.0)
    assert waiter.connection.place.name == "mx2.example" and road.wire.open == 3


def test_a_rate_that_lasts_longer_than_patience_is_said_at_once(road: ShortRoad) -> None:
    road.ledger.not_before = road.clock.now() + 42.0
    waiters = [Waiter(road) for _ in range(2)]
    for waiter in waiters:
        outcome = waiter.outcome
        assert (outcome.phase, outcome.scope, outcome.retry_after) == (Phase.QUEUE, Scope.SITE, 42.0)  # type: ignore[attr-defined]
    assert road.counts.throttled == {"rate": 2}


def test_a_rate_that_is_short_is_waited_out_by_itself(road: ShortRoad) -> None:
    """No ring comes for a rate: the timer does it, here after 10 ms."""
    road.ledger.not_before = road.clock.now() + 0.01
    waiter = Waiter(road)
    road.clock.mono += 0.02
    road.pool.discard(waiter.connection)


def test_patience_ends_and_it_was_no_attempt(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    first, second = Waiter(road), Waiter(road)
    assert KEY in road.ledger.marked
    pass_time(road, PATIENCE - 1.0)
    assert first.answer is None and second.answer is None
    pass_time(road, 1.0)
    for waiter in (first, second):
        outcome = waiter.outcome
        assert (outcome.phase, outcome.scope) == (Phase.QUEUE, Scope.SITE)
    assert "all 2 connections to example are in use" in first.outcome.reply.text
    for connection in (one, other):
        road.pool.discard(connection)


def test_who_is_killed_in_line_leaves_it_and_the_next_is_woken(road: ShortRoad) -> None:
    one, other = lease(road), lease(road)
    first, second = Waiter(road), Waiter(road)
    tasks.kill(first.task)
    road.pool.release(one, road.clock.now())  # rings the first, who does not live to hear it
    settle_down()
    assert first.answer is None and second.connection is one
    for connection in (one, other):
        road.pool.discard(connection)


def test_a_ring_of_the_ledger_wakes_the_first_of_that_site_alone(road: ShortRoad) -> None:
    road.ledger.others = 2
    first, second = Waiter(road), Waiter(road)
    road.ledger.others = 1
    road.pool.slot_freed(LimitKey("site", ("other",)))
    settle_down()
    assert first.answer is None
    road.pool.slot_freed(KEY)
    settle_down()
    assert isinstance(first.answer, Connection) and second.answer is None
    road.pool.discard(first.connection)
    road.pool.discard(second.connection)


def test_a_walk_that_fails_gives_its_place_to_who_waits(road: ShortRoad) -> None:
    one = lease(road)
    road.wire.hosts["192.0.2.7"] = [{"ehlo": b"450 4.7.1 later\r\n"}]
    waiters: list[Waiter] = []
    road.wire.hosts["192.0.2.8"] = [PeerClosed("refused")]
    other = lease(road)
    waiters = [Waiter(road, road.way(host(8))), Waiter(road)]
    road.pool.discard(other)
    assert waiters[0].outcome.phase is Phase.CONNECT
    for connection in (one, waiters[1].connection):
        road.pool.discard(connection)


# -- whatever happens -------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "free", "drop", "kill", "tick", "elsewhere", "late"]), st.integers(0, 7)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), STEPS)
def test_never_more_than_the_limit_and_all_is_given_back(most: int, steps: list[tuple[str, int]]) -> None:
    road = ShortRoad(connections=most, connect_rate=Rate(100, 60))
    road.wire.hosts |= {"192.0.2.2": [PeerClosed("refused"), {}], "192.0.2.3": [{}, REFUSES]}
    ways = [road.way(host(1)), road.way(host(2), host(1)), road.way(host(3))]
    asked: list[Waiter] = []

    def leased() -> list[Waiter]:
        return [waiter for waiter in asked if isinstance(waiter.answer, Connection)]

    def let_go(waiter: Waiter, how: str) -> None:
        asked.remove(waiter)
        if how == "free":
            road.pool.release(waiter.answer, road.clock.now())
        else:
            road.pool.discard(waiter.answer)
        settle_down()

    for step, number in steps:
        if step == "ask":
            asked.append(Waiter(road, ways[number % 3], fresh=number == 7))
        elif step in ("free", "drop") and leased():
            let_go(leased()[number % len(leased())], step)
        elif step == "kill" and (waiting := [waiter for waiter in asked if waiter.answer is None]):
            tasks.kill(waiting[number % len(waiting)].task)
        elif step == "tick":
            road.pool.tick(road.clock.now())
        elif step == "elsewhere":
            road.ledger.waiting = number
        elif step == "late":
            pass_time(road, number * 7.0)
        settle_down()
        wire, ledger, gauges = road.balance
        assert wire == ledger == gauges <= most >= road.ledger.most
        assert road.counts.out_active == len(leased())
    while leased():
        let_go(leased()[0], "drop")
    pass_time(road, PATIENCE)
    while leased():
        let_go(leased()[0], "drop")
    assert all(waiter.answer is not None or waiter.task.dead for waiter in asked)
    road.pool.close_idle()
    assert road.balance == (0, 0, 0) and road.pool.statistics()["waiting"] == 0
