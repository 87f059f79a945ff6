"""The dot codec of DATA (RFC 5321 4.5.2): content in, content out, as few passes and copies as the rules allow.

Only CRLF "." CRLF ends a message. A line is what ends in CRLF; a dot behind a bare CR or LF is content like any other
octet, so no reading of the content by anyone behind us can find an end that we did not see, and none that we saw is
missed (SMTP smuggling, CVE-2023-51764 to -51766). Bare CR and LF are found while decoding; the message is then refused
by the server, or mended here where the listener says so: never passed on raw (RFC 5321 2.3.8).

Decoder   one message on its way in. Give it what was read, it gives back content without the transparency dots.
          What comes by BDAT has no dots to take away and no end to look for, but the same rules: `chunk`, `finish`.
stuff     the way out: parts of a message to parts for the wire, dots doubled, end of data included; stuff_pieces part
          by part.

Measured (5 KB of 78-octet lines, one piece): decoding 9 us, of which 3.4 the search for a line that begins with a dot
and 5.5 the proof that there is no bare CR or LF and no overlong line; stuffing 3.6 us, no copy.
"""

import re
from collections.abc import Iterable, Iterator

MAX_TEXT_LINE = 1000  # octets with CRLF, without a transparency dot: RFC 5321 4.5.3.1.6

_CRLF = b"\r\n"
_DOT_LINE = b"\r\n."
_END = b"\r\n.\r\n"
_ENDS = (10, 13)
_WINDOW = 16 * 1024  # octets searched for a dotted line from the first dot on
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Decoder:
    """Decodes one message. After the last piece read `bare` and `long`; `reset` before the next message.

    bare: a CR or LF stood alone somewhere (with mend=True it was replaced: LF by CRLF, CR by a space).
    long: some line had more than MAX_TEXT_LINE octets.
    Keeps at most three octets back between two pieces.
    """

    __slots__ = ("_at_line_start", "_held", "_mend", "_open", "bare", "long")

    def __init__(self, *, mend: bool = False) -> None:
        self._mend = mend
        self.reset()

    def reset(self) -> None:
        """A new message begins, at the start of a line."""
        self._held = b""
        self._at_line_start = True
        self._open = 0  # octets of the line that the last piece left unfinished
        self.bare = False
        self.long = False

    def feed(self, octets: bytes) -> tuple[bytes, int]:
        """(content, rest): rest is the offset in `octets` behind the end of data, -1 while it has not come.

        The content of a message that comes in one piece without transparency dots is one slice of `octets`.
        """
        held = self._held
        if held:
            octets = held + octets
        if self._at_line_start and octets.startswith(b"."):
            dot = 0
        else:
            dot = (octets.find(_DOT_LINE) if len(octets) <= _WINDOW else _find_dot_line(octets)) + 2
        if dot == 1:  # not found
            return self._unfinished(octets, None)
        if octets.startswith(b".\r\n", dot):
            self._held = b""
            return self._checked(octets[:dot]), dot + 3 - len(held)
        return self._with_dots(octets, dot, len(held))

    def chunk(self, octets: bytes) -> bytes:
        """Octets of a message that comes by BDAT (RFC 3030): the content in them, dots and all. A CR at the very end
        waits for the next: a CRLF may be cut by the end of a read, or of a chunk."""
        if self._held:
            octets = self._held + octets
        content, _ = self._unfinished(octets, None)
        if content:
            self._at_line_start = content.endswith(_CRLF)  # of what was mended: no dot is looked for here
        return content

    def finish(self) -> bytes:
        """After the last chunk: what is due to end the message in CRLF.

        The octets of a chunk need not end a line (RFC 3030 2), but what goes on by DATA does, or the dot would stand at
        the end of the last line (RFC 5321 4.1.1.4 lets us add it). A CR that nothing followed is a bare one.
        """
        held, self._held = self._held, b""
        if not held and self._at_line_start:
            return b""
        self._at_line_start = True
        return self._checked(held + _CRLF)

    def _with_dots(self, octets: bytes, dot: int, held: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        start = 0
        while True:
            following = octets[dot + 1 : dot + 3]
            if following == _CRLF:
                parts.append(octets[start:dot])
                self._held = b""
                return self._checked(b"".join(parts)), dot + 3 - held
            if following in (b"", b"\r"):  # the end of data, or a transparency dot: the next piece tells
                parts.append(octets[start:dot])
                content = self._checked(b"".join(parts))
                self._held = octets[dot:]
                self._at_line_start = True
                return content, -1
            parts.append(octets[start:dot])
            start = dot + 1
            dot = octets.find(_DOT_LINE, start) + 2
            if dot == 1:
                return self._unfinished(octets[start:], parts)

    def _unfinished(self, octets: bytes, before: list[bytes] | None) -> tuple[bytes, int]:
        """What is certain of `octets`, which hold no dot at the start of a line; a CR at the end waits for its LF."""
        if octets.endswith(b"\r"):
            self._held = b"\r"
            octets = octets[:-1]
        else:
            self._held = b""
        if before is not None:
            before.append(octets)
            octets = b"".join(before)
        if octets:
            self._at_line_start = octets.endswith(_CRLF)
            octets = self._checked(octets)
        return octets, -1

    def _checked(self, content: bytes) -> bytes:
        """Look for bare CR and LF and for overlong lines. No CRLF is ever cut by the end of `content`.

        splitlines parts at CRLF, CR and LF alike, each once; so the octets it swallowed are twice the number of line
        ends if and only if every one of them was a CRLF.
        """
        if not content:
            return content
        lines = content.splitlines()
        ends = len(lines) if content[-1] in _ENDS else len(lines) - 1
        if len(content) - sum(map(len, lines)) != 2 * ends:
            self.bare = True
            if self._mend:
                content = _BARE_LF.sub(_CRLF, _BARE_CR.sub(b" ", content))
        if not self.long:
            self._measure(content)
        return content

    def _measure(self, content: bytes) -> None:
        """Hop backwards from limit to line end: one short search per 1,000 octets instead of a look at each line."""
        size = len(content)
        start = -self._open
        while size - start > MAX_TEXT_LINE:
            last = content.rfind(b"\n", max(start, 0), start + MAX_TEXT_LINE) if start + MAX_TEXT_LINE > 0 else -1
            if last < 0:
                self.long = True
                return
            start = last + 1
        last = content.rfind(b"\n")
        self._open = size - last - 1 if last >= 0 else size + self._open


def stuff(parts: Iterable[bytes], tail: bytes = _CRLF, *, end: bool = True) -> list[bytes]:
    """The parts of a message as they go over the wire: dots doubled at line starts, ended by CRLF "." CRLF.

    A line may begin in one part and end in the next. Parts without a leading dot on any line are passed on as they
    are; the others are copied once. An empty message becomes ".": no line, then the end.
    tail: the last two octets sent before (content begins at the start of a line). end False: more will follow.
    """
    out: list[bytes] = []
    for part in parts:
        if not part:
            continue
        first = part[0]
        if first == 46 and tail == _CRLF:
            out.append(b".")
        elif first == 10 and part.startswith(b"\n.") and tail.endswith(b"\r"):
            out.append(b"\n.")
            part = part[1:]
        dotted = _DOT_LINE in part if len(part) <= _WINDOW else _find_dot_line(part) >= 0
        out.append(part.replace(_DOT_LINE, b"\r\n..") if dotted else part)
        tail = part[-2:] if len(part) > 1 else (tail + part)[-2:]
    if end:
        out.append(b".\r\n" if tail == _CRLF else _END)
    return out


def _find_dot_line(part: bytes) -> int:
    """The same as `find`, but what holds no dot is passed over at the speed of memory: attachments in base64 (measured
    for 1 MB of it: 0.04 ms against 1.0, where sending it takes 0.24)."""
    dot = part.find(b".")
    while dot >= 0:
        end = dot + _WINDOW
        at = part.find(_DOT_LINE, max(dot - 2, 0), end)
        if at >= 0:
            return at
        dot = part.find(b".", end - 2)
    return -1


def stuff_pieces(parts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The same, a list for each part as it is drawn: for parts that are not all in memory. The last holds the end."""
    tail = _CRLF
    for part in parts:
        if part:
            yield stuff((part,), tail, end=False)
            tail = part[-2:] if len(part) > 1 else (tail + part)[-2:]
    yield stuff((), tail)
