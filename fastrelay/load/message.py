"""Test messages: content of a given size that carries a mark, by which the sink knows it again.

The mark is a header field, `X-Id: RUN-NUMBER-MICROSECONDS`: run (8 hex digits), number of the message, and the
monotonic microsecond at which it was due (open loop) or offered (closed loop), so that a sink on the same machine can
tell loss, duplicates and end-to-end time; UNMEASURED, zero, for a message of the warm-up.
"""

import os
from typing import NamedTuple

FIELD = b"X-Id: "
_LINE = b"A line of a test message: it carries nothing but its own length to the peer.\r\n"  # 78 octets, no dot first
_END = b".\r\n"
UNMEASURED = 0.0  # in place of the instant: its time from end to end is not to be counted
_MOST_KNOWN = 4096  # sizes whose end is kept ready
_SEARCHED = 16 * 1024  # octets in which a mark is looked for: trace fields stand above it


class Mark(NamedTuple):
    """Which message of which run, and when it was due or offered (monotonic seconds)."""

    ident: str
    offered: float


def fresh_run() -> str:
    """A name for a run that no other has."""
    return os.urandom(4).hex()


class Maker:
    """Makes messages as they go over the wire, of any size from `fewest` octets on.

    Sizes count headers, body and every CRLF, not the end of data; a smaller size is made `fewest`, and `fewest` + 1 too
    (no line is one octet long). Transparency dots are never needed. The body of every message is a view of the same
    octets, so a message costs its head alone.
    """

    __slots__ = ("_before", "_between", "_known", "_lines", "fewest", "run")

    def __init__(self, sender: str, *, run: str) -> None:
        self.run = run
        self._before = f"From: <{sender}>\r\nSubject: load {self.run}\r\nX-Id: {self.run}-".encode()
        self._between = f"@{sender.rpartition('@')[2]}>\r\n\r\n".encode()
        self._known: dict[int, tuple[memoryview, bytes]] = {}
        self.fewest = len(self._head(0, 0.0))
        self._lines = memoryview(_LINE * 64)

    def wire(self, number: int, at: float, size: int) -> tuple[bytes, memoryview, bytes]:
        """Message `number`, offered at monotonic `at`: header section, whole lines, last line and end of data."""
        known = self._known.get(size)
        if known is None:
            known = self._body(size)
            if len(self._known) < _MOST_KNOWN:
                self._known[size] = known
        return self._head(number, at), known[0], known[1]

    def _head(self, number: int, at: float) -> bytes:
        """The header section and the empty line, of the same length for all."""
        mark = b"%010d-%016d" % (number, at * 1e6)
        return b"%b%b\r\nMessage-ID: <%b%b" % (self._before, mark, mark, self._between)

    def _body(self, size: int) -> tuple[memoryview, bytes]:
        whole, rest = divmod(max(0, size - self.fewest), len(_LINE))
        if rest == 1 and whole:  # a line cannot be one octet long: lengthen the one before
            whole, last = whole - 1, _LINE[:-2] + b"x\r\n"
        else:
            last = b"y" * (rest - 2) + b"\r\n" if rest > 1 else b""
        if whole * len(_LINE) > len(self._lines):
            self._lines = memoryview(_LINE * (2 * whole))
        return self._lines[: whole * len(_LINE)], last + _END

    def ident(self, number: int) -> str:
        """What `find_mark` will call message `number`."""
        return f"{self.run}-{number:010d}"


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
