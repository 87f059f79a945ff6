"""The receiver's word: what the text of a temporary reply asks for beyond its code. Pure.

"Try again in 300 seconds" sets the next attempt, "greylisted" alone sets it to GREYLIST, "too many connections" closes
the window of the site. The wordings are those servers really use (tests/unit/settlement/test_settlement_word.py has
them by program and provider); what is not understood asks for nothing, and the schedule goes by its own rule.

A time counts only behind a word that makes it a wait ("again in", "retry after", "greylisted for"), never one that
tells of a quota ("100 messages in 60 seconds"). What is asked for is bounded by whoever uses it (plan.py).
"""

import re
from typing import NamedTuple

GREYLIST = 300.0  # seconds: the delay of postgrey, SQLgrey and milter-greylist as they come
LONGEST = 86_400.0  # seconds: nobody means more, and a number of 18 digits is not a wait
_LOOK = 600  # characters of the text that are looked at

_WAIT = r"(?:again|back|retry|resend|reconnect|wait|gr[ea]y-?list(?:ed|ing)?|delayed|deferred|postponed)\b"
_FILLER = r"(?:in|after|at|least|for|about|until|another|please|the|next|approximately|and|try)"
_BETWEEN = r"(?:[\s:=,;(\[-]+" + _FILLER + r")*[\s:=,;(\[-]+"
_TIMED = re.compile(
    _WAIT + _BETWEEN + r"(\d{1,6})[\s-]*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?)\b", re.IGNORECASE
)
_CLOCK = re.compile(_WAIT + _BETWEEN + r"(\d{1,2}):(\d\d):(\d\d)\b", re.IGNORECASE)
_BARE = re.compile(r"\bretry[- ]after[\s:=]+(\d{1,6})\b(?!\s*:)", re.IGNORECASE)
_GREY = re.compile(
    r"gr[ea]y-?\s?list|\[GL01\]|not yet authorized to deliver|internal resource temporarily unavailable", re.IGNORECASE
)
_CROWDED = re.compile(
    r"too many (?:\w+ ){0,3}(?:connections|sessions)|connection (?:rate |frequency |count )?limit"
    r"|maximum number of (?:\w+ ){0,2}connections|concurrent connections? limit|exceeded the connection limit",
    re.IGNORECASE,
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Word(NamedTuple):
    """seconds: when to come again, 0 = nothing was said. crowded: we hold more connections than the site wants."""

    seconds: float = 0.0
    crowded: bool = False


_NOTHING = Word()


def asked(text: str) -> Word:
    """What the text of a temporary reply asks for."""
    text = text[:_LOOK]
    seconds = _seconds(text)
    if not seconds and _GREY.search(text):
        seconds = GREYLIST
    crowded = _CROWDED.search(text) is not None
    return Word(min(seconds, LONGEST), crowded) if seconds or crowded else _NOTHING


def _seconds(text: str) -> float:
    found = _TIMED.search(text)
    if found is not None:
        return float(found[1]) * _UNITS[found[2][0].lower()]
    found = _CLOCK.search(text)
    if found is not None:
        return int(found[1]) * 3600.0 + int(found[2]) * 60.0 + int(found[3])
    found = _BARE.search(text)
    return float(found[1]) if found is not None else 0.0
