"""Queue ids tell on forgers: each program has its own shape of them, and many write the time into theirs.

    Postfix      5 to 12 upper-case hex digits, or with long ids 10 and more of 52 letters, the first six the seconds
    Sendmail     AAA12345 before 8.10 (the hour), then year month day hour minute second in base 60, UTC
    Exim         six letters of base 62, the seconds; then - and pid, and -
    InterMail    <YYYYMMDDhhmmss.XXXX123.host@client>, UTC
    Gmail        letters and digits, two to four letters, digits; since 2016 .ms or .YYYY.MM.DD.hh.mm.ss (Pacific time)
    Mailgun, SendGrid   the seconds as eight hex digits
    KumoMTA      a UUID of version 1, which is made of the time

A stamp is compared with the date of the same field: the same clock wrote both, so a wrong clock does not matter.
"""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fastrelay.trail.hop import Hop

_BASE60: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE52: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

POSTFIX: Final = re.compile(
    r"[0-9A-F]{5,16}\Z|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{1,12}\Z"
)
SENDMAIL: Final = re.compile(r"[A-X][A-Z]{2}\d{4,8}\Z|[0-9A-Za-x][0-9AB][1-9A-V][0-9A-N][0-9A-Za-x]{3,4}\d{5,8}\Z")
_SENDMAIL_VERSION: Final = re.compile(r"(?:\A|[ (])8\.\d{1,2}\.\d{1,2}(?:[./+ ]|\Z)")
EXIM: Final = re.compile(r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}|[0-9A-Za-z]{11})-(?:[0-9A-Za-z]{2}|[0-9A-Za-z]{4})\Z")
GMAIL: Final = re.compile(r"[0-9a-z][0-9a-z-]{3,60}(?:\.\d{1,3}(?:\.\d{10,14}|(?:\.\d{2,4}){6})?)?\Z")
_GMAIL_LOCAL: Final = re.compile(r"\.(\d{4})\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\Z")
_GMAIL_EPOCH: Final = re.compile(r"\.\d{1,3}\.(1\d{9,12})\Z")
EXCHANGE: Final = re.compile(r"\d{1,2}\.\d{1,2}\.\d{1,5}(?:\.\d{1,4})?\Z")
OPENSMTPD: Final = re.compile(r"[0-9a-f]{8}\Z")
HARAKA: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\.\d{1,4}\Z")
_INTERMAIL: Final = re.compile(r"<(\d{14})\.[A-Z]{3,5}\d{1,9}\.")
_MAILGUN: Final = re.compile(r"([0-9a-f]{8})\.[0-9a-f]{5,14}-[a-z0-9-]{2,30}\Z")
_SENDGRID: Final = re.compile(r"[a-z][a-z0-9-]{3,60}-([0-9A-F]{8})-[0-9A-F]{1,4}\Z")
_TIMED_UUID: Final = re.compile(r"([0-9a-f]{8})([0-9a-f]{4})1([0-9a-f]{3})[89ab][0-9a-f]{15}\Z")  # RFC 9562 5.1


class Stamp(NamedTuple):
    """The time an id bears: seconds since the epoch, how exact, and whose habit it is."""

    at: float
    slack: float
    program: str


def stamp(hop: Hop) -> Stamp | None:
    """The time in the id of a hop, where its program writes one and the id has its shape."""
    ident, software = hop.ident, hop.software
    if "exim" in software or EXIM.match(ident):
        return _exim(ident)
    if _SENDMAIL_VERSION.search(software):
        return _sendmail(ident)
    if "postfix" in software:
        return _postfix(ident)
    if "kumomta" in software:
        return _kumomta(ident)
    found = _INTERMAIL.match(ident)
    if found:
        return _calendar(found[1], "InterMail")
    found = _GMAIL_EPOCH.search(ident)
    if found and GMAIL.match(ident):
        digits = found[1]
        return Stamp(int(digits) / (1000.0 if len(digits) > 10 else 1.0), 3600.0, "Gmail")
    found = _GMAIL_LOCAL.search(ident)
    if found and GMAIL.match(ident):
        local = _calendar("".join(found.groups()), "Gmail")
        return None if local is None else Stamp(local.at + 7.5 * 3600, 2 * 3600.0, "Gmail")
    found = _MAILGUN.match(ident) or _SENDGRID.match(ident)
    if found:
        return Stamp(float(int(found[1], 16)), 3600.0, "Mailgun" if _MAILGUN.match(ident) else "SendGrid")
    return None


def expected(hop: Hop) -> tuple[re.Pattern[str], str] | None:
    """The shape that ids of the program must have which the field names; None where it names none that we know."""
    software = hop.software
    if software.startswith("postfix") or " postfix" in software:
        return POSTFIX, "Postfix"
    if "exim 4" in software or "exim 3" in software or "(exim)" in software:
        return EXIM, "Exim"
    if _SENDMAIL_VERSION.search(software):
        return SENDMAIL, "Sendmail"
    if "opensmtpd" in software:
        return OPENSMTPD, "OpenSMTPD"
    if "haraka/" in software:
        return HARAKA, "Haraka"
    if "microsoft smtp server" in software:
        return EXCHANGE, "Exchange"
    return None


# -- the programs -----------------------------------------------------------------------------------------------------


def _exim(ident: str) -> Stamp | None:
    if not EXIM.match(ident):
        return None
    return Stamp(float(_number(ident[:6], _BASE62)), 3600.0, "Exim")


def _postfix(ident: str) -> Stamp | None:
    if "z" not in ident or not POSTFIX.match(ident):
        return None
    return Stamp(float(_number(ident[:6], _BASE52)), 3600.0, "Postfix")


def _sendmail(ident: str) -> Stamp | None:
    """Base 60 of years since 1900 modulo 60, month from 0, day, hour, minute, second. The century is the date's."""
    if len(ident) < 12 or not SENDMAIL.match(ident) or re.match(r"[A-X][A-Z]{2}\d", ident):
        return None
    year, month, day, hour, minute = (_BASE60.index(char) for char in ident[:5])
    full = 1900 + year + (60 if year < 36 else 0)  # 36 is 1996, when Sendmail 8.8 began; 0 is 1960 or 2020
    full += 60 if full < 1996 else 0
    try:
        at = datetime(full, month + 1, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    return Stamp(at.timestamp(), 3600.0, "Sendmail")


def _kumomta(ident: str) -> Stamp | None:
    """A UUID of version 1 without its dashes: 100 ns since 1582-10-15."""
    found = _TIMED_UUID.match(ident)
    if not found:
        return None
    ticks = int(found[3] + found[2] + found[1], 16)
    return Stamp(ticks / 1e7 - 12219292800.0, 3600.0, "KumoMTA")


def _calendar(digits: str, program: str) -> Stamp | None:
    try:
        at = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return Stamp(at.timestamp(), 3600.0, program)


def _number(text: str, digits: str) -> int:
    value = 0
    for char in text:
        value = value * len(digits) + digits.index(char)
    return value
