"""control/pulse.py: second by second, what the counts say."""

from fastrelay.control.pulse import SECONDS, SITES, Pulse
from fastrelay.metrics import Counts
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.window import fresh


def test_each_second_has_what_was_counted_in_it() -> None:
    counts = Counts(["big"])
    pulse = Pulse(counts, list)
    pulse.tick(100.2)
    counts.received += 3
    counts.sites["big"].delivered += 2
    counts.sites["another"].delivered += 1
    counts.sites["big"].expired += 1
    counts.spool_commit_seconds.observe(0.002)
    pulse.tick(101.2)
    told = pulse.report(0.0)
    assert told["seconds"] == [[100, 0, 0, 0, 0, 0], [101, 3, 3, 0, 1, 0]]
    assert told["totals"] == {"received": 3, "delivered": 3, "deferred": 0, "bounced": 1, "sessions": 0}
    assert told["delivered"] == {"big": 2, "other": 1}
    assert sum(told["commits"]["counts"]) == 1 and len(told["commits"]["counts"]) == len(told["commits"]["bounds"]) + 1


def test_it_keeps_a_minute_and_some_lanes() -> None:
    lanes = [Lane(f"s{n}", fresh(10), 0.0) for n in range(SITES + 5)]
    lanes[-1].ready = 7
    lanes[-1].suspended_until = 30.0
    pulse = Pulse(Counts(), lambda: lanes)
    for second in range(200):
        pulse.tick(float(second))
    told = pulse.report(10.0)
    assert len(told["seconds"]) == SECONDS and told["seconds"][-1][0] == 199
    assert len(told["sites"]) == SITES
    assert told["sites"][0] == {"site": f"s{SITES + 4}", "ready": 7, "sending": 0, "window": 5, "rest_seconds": 20.0}


def test_before_its_first_second_it_says_nothing_wrong() -> None:
    told = Pulse(Counts(), list).report(0.0)
    assert told["seconds"] == [] and told["commits"]["counts"] == []
