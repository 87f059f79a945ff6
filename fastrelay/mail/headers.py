"""The header section as octets: count what loops show by, and write fields that cannot become two.

Never parsed with `email`: measured 300 us for a header block whose Received count takes 2 us by a search for the name.
"""

import re

from fastrelay.mail.address import UNFIT

MAX_HEADER = 256 * 1024  # octets looked at; Postfix truncates at 100 kB (header_size_limit), so nothing real is longer
_RECEIVED = re.compile(rb"\nreceived[ \t]*:")  # begins with what is searched for: 86 us for 62 KB of header, 4 ms else


def header_end(content: bytes) -> int:
    """Offset just past the last header line (before the empty line); the whole content when there is no body."""
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER)
    return end + 2 if end >= 0 else min(len(content), MAX_HEADER)


def received_count(content: bytes) -> int:
    """How many Received fields the top-level header bears (RFC 5321 6.3); those of attached messages do not count."""
    return len(_RECEIVED.findall(b"\n" + content[: header_end(content)].lower()))


def clean(text: str) -> str:
    """`text` with "?" for control characters and the like (UNFIT): fit for a header field, a log line or a reply."""
    return UNFIT.sub("?", text)
