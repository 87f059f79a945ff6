"""schedule/runners.py: as many as the window allows, woken one for one, never spinning, all home at the end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastrelay.errors import Impossible
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.runners import STUCK, SWEEP_EVERY, Runners
from fastrelay.schedule.window import Window
from tests.unit.rooms import HandClock, settle_down, until


class Hands:
    def __init__(self) -> None:
        self.connection: object = None
        self.progress = 0.0
        self.closed = False

    def rest(self, now: float) -> None: ...

    def close(self) -> None:
        self.closed = True


class Settings:
    idle_timeout = 60.0


class Yard:
    """One lane, whose items are numbers; attempts wait until let go, or do as told."""

    def __init__(self, size: int = 5) -> None:
        self.clock = HandClock()
        self.lane = Lane("mx.d.test", Window(10, size), self.clock.mono)
        self.items: list[int] = []
        self.hands: list[Hands] = []
        self.under_way: list[tasks.Parking] = []
        self.done = 0
        self.attempt: Callable[[Any, Any], float] = self.wait
        self.sending: set[Any] = set()
        self.runners = Runners(
            self.pick,
            lambda hands, item: self.attempt(hands, item),
            self.make,
            self.sending.__contains__,
            lambda site: Settings(),
            now=self.clock.now,
        )

    def make(self) -> Hands:
        self.hands.append(Hands())
        return self.hands[-1]

    def put(self, count: int = 1) -> None:
        self.items += [1] * count
        self.lane.ready = len(self.items)
        self.runners.ready(self.lane)

    def pick(self, lane: Lane, now: float) -> Item | None:
        if not self.items:
            return None
        self.items.pop()
        lane.ready = len(self.items)
        return Item(b"x", "d.test", (0,), 0, 0.0, 9e9)

    def wait(self, hands: Any, item: Any) -> float:
        hands.connection = object()
        place = tasks.Parking()
        self.under_way.append(place)
        self.sending.add(hands)
        try:
            place.wait()
        finally:
            self.sending.discard(hands)
        self.done += 1
        return 0.0

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self.under_way.pop(0).wake()
        settle_down()

    @property
    def standing(self) -> tuple[int, int, int]:
        return self.lane.runners, len(self.lane.parked), self.lane.coming


@pytest.fixture(autouse=True)
def crashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    found: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: found.append(error))
    yield found


def test_one_item_starts_one_runner_and_many_as_many_as_the_window() -> None:
    yard = Yard(5)
    yard.put()
    assert yard.standing == (1, 0, 1)
    yard.runners.ready(yard.lane)
    assert yard.standing == (1, 0, 1)  # it is on its way
    yard.put(20)
    assert yard.standing == (5, 0, 5)
    settle_down()
    assert len(yard.under_way) == 5 and yard.standing == (5, 0, 0)


def test_a_smaller_window_sends_runners_home_after_their_attempt() -> None:
    yard = Yard(5)
    yard.put(30)
    settle_down()
    yard.lane.window = Window(10, 2)
    yard.let_go(3)
    assert yard.standing == (2, 0, 0) and sum(hands.closed for hands in yard.hands) == 3
    yard.let_go()
    assert yard.standing == (2, 0, 0) and len(yard.under_way) == 2


def test_parked_runners_are_woken_before_any_is_started() -> None:
    yard = Yard(3)
    yard.put(3)
    settle_down()
    yard.let_go(3)
    assert yard.standing == (3, 3, 0)
    yard.put(2)
    assert yard.standing == (3, 1, 2)
    settle_down()
    assert len(yard.hands) == 3 and len(yard.under_way) == 2


def test_a_runner_woken_for_nothing_parks_again() -> None:
    yard = Yard(3)
    yard.put(2)
    settle_down()
    yard.let_go(2)
    yard.put(1)
    yard.items.clear()
    settle_down()
    assert yard.standing == (2, 2, 0)


def test_a_suspended_lane_starts_nobody() -> None:
    yard = Yard(3)
    yard.lane.suspended_until = yard.clock.mono + 60.0
    yard.put(3)
    assert yard.standing == (0, 0, 0)
    yard.clock.mono += 61.0
    yard.runners.ready(yard.lane)
    assert yard.standing == (3, 0, 3)


@pytest.mark.parametrize("where", ["attempt", "pick"])
def test_a_crash_ends_one_runner_and_nothing_spins(where: str, crashes: list[BaseException]) -> None:
    yard = Yard(1)

    def broken(*args: Any) -> Any:
        raise Impossible("a bug")

    if where == "attempt":
        yard.attempt = broken
    else:
        yard.runners._pick = broken
    yard.put(10)
    settle_down(50)
    assert len(crashes) == 1 and yard.standing == (0, 0, 0) and yard.hands[0].closed
    yard.runners.ready(yard.lane)  # as the patrol will
    settle_down(50)
    assert len(crashes) == 2


def test_a_drain_before_a_runner_has_begun_lets_it_end_by_itself() -> None:
    yard = Yard(3)
    yard.put(3)
    assert yard.runners.drain(5.0) and yard.standing[0] == 0 and len(yard.items) == 3
    yard.put(1)
    assert yard.standing[0] == 0


def test_a_drain_waits_for_who_is_sending_and_cuts_off_the_others() -> None:
    yard = Yard(3)
    yard.put(2)
    settle_down()
    yard.sending.discard(yard.hands[0])
    ended: list[bool] = []
    tasks.spawn(lambda: ended.append(yard.runners.drain(60.0)))
    settle_down()
    assert yard.hands[0].closed and not yard.hands[1].closed and ended == []
    yard.under_way[1].wake()
    until(lambda: ended == [True])
    assert yard.done == 1 and len(yard.runners) == 0


def test_a_drain_that_takes_too_long_is_cut() -> None:
    yard = Yard(3)
    yard.put(3)
    settle_down()
    assert not yard.runners.drain(0.01)
    assert len(yard.runners) == 0 and all(hands.closed for hands in yard.hands) and yard.done == 0


def test_who_rests_wakes_by_itself() -> None:
    yard = Yard(1)
    pauses = [0.005, 0.0]
    yard.attempt = lambda hands, item: pauses.pop(0)
    yard.put(2)
    until(lambda: not pauses)
    assert yard.items == []


def test_an_attempt_without_progress_is_cut_off_and_told(crashes: list[BaseException]) -> None:
    yard = Yard()
    yard.put(2)
    settle_down()
    stuck, moving = yard.hands
    for _ in range(int(STUCK / SWEEP_EVERY) + 2):
        moving.progress += 1.0
        yard.clock.mono += SWEEP_EVERY
        yard.runners.tick(yard.clock.mono)
    settle_down()
    assert str(crashes) == "[Impossible('78 at d.test: no progress of its delivery for 1800 s, it is cut off')]"
    assert stuck.closed and not moving.closed and len(yard.runners) == 1
    crashes.clear()


def test_who_rests_or_is_parked_is_not_stuck(crashes: list[BaseException]) -> None:
    yard = Yard()
    yard.attempt = lambda hands, item: 1e9
    yard.put(1)
    settle_down()
    for _ in range(int(STUCK / SWEEP_EVERY) + 2):
        yard.clock.mono += SWEEP_EVERY
        yard.runners.tick(yard.clock.mono)
    settle_down()
    assert not crashes and len(yard.runners) == 1
