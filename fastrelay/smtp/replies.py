"""Reply lines of a peer -> Reply values, as the octets come in; bounded, without `re` (RFC 5321 4.2, RFC 2034).

Promises: the same replies come out however the octets are cut; what is kept of one reply never exceeds its limits; text
handed on is printable (control characters are replaced), so it may stand in a log line, a header or a notice.
Errors: PeerError for what is no reply (code not 200..599, four octets that are not code and separator, a code that
changes from line to line), for too many lines and for too many octets. The reader is useless after it.
A line ends at LF, with or without CR before it: replies carry no content, so leniency smuggles nothing, and servers
that send bare LF exist.
"""

from fastrelay.errors import PeerError
from fastrelay.mail.reply import Reply

MAX_LINE = 2048  # octets kept of a line, the rest is cut; RFC 5321 4.5.3.1.5 asks for 512, enhanced EHLO lines for more
MAX_LINES = 128  # per reply; the longest EHLO reply seen in the wild has about 30
MAX_REPLY = 64 * 1024  # octets per reply, cut ones included; then the peer is not answering but flooding

_CODES = {b"%d" % code: code for code in range(200, 600)}
_MORE, _END = 0x2D, 0x20  # "-" and " " behind the code

# Most replies are octet for octet what the same server said a millisecond ago: measured 0.4 us instead of 2.0 us each.
_KNOWN_LINE = 80
_KNOWN_MOST = 256
_known: dict[bytes, Reply] = {}


class ReplyReader:
    """Feed octets, take replies.

    `surplus` tells whether more octets are buffered than the replies taken so far used.
    """

    __slots__ = ("_at", "_buffer", "_code", "_cut", "_lines", "_octets")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything buffered (RFC 3207 4.2: what came before the handshake is void)."""
        self._buffer = b""
        self._at = 0  # start of the line not looked at yet
        self._code = 0
        self._lines: list[bytes] = []
        self._octets = 0  # of the reply under way, complete lines and what was cut
        self._cut: bytes | None = None  # head of a line whose end has not come and whose middle was thrown away

    def feed(self, octets: bytes) -> None:
        """Add what was read from the peer."""
        at = self._at
        if at == len(self._buffer):
            self._buffer = octets
        else:
            self._buffer = self._buffer[at:] + octets
        self._at = 0

    def take(self) -> Reply | None:
        """The next complete reply; None when more octets are needed. PeerError when it is none."""
        buffer = self._buffer
        while True:
            start = self._at
            end = buffer.find(b"\n", start)
            if end < 0:
                self._shorten(len(buffer) - start)
                return None
            self._at = end + 1
            self._octets += end + 1 - start
            if self._octets > MAX_REPLY:
                raise PeerError(f"reply longer than {MAX_REPLY} octets")
            if end - start <= _KNOWN_LINE and not self._lines and self._cut is None:
                known = _known.get(buffer[start:end])
                if known is not None:
                    self._octets = 0
                    return known
            line = buffer[start : min(end, start + MAX_LINE)]
            whole = self._cut is None
            if self._cut is not None:
                line, self._cut = self._cut, None
            elif line.endswith(b"\r") and end - start <= MAX_LINE:  # not a CR at which a longer line was cut
                line = line[:-1]
            code = _CODES.get(line[:3])
            mark = line[3] if len(line) > 3 else _END
            if code is None or (mark != _END and mark != _MORE):
                raise PeerError(f"not a reply: {printable(line[:60])!r}")
            if mark == _END and not self._lines:
                self._octets = 0
                single = _single(code, line[4:])
                if whole and end - start <= _KNOWN_LINE:  # else what stands in the buffer is the end of a longer line
                    if len(_known) >= _KNOWN_MOST:
                        _known.clear()
                    _known[buffer[start:end]] = single
                return single
            if self._lines and code != self._code:
                raise PeerError(f"reply changes its code from {self._code} to {code}")
            if len(self._lines) >= MAX_LINES:
                raise PeerError(f"reply of more than {MAX_LINES} lines")
            self._code = code
            self._lines.append(line[4:])
            if mark == _END:
                lines, self._lines, self._octets = self._lines, [], 0
                return _several(code, lines)

    def _shorten(self, size: int) -> None:
        """Keep no more than MAX_LINE octets of a line whose end has not come."""
        if self._octets + size > MAX_REPLY:
            raise PeerError(f"reply longer than {MAX_REPLY} octets")
        if size > MAX_LINE or (self._cut is not None and size):
            if self._cut is None:
                self._cut = self._buffer[self._at : self._at + MAX_LINE]
            self._octets += size
            self._buffer, self._at = b"", 0

    @property
    def surplus(self) -> bool:
        """Octets have come for which no command was sent, or half a reply has."""
        return self._at < len(self._buffer) or bool(self._lines) or self._cut is not None


def _single(code: int, octets: bytes) -> Reply:
    text = printable(octets)
    enhanced = _enhanced(code, text)
    if enhanced:
        text = text[len(enhanced) + 1 :]
    return Reply(code, enhanced, (text,))


def _several(code: int, lines: list[bytes]) -> Reply:
    texts = [printable(line) for line in lines]
    enhanced = _enhanced(code, texts[-1])  # some servers leave it out but on the last line
    if enhanced:
        head = len(enhanced)
        texts = [text[head + 1 :] if _bears(text, enhanced) else text for text in texts]
    return Reply(code, enhanced, tuple(texts))


def _bears(text: str, enhanced: str) -> bool:
    return text.startswith(enhanced) and text[len(enhanced) : len(enhanced) + 1] in ("", " ")


def _enhanced(code: int, text: str) -> str:
    """The leading enhanced code, "" when there is none or its class is not that of the reply (RFC 2034 4)."""
    if text[1:2] != "." or code // 100 != ord(text[0]) - 48:
        return ""
    word = text.partition(" ")[0]
    parts = word.split(".")
    if len(parts) != 3 or not word.isascii():
        return ""
    _, subject, detail = parts
    if subject.isdigit() and detail.isdigit() and len(subject) <= 3 and len(detail) <= 3:
        return word
    return ""


def printable(octets: bytes) -> str:
    """Text with every character that could act as more than text replaced by "?"."""
    text = octets.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in text)
