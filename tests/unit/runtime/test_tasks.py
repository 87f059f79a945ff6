"""runtime/tasks.py: what was handed over arrives, whatever else happens in the same turn of the loop."""

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
