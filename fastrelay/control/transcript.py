"""The octets of one SMTP session as lines for an operator: who said what, without secrets and without content. Pure.

Of an AUTH exchange only the mechanism is shown: whatever a client says from the AUTH command on, until the reply that
ends it, is HIDDEN, also what it sends before it is asked; after it, so is what is no command. Content of a message
(behind 354, or in a BDAT chunk) is told as its length. A line is cut at LONGEST characters.
"""

from collections.abc import Callable

HIDDEN = "***"
_VERBS = frozenset(
    b"EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP AUTH STARTTLS XCLIENT ETRN TURN".split()
)
LONGEST = 1000  # characters of a line; RFC 5321 4.5.3.1.5 allows a reply 512

Emit = Callable[[bool, str], None]
"""(the client said it, text)."""


class Transcript:
    """`client` and `server` take octets as they pass; emit is called for each line."""

    __slots__ = (
        "_asked",
        "_chunk",
        "_client_left",
        "_content",
        "_emit",
        "_in_content",
        "_pending",
        "_secret",
        "_server_left",
    )

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._client_left = b""
        self._server_left = b""
        self._content = 0  # octets of content since it began
        self._in_content = False  # from 354 to the next reply
        self._chunk = 0  # octets of a BDAT chunk that are still to come
        self._pending = 0  # commands without their final reply
        self._secret = False  # an AUTH exchange is on its way
        self._asked = False  # there was one

    def client(self, octets: bytes | memoryview) -> None:
        """The client said this."""
        if self._in_content:
            self._content += len(octets)
            return
        left = self._client_left + bytes(octets)
        while left:
            if self._chunk:
                taken = min(self._chunk, len(left))
                self._chunk -= taken
                left = left[taken:]
                continue
            line, end, rest = left.partition(b"\n")
            if not end:
                break
            left = rest
            self._command(line.rstrip(b"\r"))
        self._client_left = left[:LONGEST] if not self._chunk else b""  # its beginning says whether it is a secret

    def server(self, octets: bytes | memoryview) -> None:
        """The server said this."""
        left = self._server_left + bytes(octets)
        while True:
            line, end, rest = left.partition(b"\n")
            if not end:
                break
            left = rest
            self._reply(line.rstrip(b"\r"))
        self._server_left = left[:LONGEST]

    def _command(self, line: bytes) -> None:
        if self._secret:
            self._emit(True, HIDDEN)
            return
        self._pending += 1
        words = line.split(None, 2)
        verb = words[0].upper() if words else b""
        if self._asked and verb not in _VERBS:  # it goes on although it was refused
            self._emit(True, HIDDEN)
            return
        if verb == b"AUTH":
            self._secret = self._asked = True
            shown = b" ".join(words[:2]) + (b" " + HIDDEN.encode() if len(words) > 2 else b"")
            self._emit(True, _text(shown))
            return
        self._emit(True, _text(line))
        if verb == b"BDAT" and len(words) > 1 and words[1].isdigit() and len(words[1]) < 20:
            self._chunk = int(words[1])
            self._emit(True, f"({self._chunk:,} octets of content)")

    def _reply(self, line: bytes) -> None:
        code = line[:3]
        if self._in_content:
            self._in_content = False
            self._emit(True, f"({self._content:,} octets of content)")
        if self._secret and code == b"334":
            self._emit(False, f"334 {HIDDEN}")
            return
        self._emit(False, _text(line))
        if line[3:4] == b"-":
            return
        if code == b"354":
            self._in_content, self._content = True, 0
            return
        self._pending = max(0, self._pending - 1)
        if not self._pending:
            self._secret = False


def _text(line: bytes) -> str:
    return line[:LONGEST].decode("utf-8", "replace")
