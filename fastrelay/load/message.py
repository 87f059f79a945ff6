"""Test messages: content of a given size that carries a mark, by which the sink knows it again.

The mark is a header field, `X-Id: RUN-NUMBER-MICROSECONDS`: run (8 hex digits), number of the message, and the
monotonic microsecond at which it was offered, so that a sink on the same machine can tell loss, duplicates and
end-to-end time. All messages of one maker share their body; only the few octets of the head are made for each.
"""

import os
from typing import NamedTuple

from fastrelay.errors import MisuseError

FIELD = b"X-Id: "
_LINE = b"A line of a test message: it carries nothing but its own length to the peer.\r\n"  # 78 octets, no dot first
_SEARCHED = 16 * 1024  # octets in which a mark is looked for: trace fields stand above it


class Mark(NamedTuple):
    """Which message of which run, and when it was offered (monotonic seconds)."""

    ident: str
    offered: float


def fresh_run() -> str:
    """A name for a run that no other has."""
    return os.urandom(4).hex()


class Maker:
    """Makes messages of `size` octets (headers, body and every CRLF counted; transparency dots are never needed)."""

    __slots__ = ("_before", "_between", "body", "run", "size")

    def __init__(self, size: int, sender: str, *, run: str) -> None:
        self.size = size
        self.run = run
        self._before = f"From: <{sender}>\r\nSubject: load {self.run}\r\nX-Id: {self.run}-".encode()
        self._between = f"@{sender.rpartition('@')[2]}>\r\n\r\n".encode()
        head = len(self.head(0, 0.0))
        if size < head:
            raise MisuseError(f"a test message has at least {head} octets: its header fields; {size} were asked for")
        self.body = _body(size - head)

    def head(self, number: int, at: float) -> bytes:
        """The header section and the empty line, of the same length for all; `at` is monotonic seconds."""
        mark = b"%010d-%016d" % (number, at * 1e6)
        return b"%b%b\r\nMessage-ID: <%b%b" % (self._before, mark, mark, self._between)

    def ident(self, number: int) -> str:
        """What `find_mark` will call message `number`."""
        return f"{self.run}-{number:010d}"


def _body(size: int) -> bytes:
    if size < 2:
        return b"x" * size
    whole, rest = divmod(size, len(_LINE))
    body = _LINE * whole
    if rest == 1:  # a line cannot be one octet long: lengthen the one before
        return body[:-2] + b"x\r\n" if whole else b"x"
    return body + b"y" * (rest - 2) + b"\r\n" if rest else body


def find_mark(content: bytes) -> Mark | None:
    """The mark of a message, from its first octets; None when there is none."""
    start = content.find(FIELD, 0, _SEARCHED)
    if start < 0:
        return None
    end = content.find(b"\r\n", start)
    run, _, rest = content[start + len(FIELD) : end if end >= 0 else None].partition(b"-")
    number, _, micros = rest.partition(b"-")
    if not micros.isdigit() or not number.isdigit():
        return None
    return Mark(f"{run.decode('ascii', 'replace')}-{number.decode()}", int(micros) / 1e6)
