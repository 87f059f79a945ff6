"""What a certificate says, as far as a mail server asks: its names, its end, its fingerprint (RFC 5280 4.1, 4.2.1.6).

Pure. The standard library reads this only from the peer of a handshake it has verified, and we want it of our own files
too, expired ones included; a few fields of DER need no library. Nothing is proved here: chain and signature are for
OpenSSL.
"""

import calendar
import hashlib
import ssl
import time
from collections.abc import Iterator

import msgspec

_SEQUENCE, _OID, _OCTETS = 0x30, 0x06, 0x04
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_EMAIL, _DNS = 0x81, 0x82
_UTC_TIME = 0x17
_COMMON_NAME = b"\x55\x04\x03"  # 2.5.4.3
_SUBJECT_ALTERNATIVE = b"\x55\x1d\x11"  # 2.5.29.17
_BMP = 0x1E
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class Certificate(msgspec.Struct, frozen=True):
    """names: dNSNames, case-folded. emails: rfc822Names. common_name: of the subject, "" without one. not_before,
    not_after: wall seconds. sha256: of the whole, in hex."""

    names: tuple[str, ...]
    emails: tuple[str, ...]
    common_name: str
    not_before: float
    not_after: float
    sha256: str


def first_of(pem: str) -> Certificate:
    """The first certificate of a PEM file: the leaf. ValueError when there is none."""
    start = pem.find(_BEGIN)
    end = pem.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("no PEM certificate in it")
    return read(ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)]))


def name_of(one: Certificate) -> str:
    """What to call it: its first name of any kind, "" without one."""
    return next(iter((*one.names, *one.emails)), one.common_name)


def read(der: bytes) -> Certificate:
    """A certificate in DER. ValueError when it is none."""
    try:
        return _read(der)
    except (IndexError, StopIteration):
        raise ValueError("no X.509 certificate") from None


def _read(der: bytes) -> Certificate:
    _, whole = next(_parts(der))
    _, signed = next(_parts(whole))
    fields = [(tag, value) for tag, value in _parts(signed) if tag != _VERSION]
    (tag, validity), (_, subject) = fields[3], fields[4]  # behind serial number, algorithm and issuer
    if tag != _SEQUENCE:
        raise ValueError("no X.509 certificate")
    names: list[str] = []
    emails: list[str] = []
    for kind, value in _alternatives(fields[5:]):
        if kind == _DNS:
            names.append(value.decode("ascii", "replace").lower().rstrip("."))
        elif kind == _EMAIL:
            emails.append(value.decode("ascii", "replace"))
    not_before, not_after = [_instant(*when) for when in list(_parts(validity))[:2]]
    digest = hashlib.sha256(der).hexdigest()
    return Certificate(tuple(names), tuple(emails), _common_name(subject), not_before, not_after, digest)


def _parts(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each element that stands in `octets` one behind the other (X.690 8.1; no long tags in here)."""
    at = 0
    while at < len(octets):
        tag, size = octets[at], octets[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(octets[at : at + count], "big")
            at += count
        if at + size > len(octets):
            raise ValueError("a certificate that is cut short")
        yield tag, octets[at : at + size]
        at += size


def _alternatives(fields: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for tag, value in fields:
        if tag != _EXTENSIONS:
            continue
        _, extensions = next(_parts(value))
        for _, extension in _parts(extensions):
            parts = list(_parts(extension))
            if parts[0] == (_OID, _SUBJECT_ALTERNATIVE) and parts[-1][0] == _OCTETS:
                _, names = next(_parts(parts[-1][1]))
                yield from _parts(names)


def _common_name(subject: bytes) -> str:
    found = ""
    for _, several in _parts(subject):
        for _, one in _parts(several):
            (_, kind), (tag, text) = list(_parts(one))[:2]
            if kind == _COMMON_NAME:
                found = text.decode("utf-16-be" if tag == _BMP else "utf-8", "replace")
    return found


def _instant(tag: int, text: bytes) -> float:
    """UTCTime or GeneralizedTime, both with seconds and Z (RFC 5280 4.1.2.5)."""
    digits = text.decode("ascii", "replace")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return float(calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%SZ")))
