"""Times in order: with tolerance, with zones, against the id, against now."""

from email.utils import formatdate

import pytest

from fastrelay.trail.clocks import out_of_order, span
from fastrelay.trail.finding import Check
from fastrelay.trail.parse import hops

NOON = 1_795_608_000.0  # Wed, 25 Nov 2026 12:00 UTC
HOUR, DAY = 3600.0, 86400.0


def found(*seconds: float, now: float | None = None) -> list[tuple[int, Check]]:
    bodies = [f"from a by b{number} with SMTP; {formatdate(NOON + at)}" for number, at in enumerate(seconds)]
    return [(one.hop, one.check) for one in out_of_order(hops(bodies[::-1]), now)]


def test_in_order_or_a_little_out_of_it_is_nothing() -> None:
    assert found(0, 1, 2, 3) == [] and found(0, -300, 100) == [] and found(0, -HOUR) == []


def test_backwards() -> None:
    assert found(0, -5.5 * HOUR) == [(2, Check.BACKWARDS)]
    assert found(0, 10, -9 * DAY) == [(3, Check.BACKWARDS)]


def test_whole_hours_are_a_zone() -> None:
    assert found(0, -3 * HOUR) == [(2, Check.ZONE)] and found(0, -2 * HOUR - 60) == [(2, Check.ZONE)]
    assert found(0, -48 * HOUR) == [(2, Check.BACKWARDS)]


def test_degrees() -> None:
    def weight(seconds: float) -> float:
        bodies = [f"from a by b; {formatdate(NOON + seconds)}", f"from a by b; {formatdate(NOON)}"]
        return max(one.weight for one in out_of_order(hops(bodies), None))

    assert weight(-1.5 * HOUR) < weight(-5.5 * HOUR) < weight(-9 * DAY)


def test_a_long_wait() -> None:
    assert found(0, 5 * DAY) == [] and found(0, 7 * DAY) == [(2, Check.LATE)]


def test_the_zone_counts() -> None:
    bodies = ["by b; Wed, 25 Nov 2026 04:00:05 -0800", "by a; Wed, 25 Nov 2026 13:00:00 +0100 (CET)"]
    assert list(out_of_order(hops(bodies), None)) == []


def test_without_a_zone_nearly_everything_is_possible() -> None:
    bodies = ["by b; Wed, 25 Nov 2026 04:00:05", "by a; Wed, 25 Nov 2026 13:00:00 +0100 (CET)"]
    assert list(out_of_order(hops(bodies), None)) == []


def test_the_future() -> None:
    assert found(0, now=NOON - 2 * HOUR) == [] and found(0, now=NOON - 2 * DAY) == [(1, Check.FUTURE)]
    assert found(0, now=None) == []


@pytest.mark.parametrize(
    ("date", "check"),
    [
        ("Mon, 25 Nov 2026 12:00:00 +0000", Check.DATE),
        ("Wed, 25 Nov 2026 12:00:00 +2700", Check.DATE),
        ("soon", Check.NO_DATE),
    ],
)
def test_dates_no_program_writes(date: str, check: Check) -> None:
    assert [one.check for one in out_of_order(hops([f"from a by b; {date}"]), None)] == [check]


def test_an_id_of_another_time() -> None:
    text = "from a by b with esmtp (Exim 3.36 #1) id 17outV-0000l4-00; {}"
    honest = [text.format("Tue, 10 Sep 2002 19:58:09 -0400")]
    forged = [text.format("Tue, 10 Sep 2002 09:58:09 -0400")]
    assert list(out_of_order(hops(honest), None)) == []
    (one,) = out_of_order(hops(forged), None)
    assert one.check is Check.STAMP and one.why == "its Exim id was made 10h after its date"


def test_hops_without_a_date_are_stepped_over() -> None:
    bodies = [f"by c; {formatdate(NOON - 5.5 * HOUR)}", "by b", f"by a; {formatdate(NOON)}"]
    assert [(one.hop, one.check) for one in out_of_order(hops(bodies), None)] == [
        (2, Check.NO_DATE),
        (3, Check.BACKWARDS),
    ]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (90, "1.5m"), (7200, "2h"), (3 * DAY, "3d"), (4e7, "1.3y")])
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
