"""The date of a trace field as it is really written: RFC 5322 3.3, its obsolete forms, and what programs made of it.

Weekday, day, month, year, time and zone are taken in any order and told apart by their looks, so `Tue, 3 Sep 2002
10:36:32 -0000`, `Tue Sep  3 10:36:32 2002`, `2002-09-03 10:36:32.41 +0000 UTC` and `3-Sep-02 10:36:32 GMT` are one.
Two-digit years are RFC 5322 4.3: 00 to 49 are 20xx, 50 to 99 are 19xx. What no clock and no program writes is noted:
a weekday that is not the date's, an offset no place on earth has.
"""

import enum
from datetime import UTC, datetime
from typing import Final, NamedTuple

_MONTHS: Final = {
    name: n
    for n, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZONES: Final = {  # hours; those in use in mail. Two meanings (IST: India, Ireland, Israel; BST; CST) are left out
    "ut": 0.0, "gmt": 0.0, "utc": 0.0, "z": 0.0, "wet": 0.0, "west": 1.0, "cet": 1.0, "met": 1.0, "mez": 1.0,
    "cest": 2.0, "mest": 2.0, "mesz": 2.0, "eet": 2.0, "eest": 3.0, "msk": 3.0, "msd": 4.0, "hkt": 8.0, "sgt": 8.0,
    "jst": 9.0, "kst": 9.0, "aest": 10.0, "aedt": 11.0, "nzst": 12.0, "nzdt": 13.0, "est": -5.0, "edt": -4.0,
    "cst": -6.0, "cdt": -5.0, "mst": -7.0, "mdt": -6.0, "pst": -8.0, "pdt": -7.0, "akst": -9.0, "akdt": -8.0,
    "hst": -10.0,
}  # fmt: skip
_MAX_WORDS = 16  # of a date looked at
_HOUR = 3600.0


class Oddity(enum.Enum):
    """What no program writes by itself."""

    WEEKDAY = "the weekday is not the date's"
    OFFSET = "no place has that zone offset"


class Moment(NamedTuple):
    """at: seconds since the epoch. zoned: the zone was told, else `at` took it for UTC and may be 14 hours wrong."""

    at: float
    zoned: bool
    oddities: tuple[Oddity, ...] = ()


class _Parts:
    __slots__ = ("day", "month", "offset", "seconds", "weekday", "year")

    def __init__(self) -> None:
        self.day = self.month = self.weekday = -1
        self.year = -1
        self.seconds = -1.0  # of the day
        self.offset: float | None = None  # seconds east


def moment(text: str) -> Moment | None:
    """The date in `text`, comments already taken out; None where there is none. Never raises."""
    parts = _Parts()
    for word in text[:200].replace(",", " ").split()[:_MAX_WORDS]:
        _take(parts, word.lower())
    if parts.year < 0 or parts.month < 0 or parts.day < 0 or parts.seconds < 0:
        return None
    try:
        at = datetime(parts.year, parts.month, parts.day, tzinfo=UTC)
    except ValueError:
        return None
    odd = []
    if parts.weekday >= 0 and at.weekday() != parts.weekday:
        odd.append(Oddity.WEEKDAY)
    offset = parts.offset or 0.0
    if abs(offset) > 14 * _HOUR or offset % 900:
        odd.append(Oddity.OFFSET)
    return Moment(at.timestamp() + parts.seconds - offset, parts.offset is not None, tuple(odd))


def _take(parts: _Parts, word: str) -> None:
    bare = word.strip(".")
    if not word.isascii():
        return
    if bare[:3] in _DAYS and bare.isalpha() and parts.weekday < 0:
        parts.weekday = _DAYS.index(bare[:3])
    elif bare[:3] in _MONTHS and bare.isalpha():
        parts.month = _MONTHS[bare[:3]] if parts.month < 0 else parts.month
    elif ":" in word:
        _take_time(parts, word)
    elif word[0] in "+-" and len(word) == 5 and word[1:].isdigit():
        if parts.offset is None:
            sign = -1.0 if word[0] == "-" else 1.0
            parts.offset = sign * (int(word[1:3]) * _HOUR + int(word[3:5]) * 60.0)
    elif word.isdigit():
        _take_number(parts, word)
    elif word.count("-") == 2:
        _take_dashed(parts, word)
    elif bare in _ZONES and parts.offset is None:
        parts.offset = _ZONES[bare] * _HOUR
    elif bare in ("am", "pm") and parts.seconds >= 0:
        parts.seconds = parts.seconds % (12 * _HOUR) + (12 * _HOUR if bare == "pm" else 0.0)


def _take_number(parts: _Parts, word: str) -> None:
    number = int(word) if len(word) <= 4 else 0
    if len(word) == 4:
        parts.year = number if parts.year < 0 else parts.year
    elif len(word) <= 2 and parts.day < 0:
        parts.day = number
    elif len(word) in (2, 3) and parts.year < 0:
        parts.year = _full_year(number)


def _full_year(number: int) -> int:
    if number >= 100:  # RFC 5322 4.3: three digits are years since 1900
        return 1900 + number
    return 2000 + number if number < 50 else 1900 + number


def _take_time(parts: _Parts, word: str) -> None:
    if "t" in word and word.count("-") >= 2:  # ISO 8601 in one word
        date, _, word = word.partition("t")
        _take_dashed(parts, date)
    zone = max(word.rfind("+"), word.rfind("-"))
    if zone > 0:
        _take(parts, word[zone:].replace(":", ""))
        word = word[:zone]
    if word.endswith("z"):
        parts.offset = 0.0
        word = word[:-1]
    fields = word.split(":")
    if parts.seconds >= 0 or not 2 <= len(fields) <= 3:
        return
    whole = [field.partition(".")[0] for field in fields]
    if all(field.isdigit() and len(field) <= 2 for field in whole):
        hours, minutes, seconds = (*map(int, whole), 0)[:3]
        if hours < 24 and minutes < 60 and seconds <= 60:
            parts.seconds = hours * _HOUR + minutes * 60.0 + seconds


def _take_dashed(parts: _Parts, word: str) -> None:
    pieces = word.split("-")
    if len(pieces) < 3:
        return
    first, middle, last = pieces[:3]
    month = (
        _MONTHS.get(middle[:3], -1) if middle.isalpha() else int(middle) if middle.isdigit() and len(middle) < 3 else -1
    )
    if not first.isdigit() or not last.isdigit() or len(first) > 4 or len(last) > 4 or month < 0:
        return
    year, day = (first, last) if len(first) == 4 else (last, first)
    parts.year = int(year) if len(year) == 4 else _full_year(int(year))
    parts.month, parts.day = month, int(day)
