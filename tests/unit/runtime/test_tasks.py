"""runtime/tasks.py: what was handed over arrives, whatever else happens in the same turn of the loop."""

import pytest

from fastrelay.errors import PeerClosed, PeerTimeout
from fastrelay.runtime import clock, tasks


def _told(place: tasks.Parking, *acts: object) -> object:
    """What one who waits gets when all of `acts` happen in one turn, before it can run."""
    got: list[object] = []
    over = tasks.Event()

    def wait() -> None:
        try:
            got.append(place.wait(60.0))
        except (PeerTimeout, PeerClosed) as error:
            got.append(type(error))
        over.set()

    tasks.spawn(wait)
    while not place.taken:
        tasks.run_loop_once()
    for act in acts:
        act()  # type: ignore[operator]
    assert over.wait(5.0)
    return got[0]


def test_each_way_a_task_may_end_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    before, place = tasks.running(), tasks.Parking()
    waits = tasks.spawn(place.wait, 60.0)
    early = tasks.spawn(tasks.Parking().wait, 60.0)
    tasks.kill(early)
    tasks.spawn(int, "no number")
    tasks.spawn(tasks.run_loop_once)
    while not place.taken or tasks.running() > before + 1:
        tasks.run_loop_once()
    assert "no number" in capfd.readouterr().err
    tasks.kill(waits)
    while tasks.running() > before:
        tasks.run_loop_once()
    assert tasks.running() == before
    assert waits.dead and early.dead


def test_a_value_is_not_lost_to_a_timeout_that_comes_with_it() -> None:
    place = tasks.Parking()
    late = place._late
    assert _told(place, lambda: place.wake("it"), late) == "it"
    assert _told(place, late, lambda: place.wake("it")) == "it"
    assert _told(place, late) is PeerTimeout


def test_the_last_word_counts() -> None:
    place = tasks.Parking()
    lost = PeerClosed("lost")
    assert _told(place, lambda: place.wake(1), lambda: place.wake(2)) == 2
    assert _told(place, lambda: place.fail(lost), lambda: place.wake(3)) == 3
    assert _told(place, lambda: place.wake(4), lambda: place.fail(lost)) is PeerClosed
    assert _told(place, lambda: place.wake(5)) == 5


def test_a_wait_is_as_long_as_it_says_though_the_loop_has_not_turned_for_longer() -> None:
    """A process that was busy starts its waits now, not when its loop last looked at the clock."""
    place = tasks.Parking()

    tasks.sleep(0.001)  # one who is woken by a timer or a descriptor finds the loop's clock as the turn began
    busy_until = clock.now() + 0.5
    while clock.now() < busy_until:
        pass
    tasks.spawn(tasks.later, tasks.later, place.wake, "it")  # some turns after the wait has begun
    assert place.wait(0.4) == "it"
