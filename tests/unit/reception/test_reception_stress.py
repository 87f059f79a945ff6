"""stress.py: when it begins, when it ends, and what clients get meanwhile."""

import pytest

from fastrelay.reception import stress
from fastrelay.smtp.terms import MAX_ERRORS


@pytest.mark.parametrize(
    ("before", "connections", "memory", "after"),
    [
        (False, 0.0, 0.0, False),
        (False, 0.79, 0.94, False),
        (False, 0.8, 0.0, True),
        (False, 0.0, 0.95, True),
        (False, 1.0, 1.2, True),
        (True, 0.79, 0.0, True),
        (True, 0.7, 0.0, True),
        (True, 0.0, 0.85, True),
        (True, 0.69, 0.84, False),
        (True, 0.0, 0.0, False),
    ],
)
def test_it_begins_high_and_ends_low(before: bool, connections: float, memory: float, after: bool) -> None:
    assert stress.under_stress(before, connections, memory) is after


def test_a_crowd_at_the_edge_changes_nothing_to_and_fro() -> None:
    now, changes = False, 0
    for places in [79, 80, 79, 80, 75, 70, 71, 79, 69, 70, 79, 69]:
        then = stress.under_stress(now, places / 100, 0.0)
        changes += then is not now
        now = then
    assert changes == 2 and not now


def test_what_clients_get() -> None:
    calm = stress.calm(300.0, 1.0)
    assert (calm.command_seconds, calm.tarpit_seconds, calm.max_errors) == (300.0, 1.0, MAX_ERRORS)
    short = stress.strained(300.0)
    assert (short.command_seconds, short.tarpit_seconds, short.linger_seconds, short.max_errors) == (10.0, 0.0, 0.0, 1)
    assert stress.strained(5.0).command_seconds == 5.0, "never longer than configured"
