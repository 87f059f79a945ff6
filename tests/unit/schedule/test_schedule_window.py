"""schedule/window.py: grows by one, halves on the site's failures, suspends a dead site for 1 to 15 minutes."""

import pytest

from fastrelay.mail.outcome import Scope
from fastrelay.schedule.window import CLOSED, MOMENT, START, SUSPEND_FIRST, SUSPEND_MAX, fresh


def test_it_starts_small_and_grows_by_one_per_success_up_to_the_limit() -> None:
    window = fresh(8)
    sizes = [window.size]
    for _ in range(5):
        window = window.succeeded()
        sizes.append(window.size)
    assert sizes == [START, 6, 7, 8, 8, 8]
    assert window.succeeded() is window
    assert fresh(2).size == 2


@pytest.mark.parametrize("scope", [Scope.RECIPIENT, Scope.MESSAGE])
def test_a_refused_message_says_nothing_of_the_site(scope: Scope) -> None:
    window = fresh(8)
    assert window.failed(scope, 0.0, 0.5) == (window, None)


@pytest.mark.parametrize("scope", [Scope.HOST, Scope.SITE])
def test_a_failing_site_shrinks_it_and_as_many_as_the_window_in_a_row_suspend_the_lane(scope: Scope) -> None:
    window, until, sizes = fresh(20), None, []
    while until is None:
        window, until = window.failed(scope, 1000.0, 0.5)
        sizes.append(window.size)
    assert sizes == [2, 1, 1, 1, 1] and until == 1000.0 + SUSPEND_FIRST
    assert window.succeeded().failures == 0 and window.succeeded().suspensions == 0


def test_one_probe_after_each_pause_and_pauses_double_to_a_quarter_of_an_hour() -> None:
    window, pauses = fresh(1), []
    for _ in range(8):
        window, until = window.failed(Scope.SITE, 0.0, 0.5)
        assert until is not None and window.size == 1
        pauses.append(until)
    assert pauses == [60, 120, 240, 480, SUSPEND_MAX, SUSPEND_MAX, SUSPEND_MAX, SUSPEND_MAX]


def test_pauses_are_jittered_within_bounds() -> None:
    low = fresh(1).failed(Scope.SITE, 0.0, 0.0)[1]
    high = fresh(1).failed(Scope.SITE, 0.0, 0.999999)[1]
    assert low == pytest.approx(54) and high == pytest.approx(66, abs=0.01)


def test_a_success_between_failures_starts_the_count_anew() -> None:
    window = fresh(10)
    for _ in range(50):
        window, until = window.failed(Scope.HOST, 0.0, 0.5)
        assert until is None
        window = window.succeeded()


def test_a_lower_limit_holds_at_once() -> None:
    assert fresh(20).limited(3).size == 3


def test_too_many_connections_halves_it_and_keeps_it_there_for_a_while() -> None:
    window = fresh(20)
    for _ in range(15):
        window = window.succeeded()
    assert window.size == 20
    closed, until = window.crowded(1000.0, 0.5)
    assert (closed.size, closed.limit, closed.full, until) == (10, 10, 20, None)
    assert closed.crowded(1000.0 + MOMENT - 1, 0.5) == (closed, None), "ten connections that are told are told once"
    assert closed.succeeded() is closed, "it does not grow meanwhile"
    assert closed.opened(1000.0 + CLOSED - 1) is closed
    opened = closed.opened(1000.0 + CLOSED)
    assert (opened.size, opened.limit, opened.full) == (10, 20, 0) and opened.succeeded().size == 11
    again, _ = closed.crowded(1000.0 + MOMENT, 0.5)
    assert (again.size, again.limit, again.full, again.closed_at) == (5, 5, 20, 1000.0 + MOMENT)


def test_where_one_connection_is_too_many_the_lane_rests() -> None:
    window = fresh(1)
    window, until = window.crowded(1000.0, 0.5)
    assert until == 1000.0 + SUSPEND_FIRST and window.full == 1
    window, until = window.crowded(1100.0, 0.5)
    assert until == 1100.0 + 2 * SUSPEND_FIRST
    assert window.succeeded().suspensions == 0


def test_failures_and_a_reload_keep_what_the_receiver_said() -> None:
    closed, _ = fresh(20).crowded(1000.0, 0.5)
    failed, _ = closed.failed(Scope.HOST, 1001.0, 0.5)
    assert failed.full == 20 and failed.succeeded().full == 20
    assert closed.limited(30).full == 30 and closed.limited(30).limit == 2
    assert closed.limited(10).limit == 2 and closed.limited(1).limit == 1 and closed.limited(1).full == 0
