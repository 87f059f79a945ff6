"""From the octets of a message to the bodies of its Received fields, newest first, unfolded.

Lenient where mail is messy (bare LF, an mbox "From " line, a byte order mark, eight-bit octets), and bounded:
MAX_HEADER octets of header section, MAX_FIELDS fields, MAX_FIELD characters of each. X-Received is not Received. Octets
that are no header section, or one without a Received field, raise Unreadable: the only error of this room.
"""

from fastrelay.errors import MisuseError
from fastrelay.mail.headers import MAX_HEADER

MAX_FIELDS = 120  # what a loop leaves behind: RFC 5321 6.3 stops at 100
MAX_FIELD = 4096  # characters; the longest of 6,000 real ones had 900


class Unreadable(MisuseError):
    """Not a message, or one without a trail."""


def received_fields(head: bytes) -> list[str]:
    """The bodies, newest first. head: a message, or its beginning up to the end of its header section."""
    names = 0
    found: list[list[bytes]] = []
    inside = False
    for line in _lines(head):
        if line[:1] in b" \t" and line:
            if inside:
                found[-1].append(line.strip())
            continue
        name, colon, body = line.partition(b":")
        name = name.rstrip(b" \t")
        inside = False
        if not colon or not name or b" " in name or b"\t" in name:
            if names == 0:
                raise Unreadable("this is no mail message: its first line is not a header field")
            continue
        names += 1
        if name.lower() == b"received" and len(found) < MAX_FIELDS:
            inside = True
            found.append([body.strip()])
    if not found:
        raise Unreadable("there is no Received field: the message has no trail")
    return [_text(b" ".join(lines)) for lines in found]


def _lines(head: bytes) -> list[bytes]:
    """Lines of the header section without their ends, the "From " line of a mailbox left out."""
    head = head[:MAX_HEADER].removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines: list[bytes] = []
    for number, line in enumerate(head.split(b"\n")):
        bare = line.removesuffix(b"\r")
        if not bare:
            break
        if number == 0 and bare.startswith((b"From ", b">From ")):
            continue
        lines.append(bare)
    return lines


def _text(octets: bytes) -> str:
    text = octets[:MAX_FIELD].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)
