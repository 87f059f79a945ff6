"""process/limit.py: counts and rates are exact, whatever the pattern of arrival."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.config import Rate
from fastrelay.process.limit import MAX_HELD, begin, has_room, spacing


def begun(rate: Rate, arrivals: list[float]) -> list[float]:
    arrival, passed = 0.0, []
    for now in arrivals:
        may, value = begin(rate, arrival, now)
        if may:
            arrival = value
            passed.append(now)
        else:
            assert value > now
    return passed


def test_room_up_to_the_count_and_no_further() -> None:
    assert has_room(5, 4, 0) and not has_room(5, 5, 0) and not has_room(5, 9, 0)
    assert not has_room(10**9, MAX_HELD, MAX_HELD), "a cell never overflows"


def test_an_even_rate_is_exact() -> None:
    assert begun(Rate(1, 60), [1000.0, 1059.0, 1060.0, 1119.0, 1120.0]) == [1000.0, 1060.0, 1120.0]
    assert begun(Rate(4, 1), [10 + n / 4 for n in range(40)]) == [10 + n / 4 for n in range(40)]


def test_a_burst_after_a_rest_then_spaced() -> None:
    interval, tolerance = spacing(Rate(100, 60))
    assert math.isclose(interval, 60 / 91) and math.isclose(tolerance, 9 * 60 / 91)
    assert len(begun(Rate(100, 60), [1000.0] * 100)) == 10


def test_retry_at_is_the_first_instant_that_passes() -> None:
    rate = Rate(100, 60)
    arrival, now = 0.0, 500.0
    for _ in range(300):
        may, value = begin(rate, arrival, now)
        if not may:
            assert not begin(rate, arrival, math.nextafter(value, 0.0))[0]
            now = value
            may, value = begin(rate, arrival, now)
        assert may
        arrival = value
    assert math.isclose(now - 500.0, (300 - 10) * 60 / 91, rel_tol=1e-6)


def test_a_rate_of_nothing_lets_nothing_through() -> None:
    assert begin(Rate(0, 60), 0.0, 7.0) == (False, 67.0)


@given(
    count=st.integers(1, 60),
    steps=st.lists(st.integers(0, 64), min_size=1, max_size=300),
)
def test_no_window_ever_holds_more_than_the_rate(count: int, steps: list[int]) -> None:
    now, arrivals = 1024.0, []
    for step in steps:
        now += step / 64  # exact in binary, so the windows are exact too
        arrivals.append(now)
    passed = begun(Rate(count, 8), arrivals)
    for index, first in enumerate(passed):
        assert sum(1 for one in passed[index:] if one < first + 8 - 1e-9) <= count
