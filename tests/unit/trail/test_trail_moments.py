"""Dates as they are really written: RFC 5322, its obsolete forms, and what programs made of it."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrelay.trail.moments import Moment, Oddity, moment

AT = datetime(2002, 9, 3, 10, 36, 32, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "Tue, 3 Sep 2002 10:36:32 -0000",
        "3 Sep 2002 10:36:32 +0000",
        "Tue,  3 Sep 2002 12:36:32 +0200",
        "Tue, 03 Sep 02 10:36:32 GMT",
        "Tue, 3 Sep 102 10:36:32 UT",
        "Tue, 3 Sep 2002 05:36:32 CDT",
        "Tue Sep  3 10:36:32 2002 +0000",
        "Tuesday, 3-Sep-02 10:36:32 GMT",
        "2002-09-03 10:36:32.615921922 +0000 UTC",
        "2002-09-03T12:36:32+02:00",
        "2002-09-03T10:36:32Z",
        "Tue, 3 Sep 2002 6:36:32 am -0400",
        "tue, 3 SEPTEMBER 2002 10:36:32 z",
    ],
)
def test_one_moment_in_many_hands(text: str) -> None:
    assert moment(text) == Moment(AT, True)


def test_without_a_zone_the_moment_says_so() -> None:
    assert moment("Tue, 3 Sep 2002 10:36:32") == Moment(AT, False)
    assert moment("Tue, 3 Sep 2002 10:36:32 XYZ") == Moment(AT, False)


def test_afternoon() -> None:
    found = moment("Tue, 3 Sep 2002 10:36:32 PM +0000")
    assert found is not None and found.at == AT + 12 * 3600


def test_two_digit_years_are_rfc_5322_4_3() -> None:
    assert moment("1 Jan 49 00:00:00 +0000") == Moment(datetime(2049, 1, 1, tzinfo=UTC).timestamp(), True)
    assert moment("1 Jan 50 00:00:00 +0000") == Moment(datetime(1950, 1, 1, tzinfo=UTC).timestamp(), True)


@pytest.mark.parametrize("text", ["Mon, 3 Sep 2002 10:36:32 +0000", "Wed, 3 Sep 2002 10:36:32 +0000"])
def test_a_weekday_that_is_not_the_dates(text: str) -> None:
    found = moment(text)
    assert found is not None and found.oddities == (Oddity.WEEKDAY,)


@pytest.mark.parametrize("zone", ["+2500", "-1900", "+0107"])
def test_an_offset_of_no_place(zone: str) -> None:
    found = moment(f"Tue, 3 Sep 2002 10:36:32 {zone}")
    assert found is not None and Oddity.OFFSET in found.oddities


@pytest.mark.parametrize("zone", ["+0545", "-0330", "+1400", "+0930"])
def test_odd_offsets_that_exist(zone: str) -> None:
    found = moment(f"3 Sep 2002 10:36:32 {zone}")
    assert found is not None and found.oddities == ()


@pytest.mark.parametrize(
    "text",
    ["", "no date", "Tue, 31 Feb 2002 10:00:00 +0000", "3 Sep 2002", "10:36:32", "3 Sep 2002 25:00:00 +0000",
     "3 Sep 2002 1:2:3:4 +0000", "0 Sep 2002 10:00:00 GMT", "3 Sep 0 10:00:00", "-- :: --", "2002-13-40 10:00:00"],
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert moment(text) is None


@given(st.text(max_size=120))
def test_nothing_raises(text: str) -> None:
    moment(text)


@given(
    st.lists(st.sampled_from([*"0123456789", "-", "+", ":", "T", "Z", ".", "Jan", "tue", " ", "٣", "²"]), max_size=40)
)
@example(parts=["-", "T", "-", ":"])
def test_nothing_like_a_date_raises(parts: list[str]) -> None:
    moment("".join(parts))
