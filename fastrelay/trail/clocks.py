"""Are times in order? Each hop's date against its neighbour's, against its own id, and against now.

Clocks of genuine hosts differ: 12 % of the chains measured go back by more than five minutes somewhere, under 1 % by an
hour and more, and half of those by whole hours, which is a zone set wrong. So up to TOLERANCE is nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from fastrelay.trail import idents
from fastrelay.trail.finding import Check, Finding, finding
from fastrelay.trail.hop import Hop

TOLERANCE: Final = 3600.0  # seconds a hop may lie before the one before it
FUTURE: Final = 86400.0  # seconds a date may lie ahead of now: a zone, and a wrong clock
LATE: Final = 6 * 86400.0  # RFC 5321 4.5.4.1: senders give up after four to five days
_UNZONED: Final = 14 * 3600.0
_DAY: Final = 86400.0


def out_of_order(chain: Sequence[Hop], now: float | None) -> Iterator[Finding]:
    """What the dates say. now: seconds since the epoch; None: the newest date is all there is to go by."""
    before: Hop | None = None
    for hop in chain:
        when = hop.moment
        if when is None:
            yield finding(hop.number, Check.NO_DATE, "no date")
            continue
        for odd in when.oddities:
            yield finding(hop.number, Check.DATE, odd.value)
        if now is not None and when.at > now + FUTURE:
            yield finding(hop.number, Check.FUTURE, f"dated {span(when.at - now)} ahead of now")
        yield from _stamped(hop)
        if before is not None and before.moment is not None:
            yield from _step(before, hop)
        before = hop


def _step(before: Hop, hop: Hop) -> Iterator[Finding]:
    assert before.moment is not None and hop.moment is not None
    seconds = hop.moment.at - before.moment.at
    slack = TOLERANCE if before.moment.zoned and hop.moment.zoned else _UNZONED
    if seconds < -slack:
        words = f"{span(-seconds)} before hop {before.number}"
        hours = round(-seconds / 3600)
        if hours <= 13 and abs(-seconds - hours * 3600) < 180:
            yield finding(hop.number, Check.ZONE, words)
        else:
            yield finding(
                hop.number, Check.BACKWARDS, words, 1.5 if seconds < -_DAY else 1.0 if seconds < -2 * TOLERANCE else 0.5
            )
    elif seconds > LATE:
        yield finding(hop.number, Check.LATE, f"{span(seconds)} after hop {before.number}")


def _stamped(hop: Hop) -> Iterator[Finding]:
    stamp = idents.stamp(hop)
    if stamp is None or hop.moment is None:
        return
    apart = abs(stamp.at - hop.moment.at)
    if apart > max(2 * 3600.0, stamp.slack) + (0.0 if hop.moment.zoned else _UNZONED):
        side = "before" if stamp.at < hop.moment.at else "after"
        why = f"its {stamp.program} id was made {span(apart)} {side} its date"
        yield finding(hop.number, Check.STAMP, why, 1.5 if apart > 2 * _DAY else 1.0)


def span(seconds: float) -> str:
    """ "12s", "3m", "5.5h", "4.2d", "30y"."""
    for size, unit in ((31557600.0, "y"), (_DAY, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + unit
    return f"{seconds:.0f}s"
