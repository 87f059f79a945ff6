"""Turns against a clock that is only a number."""

import random

import pytest

from fastrelay.load.pace import Turns
from fastrelay.load.plan import Plan


def plan(**what: float | int | None) -> Plan:
    return Plan("::1", 25, **what)  # type: ignore[arg-type]


def all_turns(turns: Turns, now: float) -> list[tuple[int, float]]:
    taken = []
    while (turn := turns.take(now)) is not None:
        taken.append(turn)
    return taken


def test_closed_loop_gives_at_once_and_counts() -> None:
    turns = Turns(plan(messages=3, first=7), 100.0)
    assert turns.take(100.5) == (7, 100.5) and turns.take(101.0) == (8, 101.0) and not turns.over(101.0)
    assert turns.take(102.0) == (9, 102.0) and turns.over(102.0) and turns.take(102.0) is None
    assert turns.missed() == 0


def test_closed_loop_ends_by_the_clock() -> None:
    turns = Turns(plan(messages=None, seconds=2.0), 100.0)
    assert turns.take(101.999) is not None and turns.take(102.0) is None and turns.over(102.0)


def test_open_loop_waits_for_each_instant() -> None:
    turns = Turns(plan(messages=10, rate=10.0), 100.0)
    assert turns.take(100.0) == (0, 100.0)
    assert turns.take(100.05) is None and turns.due == pytest.approx(100.1) and not turns.over(100.05)
    assert turns.take(100.1001) == (1, pytest.approx(100.1))


def test_who_comes_late_gets_the_instant_that_was_due() -> None:
    turns = Turns(plan(messages=None, seconds=10.0, rate=10.0), 100.0)
    assert all_turns(turns, 101.0) == [(n, pytest.approx(100.0 + n / 10)) for n in range(11)]


def test_instants_do_not_drift(chance: random.Random) -> None:
    turns, now, last = Turns(plan(messages=None, seconds=1e6, rate=300.0), 0.0), 0.0, 0
    while now < 100.0:
        now += chance.random()
        for number, due in all_turns(turns, now):
            last = number
            assert abs(due - number / 300.0) < 1e-6 and due <= now
    assert last == int(now * 300.0)


def test_processes_take_turns_that_are_evenly_spaced_together() -> None:
    parts = [Turns(part, 50.0) for part in plan(messages=None, seconds=1.0, rate=100.0).split(3)]
    dues = sorted(due for part in parts for _, due in all_turns(part, 50.9999))
    assert dues == [pytest.approx(50.0 + n / 100) for n in range(100)]
    assert sum(part.missed() for part in parts) == 0


@pytest.mark.parametrize(("taken_at", "missed"), [([], 20), ([100.0], 19), ([100.5], 14), ([101.999], 0)])
def test_what_was_due_before_the_end_is_missed(taken_at: list[float], missed: int) -> None:
    turns = Turns(plan(messages=None, seconds=2.0, rate=10.0), 100.0)
    for now in taken_at:
        all_turns(turns, now)
    assert turns.over(102.0) and turns.missed() == missed


def test_no_more_is_missed_than_was_planned() -> None:
    turns = Turns(plan(messages=5, seconds=2.0, rate=10.0), 100.0)
    turns.take(100.0)
    assert turns.missed() == 4


def test_stopped_is_over_and_misses_nothing() -> None:
    for rate in (None, 10.0):
        turns = Turns(plan(messages=100, seconds=60.0, rate=rate), 100.0)
        turns.take(100.0)
        turns.stop()
        assert turns.over(100.0) and turns.take(110.0) is None and turns.missed() == 0


def test_over_as_soon_as_the_next_would_come_after_the_end() -> None:
    turns = Turns(plan(messages=None, seconds=1.0, rate=1.0), 100.0)
    assert turns.take(100.0) is not None and turns.over(100.0)
