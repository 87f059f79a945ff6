"""schedule/scheduler.py: one place and one next event for every item, through every verb, and no limbo at random."""

import random
from collections.abc import Callable

import pytest

from fastrelay.errors import Impossible
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.runtime import tasks
from fastrelay.schedule.item import MOVES, Item, Place
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.patrol import PATROL_EVERY
from fastrelay.schedule.places import BATCH, RESUME_SPREAD
from fastrelay.schedule.scheduler import Scheduler

EXPIRE = 432_000.0
LATE = 14_400.0  # seconds after which a sender is told
IDS = IdentSource()


class FakeClock:
    def __init__(self) -> None:
        self.mono = 1_000.0
        self.offset = 1_700_000_000.0
        self.step = 0.0

    def now(self) -> float:
        self.mono += self.step
        return self.mono

    def wall(self) -> float:
        return self.mono + self.offset


class Settings:
    connections = 10


def a_route(domain: str, site: str = "") -> Route:
    return Route(domain, site or f"mx.{domain}", RouteKind.MX, (Host("mx", ("192.0.2.1",)),), 9e9)


class House:
    """A scheduler with its neighbours: routes at once unless told otherwise, and records what it is told."""

    def __init__(self, *, routing: bool = True) -> None:
        self.clock = FakeClock()
        self.turns: list[Callable[[], object]] = []
        self.asked: list[str] = []
        self.woken: list[Lane] = []
        self.ended: list[Item] = []
        self.put_off: list[bytes] = []
        self.late: list[Item] = []
        self.routing = routing
        self.s = Scheduler(
            lambda site: Settings(),
            notice_left=EXPIRE - LATE,
            clock=self.clock,
            later=self.turns.append,
            chance=lambda: 0.5,
        )
        self.s.attach(
            unrouted=self.unrouted,
            ready=self.woken.append,
            expired=self.ended.append,
            put_off=lambda item: self.put_off.append(item.ident),
            late=self.late.append,
        )

    def unrouted(self, domain: str) -> None:
        self.asked.append(domain)
        if self.routing:
            self.s.routed(domain, a_route(domain), self.clock.mono)

    def add(self, domain: str = "a.test", due: float = 0.0, *, held: bool = False, ident: bytes = b"") -> bytes:
        ident = ident or IDS.fresh()
        self.s.add(
            ident, domain, (0,), expires=self.clock.wall() + EXPIRE, due=due and due + self.clock.offset, held=held
        )
        return ident

    def at(self, seconds: float) -> None:
        """Let time pass up to a monotonic second and every slice run."""
        self.clock.mono = seconds
        self.s.tick(seconds)
        while self.turns:
            self.turns.pop(0)()

    def place(self, ident: bytes) -> Place:
        (item,) = self.s.items(ident)
        return item.place

    def pick(self, domain: str = "a.test") -> Item | None:
        return self.s.next(self.s.lane(f"mx.{domain}"), self.clock.mono)


def test_a_new_message_is_routed_enters_its_lane_and_is_picked_in_order() -> None:
    house = House()
    first, second = house.add(), house.add()
    assert house.asked == ["a.test", "a.test"] and len(house.woken) == 2
    item = house.pick()
    assert item is not None and item.ident == first and item.place is Place.RUNNING and item.route is not None
    other = house.pick()
    assert other is not None and other.ident == second and house.pick() is None
    house.s.done(item)
    house.s.done(other)
    assert len(house.s) == 0 and house.s.walk() == (0, 0, 0, 0, 0, 0)


def test_a_reload_puts_every_window_under_its_new_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    lane = house.s.lane("s")
    assert lane.window.limit == 10
    for limit in (17, 1):
        monkeypatch.setattr(Settings, "connections", limit)
        house.s.renew(0.0)
        assert lane.window.limit == limit >= lane.window.size


def test_a_walk_at_once_overtakes_the_patrol_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    house = House()
    for _ in range(50):
        house.add()
    house.clock.mono += PATROL_EVERY
    house.s.tick(house.clock.mono)
    house.clock.step = 0.003
    for _ in range(20):
        house.turns.pop(0)()
    assert house.turns, "the patrol is over already"
    assert house.s.walk().orphans == 0
    while house.turns:
        house.turns.pop(0)()
    assert crashes == [] and house.s.audit().orphans == 0


def test_a_sender_is_told_when_it_is_time_though_the_next_attempt_is_later() -> None:
    house = House()
    far = house.add(due=1_000.0 + 10 * LATE)
    near = house.add("b.test", due=1_000.0 + LATE / 2)
    held = house.add("c.test", held=True)
    gone = house.add("d.test", due=1_000.0 + 10 * LATE)
    house.s.remove(gone)
    house.at(1_000.0 + LATE - 2)
    item = house.pick("b.test")
    assert item is not None and house.late == []
    house.s.again(item, (0,), house.clock.wall() + 100 * LATE)
    house.at(1_000.0 + LATE + 1)
    assert {one.ident for one in house.late} == {far, near} and len(house.late) == 2
    assert house.place(far) is house.place(near) is Place.WAITING and house.place(held) is Place.HELD
    house.at(1_000.0 + 9.9 * LATE)
    assert len(house.late) == 2 and house.place(far) is Place.WAITING
    house.at(1_000.0 + 10 * LATE + 1)
    assert house.place(far) is Place.READY and len(house.late) == 2
    assert house.s.walk().orphans == 0


def test_who_is_late_in_a_lane_or_behind_the_router_is_found_by_the_patrol_once() -> None:
    house = House()
    house.add()
    house.routing = False
    house.add("b.test")
    for seconds in (LATE - 200, LATE - 100, LATE + 100, LATE + 200, 2 * LATE):
        house.at(1_000.0 + seconds)
        assert sorted(one.domain for one in house.late) == (["a.test", "b.test"] if seconds > LATE else [])


def test_who_became_late_while_nobody_was_there_is_late_at_once_unless_its_sender_knows() -> None:
    house = House()
    clock = house.clock
    for told in (False, True):
        ident = IDS.fresh()
        house.s.add(
            ident,
            "a.test",
            (0,),
            expires=clock.wall() + EXPIRE - 2 * LATE,
            due=clock.wall() + 600,
            attempts=9,
            told=told,
        )
        assert len(house.late) == 1
    house.at(clock.mono + 601)
    assert len(house.late) == 1 and house.s.audit().ready == 2


def test_one_question_serves_all_who_wait_for_a_domain() -> None:
    house = House(routing=False)
    for _ in range(5):
        house.add()
    house.add("b.test")
    assert house.asked == ["a.test", "b.test"] and house.s.audit().routing == 6
    house.s.routed("a.test", a_route("a.test"), house.clock.mono)
    assert house.s.audit()[1:3] == (1, 5) and len(house.woken) == 1


def test_a_long_queue_enters_its_lane_in_slices() -> None:
    house = House(routing=False)
    for _ in range(5 * BATCH):
        house.add()
    house.clock.step = 0.003
    house.s.routed("a.test", a_route("a.test"), house.clock.mono)
    assert house.s.audit().ready == 0
    slices = 0
    while house.turns:
        house.turns.pop(0)()
        slices += 1
        house.s.walk()
        assert house.s.audit().orphans == 0
    assert house.s.audit().ready == 5 * BATCH and slices > 1


def test_unroutable_items_are_handed_back_in_slices_and_the_domain_is_asked_again() -> None:
    house = House(routing=False)
    for _ in range(3):
        house.add()
    assert len(house.s.unroutable("a.test", 1_000.0, most=2) or ()) == 2
    house.add()
    rest = house.s.unroutable("a.test", 1_000.0, most=2)
    assert rest is not None and len(rest) == 2 and house.s.unroutable("a.test", 1_000.0) is None
    house.add()
    assert house.asked == ["a.test", "a.test"]


def test_again_waits_until_its_time_and_counts_the_attempt() -> None:
    house = House()
    ident = house.add()
    item = house.pick()
    assert item is not None
    house.s.again(item, (0,), house.clock.wall() + 300)
    assert item.attempts == 1 and house.place(ident) is Place.WAITING and item.route is None
    house.at(1_299.0)
    assert house.pick() is None
    house.at(1_302.0)
    assert house.pick() is item


def test_a_wall_clock_that_jumps_moves_nothing_that_waits() -> None:
    house = House()
    item_due = house.add(due=1_300.0)
    house.clock.offset += 86_400 * 30
    house.at(1_200.0)
    assert house.place(item_due) is Place.WAITING
    fresh = house.add()
    assert house.place(fresh) is Place.READY
    house.at(1_302.0)
    assert house.place(item_due) is Place.READY and house.ended == []


@pytest.mark.parametrize("place", [Place.WAITING, Place.ROUTING, Place.READY, Place.HELD])
def test_expiry_holds_in_every_place(place: Place) -> None:
    house = House(routing=place is not Place.ROUTING)
    ident = house.add(due=1_000.0 + 2 * EXPIRE if place is Place.WAITING else 0.0, held=place is Place.HELD)
    assert house.place(ident) is place
    house.at(1_000.0 + EXPIRE - 2)
    assert house.ended == []
    house.at(1_000.0 + EXPIRE + 2)
    house.at(1_000.0 + EXPIRE + 2 + PATROL_EVERY)
    (item,) = house.ended
    assert item.ident == ident and item.place is Place.RUNNING
    house.s.done(item)
    assert house.s.walk() == (0,) * 6


def test_expiry_holds_in_a_suspended_lane() -> None:
    house = House()
    house.add()
    house.s.suspend_lane("mx.a.test", 9e9, "dead")
    house.at(1_001.0)
    assert house.s.audit().waiting == 1
    house.at(1_000.0 + EXPIRE + 2)
    assert len(house.ended) == 1


def test_an_expired_item_is_not_picked() -> None:
    house = House()
    house.add()
    house.clock.mono += EXPIRE + 1
    assert house.pick() is None and len(house.ended) == 1


def test_an_expired_item_that_could_not_be_closed_comes_back_when_settlement_says() -> None:
    house = House()
    house.add(held=True)
    house.at(1_000.0 + EXPIRE + 2)
    (item,) = house.ended
    house.s.again(item, (0,), house.clock.wall() + 60, attempted=False)
    house.at(house.clock.mono + 59)
    assert len(house.ended) == 1
    house.at(house.clock.mono + 3)
    assert len(house.ended) == 2 and item.attempts == 0


def test_a_suspended_lane_gives_nothing_and_its_items_come_back_spread_after_it_resumes() -> None:
    house = House()
    idents = [house.add() for _ in range(3)]
    house.s.suspend_lane("mx.a.test", 1_600.0, "dead")
    assert house.pick() is None
    house.at(1_001.0)
    assert all(house.place(ident) is Place.WAITING for ident in idents)
    late = house.add()
    assert house.place(late) is Place.WAITING
    assert house.put_off == [*idents, late], "each is told of, once"
    house.at(1_599.0)
    assert house.pick() is None
    house.at(1_600.0 + 0.5 * 600 * RESUME_SPREAD + 2)
    item = house.pick()
    assert item is not None and item.attempts == 0
    assert house.s.lane("mx.a.test").suspended_until == 0.0


def test_a_long_lane_is_emptied_in_slices_and_resumes_cleanly_half_way() -> None:
    house = House()
    for _ in range(4 * BATCH):
        house.add()
    house.clock.step = 0.006
    house.s.suspend_lane("mx.a.test", 1_600.0, "dead")
    house.turns.pop(0)()
    audit = house.s.audit()
    assert 0 < audit.ready < 4 * BATCH and audit.waiting + audit.ready == 4 * BATCH
    house.s.resume_lane("mx.a.test")
    before = len(house.woken)
    while house.turns:
        house.turns.pop(0)()
    assert len(house.woken) > before and house.s.walk().orphans == 0


def test_hold_release_and_retry_where_it_waits() -> None:
    house = House()
    ident = house.add(due=5_000.0)
    assert house.s.hold(ident) and house.place(ident) is Place.HELD
    house.s.retry(ident)
    assert house.place(ident) is Place.HELD
    house.at(6_000.0)
    assert house.place(ident) is Place.HELD
    house.s.release(ident, house.clock.wall() + 50)
    assert house.place(ident) is Place.WAITING
    assert house.s.retry(ident) and house.place(ident) is Place.READY
    two = house.add(due=9_000.0)
    assert house.s.retry(two, (7,)) and house.place(two) is Place.WAITING, "another recipient is meant"
    assert house.s.retry(two, (7, 0)) and house.place(two) is Place.READY
    unknown = IDS.fresh()
    assert not any(verb(unknown) for verb in (house.s.hold, house.s.release, house.s.retry, house.s.remove))


def test_hold_and_remove_during_an_attempt_wait_for_its_end() -> None:
    house = House()
    held, removed = house.add(), house.add()
    one, two = house.pick(), house.pick()
    assert one is not None and two is not None
    house.s.hold(held)
    house.s.remove(removed)
    assert house.s.audit().running == 2
    house.s.again(one, (0,), house.clock.wall())
    house.s.again(two, (0,), house.clock.wall())
    assert house.place(held) is Place.HELD and house.s.items(removed) == [] and len(house.s) == 1
    house.s.release(held)
    assert house.place(held) is Place.READY


def test_a_release_during_the_attempt_takes_the_hold_back() -> None:
    house = House()
    ident = house.add()
    item = house.pick()
    assert item is not None
    house.s.hold(ident)
    house.s.release(ident)
    house.s.again(item, (0,), house.clock.wall() + 10)
    assert house.place(ident) is Place.WAITING


def test_a_message_to_many_domains_is_many_items_and_ends_with_the_last() -> None:
    house = House()
    ident = house.add("a.test")
    for domain in ("b.test", "c.test"):
        house.add(domain, ident=ident)
    assert len(house.s) == 1 and len(house.s.items(ident)) == 3
    with pytest.raises(Impossible, match=r"at b\.test already"):
        house.add("b.test", ident=ident)
    for domain in ("b.test", "a.test", "c.test"):
        item = house.pick(domain)
        assert item is not None
        house.s.done(item)
    assert len(house.s) == 0 and house.s.walk() == (0,) * 6


def test_one_who_left_the_lane_and_came_back_is_picked_once() -> None:
    house = House()
    ident = house.add()
    house.s.hold(ident)
    house.s.release(ident)
    assert house.pick() is not None and house.pick() is None


def test_reroute_asks_for_a_new_route_without_counting_an_attempt() -> None:
    house = House()
    house.add()
    item = house.pick()
    assert item is not None
    house.s.reroute(item)
    assert house.asked == ["a.test", "a.test"] and house.pick() is item and item.attempts == 0


def test_settling_what_nobody_runs_is_loud() -> None:
    house = House()
    ident = house.add()
    (item,) = house.s.items(ident)
    with pytest.raises(Impossible, match="settled while READY"):
        house.s.done(item)


def test_nothing_added_expires_before_the_grace_is_over() -> None:
    house = House()
    house.s.spare_until = 4_600.0
    house.s.add(IDS.fresh(), "a.test", (0,), expires=house.clock.wall() - 86_400, due=house.clock.wall() + 9e6)
    house.at(4_599.0)
    assert house.ended == []
    house.at(4_602.0)
    assert len(house.ended) == 1


def test_a_slice_ends_after_five_milliseconds_and_the_rest_comes_later() -> None:
    house = House()
    for _ in range(20_000):
        house.add(due=1_010.0)
    house.clock.mono, house.clock.step = 1_012.0, 0.0015
    house.s.tick(1_012.0)
    assert 0 < house.s.audit().ready < 20_000 and len(house.turns) == 1
    while house.turns:
        house.turns.pop(0)()
    assert house.s.audit().ready == 20_000


def test_idle_lanes_are_forgotten_and_busy_or_suspended_ones_are_not() -> None:
    house = House()
    house.add("busy.test")
    house.s.lane("idle")
    house.s.suspend_lane("dead", 9e9, "why")
    for n in range(1, 14):
        house.at(1_000.0 + 61 * n)
    assert sorted(lane.site for lane in house.s.lanes()) == ["dead", "mx.busy.test"]


def test_an_orphan_is_found_reported_and_rescheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[str] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: reports.append(str(error)))
    house = House()
    ident = house.add()
    house.s.lane("mx.a.test").items.clear()  # what no code of ours may do
    house.at(1_061.0)
    assert house.s.audit().orphans == 1 and "stands nowhere" in reports[0]
    assert house.place(ident) is Place.WAITING
    house.at(1_200.0)
    assert house.s.audit().orphans == 0


def test_the_patrol_wakes_what_lost_its_wake_up() -> None:
    house = House(routing=False)
    house.add()
    house.routing = True
    house.add("b.test")
    house.woken.clear()
    house.at(1_061.0)
    assert house.asked == ["a.test", "b.test", "a.test"]
    assert {lane.site for lane in house.woken} == {"mx.a.test", "mx.b.test"}


def test_an_error_ends_a_chore_alone_and_the_patrol_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    house = House()
    house.add()
    lost, late = house.add("b.test", due=1_030.0), house.add("c.test", due=1_031.0)

    def fail(lane: Lane) -> None:
        house.woken.append(lane)
        raise RuntimeError(f"a bug met at {lane.site}")

    house.s.attach(
        unrouted=house.unrouted,
        ready=fail,
        expired=house.ended.append,
        put_off=lambda item: None,
        late=house.late.append,
    )
    house.at(1_040.0)
    assert house.place(lost) is Place.READY and house.place(late) is Place.READY and len(crashes) == 2
    for minute in (1, 2):
        house.woken.clear()
        house.at(1_000.0 + minute * (PATROL_EVERY + 1.0))
        assert [lane.site for lane in house.woken] == ["mx.a.test"], "the patrol ends at the first, but comes again"
    assert len(crashes) == 4 and not house.turns


def test_the_table_lets_every_place_be_left_and_only_out_be_the_end() -> None:
    for place in Place:
        assert MOVES[place] and (place is Place.OUT or Place.OUT in MOVES[place])


def test_at_random_no_item_is_ever_lost_or_in_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(name: str, error: BaseException) -> None:
        raise error

    monkeypatch.setattr(tasks, "on_crash", crash)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    house = House(routing=False)
    house.clock.step = 0.0003
    s, domains = house.s, [f"d{n}.test" for n in range(5)]
    alive: dict[bytes, int] = {}
    running: list[Item] = []

    def end(item: Item) -> None:
        s.done(item)
        alive[item.ident] -= 1

    for turn in range(3_000):
        ident = chance.choice([*alive]) if alive else b""
        known = bool(ident) and bool(s.items(ident))
        domain = chance.choice(domains)
        lane = s.lane(f"site{chance.randrange(3)}")
        match chance.randrange(13):
            case 0 | 1 | 2:
                new = IDS.fresh()
                for each in chance.sample(domains, chance.randrange(1, 4)):
                    due = chance.choice((0.0, house.clock.mono + chance.uniform(0, 5_000)))
                    house.add(each, due, held=chance.random() < 0.1, ident=new)
            case 3 | 4:
                s.routed(domain, a_route(domain, f"site{chance.randrange(3)}"), house.clock.mono)
            case 5:
                running += s.unroutable(domain, house.clock.mono, most=3) or ()
            case 6 | 7:
                item = s.next(lane, house.clock.mono)
                running += [item] if item else []
            case 8 if running:
                item = running.pop(chance.randrange(len(running)))
                match chance.randrange(4):
                    case 0:
                        s.done(item)
                    case 1:
                        s.reroute(item)
                    case _:
                        s.again(item, item.indices, house.clock.wall() + chance.uniform(-5, 9_000))
            case 9 if known:
                chance.choice((s.hold, s.release, s.retry, s.remove))(ident)
            case 10:
                s.suspend_lane(lane.site, house.clock.mono + chance.uniform(0, 900), "dead")
            case 11:
                s.resume_lane(lane.site)
            case _:
                house.at(house.clock.mono + chance.choice((0.3, 2.0, 70.0, 4_000.0, EXPIRE / 20)))
        running += house.ended
        house.ended.clear()
        if turn % 50 == 0 or turn > 2_900:
            audit = s.walk()
            running += house.ended
            house.ended.clear()
            items = [item for shard in s._places.table.shards for first in shard.values() for item in _family(first)]
            assert audit.orphans == 0 and s.audit().running == len(running) == len(set(map(id, running)))
            assert sum(s.audit()) == len(items) and len(s) == sum(map(len, s._places.table.shards))
            assert s.audit().waiting + s.audit().held == s._places.timers.live
            assert sum(lane.ready for lane in s.lanes()) == s.audit().ready
            alive = dict.fromkeys((item.ident for item in items), 1)


def _family(first: Item) -> list[Item]:
    out: list[Item] = []
    one: Item | None = first
    while one is not None:
        out.append(one)
        one = one.sibling
    return out
