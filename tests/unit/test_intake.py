"""intake.py: on stable storage and scheduled in every domain, or neither; a backlog comes back as it stood."""

from collections.abc import Callable

import msgspec
import pytest

from fastrelay.errors import Impossible, MachineShort
from fastrelay.intake import HELD_SUSPECT, Intake, by_domain
from fastrelay.mail import envelope as envelopes
from fastrelay.mail import state as states
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Place
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.spool.recovery import Entry
from tests.unit.rooms import IDS, HandClock, MemorySpool, until

EXPIRE = 432_000.0
LONGEST = 40_000.0


class Settings:
    connections = 10


class House:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.spool = MemorySpool()
        self.asked: list[str] = []
        self.late: list[str] = []
        self.unrouted: Callable[[str], None] = self.asked.append
        self.schedule = Scheduler(
            lambda site: Settings(),
            notice_left=EXPIRE - 14_400.0,
            clock=self.clock,
            later=lambda function: function(),
        )
        self.schedule.attach(
            unrouted=lambda domain: self.unrouted(domain),
            ready=lambda lane: None,
            expired=lambda item: None,
            put_off=lambda item: None,
            late=lambda item: self.late.append(item.domain),
        )
        self.intake = Intake(self.spool, self.schedule, IDS, EXPIRE, LONGEST, wall=self.clock.wall)

    def envelope(self, *addresses: str) -> Envelope:
        return Envelope("a@s.test", tuple(Recipient(address) for address in addresses), self.clock.wall())


def test_a_message_is_committed_then_scheduled_by_domain() -> None:
    house = House()
    ident = house.intake.fresh_ident()
    envelope = house.envelope("a@D.test", "b@e.test", "c@d.TEST.", "d@bücher.test")
    assert house.intake.accept(envelope, b"Received: x\r\n", b"content", ident=ident) == ident
    assert house.spool.messages[ident].parts == [b"Received: x\r\n", b"content"]
    items = {item.domain: item for item in house.schedule.items(ident)}
    assert {domain: item.indices for domain, item in items.items()} == {
        "d.test": (0, 2),
        "e.test": (1,),
        "xn--bcher-kva.test": (3,),
    }
    assert {item.place for item in items.values()} == {Place.ROUTING} and sorted(house.asked) == sorted(items)
    assert {item.expires for item in items.values()} == {house.clock.mono + EXPIRE}


def test_what_the_disk_does_not_take_is_not_scheduled() -> None:
    house = House()
    house.spool.short = True
    with pytest.raises(MachineShort):
        house.intake.check_room(100)
    with pytest.raises(MachineShort):
        house.intake.accept(house.envelope("a@d.test"), b"", b"x", ident=IDS.fresh())
    assert len(house.schedule) == 0 and house.asked == []


def test_records_travel_with_the_message() -> None:
    house = House()
    old = house.spool.put(house.envelope("a@d.test"))
    record = (old, State(1, (Status.FAILED,)))
    house.intake.accept(house.envelope("s@s.test"), b"", b"notice", ident=IDS.fresh(), records=[record])
    assert house.spool.ended[old] == record[1]


def test_nothing_is_scheduled_before_it_is_safe() -> None:
    house = House()
    gate = house.spool.gate = tasks.Parking()
    ident = IDS.fresh()
    tasks.spawn(lambda: house.intake.accept(house.envelope("a@d.test"), b"", b"x", ident=ident))
    until(lambda: gate.taken)
    assert len(house.schedule) == 0
    gate.wake()
    until(lambda: len(house.schedule) == 1)


def test_a_bug_on_the_way_to_one_domain_keeps_no_other_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    crashes: list[str] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(str(error)))

    def unrouted(domain: str) -> None:
        if domain == "d.test":
            raise Impossible("a bug")
        house.asked.append(domain)

    house.unrouted = unrouted
    ident = house.intake.accept(house.envelope("a@d.test", "b@e.test"), b"", b"x", ident=IDS.fresh())
    assert crashes == ["a bug"] and house.asked == ["e.test"]
    assert {item.domain for item in house.schedule.items(ident)} == {"d.test", "e.test"}
    house.unrouted = house.asked.append
    assert house.schedule.walk().orphans == 0 and "d.test" in house.asked  # the patrol asks again


def entry_of(envelope: Envelope, state: State | None) -> Entry:
    return Entry(IDS.fresh(), envelopes.encode(envelope), None if state is None else states.encode(state))


def test_what_nobody_has_tried_is_due_at_once() -> None:
    house = House()
    entry = entry_of(house.envelope("a@d.test", "b@e.test"), None)
    house.clock.mono += 100.0
    assert house.intake.recovered(entry) == 2 and sorted(house.asked) == ["d.test", "e.test"]
    assert {item.expires for item in house.schedule.items(entry.ident)} == {house.clock.mono - 100.0 + EXPIRE}


def test_what_waited_waits_on_without_those_who_have_it() -> None:
    house = House()
    wall = house.clock.wall()
    state = State(3, (Status.DELIVERED, Waiting(4, wall + 700.0, "450 x"), Waiting(4, wall + 700.0), Status.FAILED))
    entry = entry_of(house.envelope("a@d.test", "b@d.test", "c@d.test", "d@e.test"), state)
    assert house.intake.recovered(entry) == 1
    (item,) = house.schedule.items(entry.ident)
    assert (item.indices, item.attempts, item.place) == ((1, 2), 4, Place.WAITING)
    assert item.due == house.clock.mono + 700.0 and house.asked == []


def test_what_a_clock_that_has_gone_back_since_dated_is_neither_put_off_nor_kept_longer() -> None:
    """Twelve days ahead a clock wrote down two attempts an hour apart; what is within the longest pause is believed."""
    house = House()
    wall = house.clock.wall()
    future = 12 * 86_400.0
    dues = []
    for away in (future + 600.0, future + 4_200.0, 2 * LONGEST):
        envelope = msgspec.structs.replace(house.envelope("a@d.test"), created=wall + future)
        entry = entry_of(envelope, State(3, (Waiting(4, wall + away, "450 x"),)))
        house.intake.recovered(entry)
        (item,) = house.schedule.items(entry.ident)
        assert item.expires == house.clock.mono + EXPIRE
        dues.append(item.due - house.clock.mono)
    assert min(dues[:2]) >= 0.0 and max(dues[:2]) < LONGEST and (dues[1] - dues[0]) % LONGEST == pytest.approx(3_600.0)
    assert dues[2] == 2 * LONGEST


@pytest.mark.parametrize(("notices", "late"), [((0, 0), ["d.test"]), ((1, 0), ["d.test"]), ((1, 1), [])])
def test_what_has_become_late_meanwhile_is_told_of_once(notices: tuple[int, int], late: list[str]) -> None:
    house = House()
    wall = house.clock.wall()
    state = State(3, tuple(Waiting(4, wall + 50_000.0, "450 x", bits) for bits in notices))
    envelope = msgspec.structs.replace(house.envelope("a@d.test", "b@d.test"), created=wall - 20_000.0)
    house.intake.recovered(entry_of(envelope, state))
    assert house.late == late


def test_what_was_held_stays_held() -> None:
    house = House()
    entry = entry_of(house.envelope("a@d.test"), State(3, (Waiting(1, 1.0),), "why"))
    house.intake.recovered(entry)
    assert house.schedule.items(entry.ident)[0].place is Place.HELD


@pytest.mark.parametrize("state", [None, State(3, (Waiting(2, 1.0, "450 x"),))])
def test_what_workers_crashed_over_is_held_and_says_why(state: State | None) -> None:
    house = House()
    envelope = house.envelope("a@d.test")
    entry = entry_of(envelope, state)
    house.spool.put(envelope, ident=entry.ident)
    house.intake.recovered(entry, suspect=True)
    (item,) = house.schedule.items(entry.ident)
    standing = house.spool.states[entry.ident]
    assert item.place is Place.HELD and standing.held == HELD_SUSPECT and not standing.ended
    assert item.attempts == (2 if state else 0)


def test_octets_that_are_no_envelope_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    good = entry_of(house.envelope("a@d.test"), None)
    for bad in (
        good._replace(envelope=b"\xc1"),
        good._replace(state=b"\xc1"),
        good._replace(state=states.encode(State(1, ()))),
    ):
        assert house.intake.recovered(bad) == 0
    assert len(crashes) == 3 and len(house.schedule) == 0


def test_an_ended_state_has_no_domain() -> None:
    envelope = House().envelope("a@d.test")
    assert by_domain(envelope, State(1, (Status.DELIVERED,))) == {}
