"""8-bit content as 7-bit MIME, for a host that does not offer 8BITMIME (RFC 6152 3, RFC 2045 6).

Pure, and off the hot path: hardly a server of today lacks the extension. Each part that holds 8-bit octets becomes
quoted-printable or base64, whichever is shorter; everything else stays octet for octet. A text without MIME is declared
as what it is, of a character set nobody knows (RFC 1428).

What must not or cannot be converted raises Unconvertible with the reason, and the message returns to its sender: a
DKIM, ARC or DomainKeys signature covers it; multipart/signed or encrypted (RFC 1847 2.1); a header beyond ASCII; a part
that says it is encoded already; MIME nobody can be sure to read alike.
Limits: MAX_SIZE octets, MAX_PARTS, MAX_DEPTH.

Measured: 1 MB of 8-bit text 12 ms, and the event loop stands still for as long.
"""

import binascii
from email.message import Message

MAX_SIZE = 2 * 1024 * 1024  # octets; 25 ms, and four times as much memory for a moment
MAX_PARTS = 1000
MAX_DEPTH = 20
_CRLF = b"\r\n"
_SIGNATURES = (b"dkim-signature", b"arc-message-signature", b"domainkey-signature")
_UNTOUCHED = {
    "multipart/signed": "a signature covers it",
    "multipart/encrypted": "it is encrypted",
    "multipart/digest": "a part is multipart/digest",  # whose parts are messages without saying so
}
_IDENTITY = ("", "7bit", "8bit", "binary")
_TYPE, _ENCODING, _VERSION = b"content-type", b"content-transfer-encoding", b"mime-version"


class Unconvertible(Exception):
    """Why, in words that follow "8-bit content that cannot be converted"."""


def to_seven_bits(message: bytes) -> bytes:
    """The same message in ASCII alone. Unconvertible when there is none that means the same."""
    if len(message) > MAX_SIZE:
        raise Unconvertible(f"it has more than {MAX_SIZE >> 20} MiB")
    walk = _Walk()
    walk.message(message, 0, outermost=True)
    return b"".join(walk.out)


class _Fields:
    """A header block as its fields, each with its CRLF and continuation lines."""

    def __init__(self, block: bytes) -> None:
        if not block.isascii():
            raise Unconvertible("a header has octets beyond ASCII")
        self.fields: list[bytes] = []
        for line in block.splitlines(keepends=True):
            if line[:1] in (b" ", b"\t") and self.fields:
                self.fields[-1] += line
            else:
                self.fields.append(line)

    def find(self, name: bytes) -> int:
        """Where the field stands, -1 for nowhere; one that stands there twice is Unconvertible."""
        found = [n for n, field in enumerate(self.fields) if field.partition(b":")[0].rstrip().lower() == name]
        if len(found) > 1:
            raise Unconvertible(f"{name.decode()} stands there twice")
        return found[0] if found else -1

    def has(self, name: bytes) -> bool:
        return any(field.partition(b":")[0].rstrip().lower() == name for field in self.fields)

    def value(self, name: bytes) -> str:
        at = self.find(name)
        return "" if at < 0 else " ".join(self.fields[at].partition(b":")[2].decode("ascii").split())

    def set(self, name: bytes, field: bytes) -> None:
        at = self.find(name)
        if at < 0:
            self.fields.append(field + _CRLF)
        else:
            self.fields[at] = field + _CRLF


class _Walk:
    """One pass over a message; `out` is what it becomes, in order."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._parts = 0

    def message(self, octets: bytes, depth: int, *, outermost: bool = False) -> None:
        """A whole message, ours or one attached."""
        fields, body = _parted(octets)
        if body.isascii():
            self.out.append(octets)
            return
        if outermost and any(fields.has(name) for name in _SIGNATURES):
            raise Unconvertible("a signature covers it")
        if fields.find(_TYPE) < 0:
            fields.set(_TYPE, b"Content-Type: text/plain; charset=unknown-8bit")
        if fields.find(_VERSION) < 0:
            fields.set(_VERSION, b"MIME-Version: 1.0")
        self._entity(fields, body, depth)

    def _part(self, octets: bytes, depth: int) -> None:
        self._parts += 1
        if octets.isascii():
            self.out.append(octets)
            return
        if self._parts > MAX_PARTS or depth > MAX_DEPTH:
            raise Unconvertible("it has too many parts")
        fields, body = _parted(octets)
        self._entity(fields, body, depth)

    def _entity(self, fields: _Fields, body: bytes, depth: int) -> None:
        """Fields, and a body that holds 8-bit octets."""
        encoding = fields.value(_ENCODING).lower()
        if encoding not in _IDENTITY:
            raise Unconvertible(f"a part says it is {encoding[:40]}")
        typed = Message()
        typed["Content-Type"] = fields.value(_TYPE) or "text/plain; charset=unknown-8bit"
        main, kind = typed.get_content_maintype(), typed.get_content_type()
        if kind in _UNTOUCHED:
            raise Unconvertible(_UNTOUCHED[kind])
        if main == "multipart" or kind in ("message/rfc822", "message/global"):
            if encoding:
                fields.set(_ENCODING, b"Content-Transfer-Encoding: 7bit")
            self.out += [*fields.fields, _CRLF]
            if main == "message":
                self.message(body, depth + 1)
            else:
                self._multipart(str(typed.get_boundary("")), body, depth + 1)
            return
        if main == "message":
            raise Unconvertible(f"a part is {kind[:40]}")
        name, encoded = _encoded(body)
        fields.set(_ENCODING, b"Content-Transfer-Encoding: " + name)
        self.out += [*fields.fields, _CRLF, encoded]

    def _multipart(self, boundary: str, body: bytes, depth: int) -> None:
        if not boundary or not boundary.isascii():
            raise Unconvertible("a multipart has no boundary")
        begin = 0  # of what is not written yet: a part, or what stands before the first one
        is_part = False
        for line, behind, is_last in _delimiters(body, boundary.encode()):
            end = max(begin, line - 2)  # the CRLF before a delimiter belongs to it
            self._between(body[begin:end], is_part, depth)
            self.out.append(body[end:behind])
            begin, is_part = behind, not is_last
            if is_last:
                break
        self._between(body[begin:], is_part, depth)

    def _between(self, octets: bytes, is_part: bool, depth: int) -> None:
        if is_part:
            self._part(octets, depth)
        elif octets.isascii():
            self.out.append(octets)
        else:
            raise Unconvertible("a multipart has octets beyond ASCII outside its parts")


def _parted(octets: bytes) -> tuple[_Fields, bytes]:
    """Header and body; the empty line between them is dropped."""
    if octets.startswith(_CRLF):
        return _Fields(b""), octets[2:]
    end = octets.find(b"\r\n\r\n")
    return (_Fields(octets), b"") if end < 0 else (_Fields(octets[: end + 2]), octets[end + 4 :])


def _delimiters(body: bytes, boundary: bytes) -> list[tuple[int, int, bool]]:
    """Of each delimiter line: its begin, that of what follows, and whether it is the last (RFC 2046 5.1.1)."""
    found = []
    mark = b"--" + boundary
    at = body.find(mark)
    while at >= 0:
        end = body.find(_CRLF, at)
        behind = len(body) if end < 0 else end + 2
        rest = body[at + len(mark) : behind].rstrip()
        if (at == 0 or body[at - 2 : at] == _CRLF) and rest in (b"", b"--"):
            found.append((at, behind, rest == b"--"))
        at = body.find(mark, at + len(mark))
    return found


def _encoded(body: bytes) -> tuple[bytes, bytes]:
    """The shorter of both encodings, by its name; every line ends in CRLF as it did."""
    beyond = len(body) - len(body.translate(None, bytes(range(128, 256))))
    if 16 * beyond > 3 * len(body) or _CRLF not in body:  # quoted-printable 2 more for each of them, base64 3/8 of all
        lines = binascii.b2a_base64(body, newline=False)
        return b"base64", _CRLF.join([lines[at : at + 76] for at in range(0, len(lines), 76)])
    return b"quoted-printable", binascii.b2a_qp(body, istext=True)  # CRLF throughout, as its first line end is one
