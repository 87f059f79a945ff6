"""Command lines out of a stream of octets. Only CRLF ends a line (RFC 5321 2.3.8); a bare CR or LF is part of one.

A line of more than `most` octets (MAX_LINE) comes out once as OVERLONG when its CRLF has come: what it held is gone,
the octets behind the CRLF are the next line, so the dialogue stays in step. At most so many octets of an unfinished
line are kept.
"""

MAX_LINE = 2048  # octets with CRLF: 512 (RFC 5321 4.5.3.1.4) and room for the parameters of every extension we know

OVERLONG = b"\xff overlong"  # compared by identity
_CRLF = b"\r\n"


class Lines:
    """What was read and not yet used."""

    __slots__ = ("_at", "_octets", "_skipping", "most")

    def __init__(self) -> None:
        self._octets = b""
        self._at = 0  # start of what is not used yet
        self._skipping = False  # inside an overlong line
        self.most = MAX_LINE  # an exchange of AUTH has longer ones

    def feed(self, octets: bytes) -> None:
        """Add what was read."""
        if self._at == len(self._octets):
            self._octets = octets
        else:
            self._octets = self._octets[self._at :] + octets
        self._at = 0

    def take(self) -> bytes | None:
        """The next line without its CRLF, OVERLONG, or None when it is not complete yet."""
        octets = self._octets
        at = self._at
        end = octets.find(_CRLF, at)
        if end >= 0:
            self._at = end + 2
            if self._skipping or end - at > self.most - 2:
                self._skipping = False
                return OVERLONG
            return octets[at:end]
        half_end = octets.endswith(b"\r")
        if len(octets) - at > (self.most - 1 if half_end else self.most - 2):
            self._skipping = True
            self._octets = b"\r" if half_end else b""
            self._at = 0
        elif at:  # what is used goes now: a client that idles would keep its last read of up to 64 KiB
            self._octets = octets[at:]
            self._at = 0
        return None

    def take_all(self) -> bytes:
        """Everything that is there, for the reader of content."""
        octets = self._octets
        if self._at:
            octets = octets[self._at :]
            self._at = 0
        self._octets = b""
        return octets

    def take_most(self, most: int) -> bytes:
        """What is there, at most so many octets, for the reader of chunks."""
        at = self._at
        if not at and len(self._octets) <= most:
            return self.take_all()
        octets = self._octets[at : at + most]
        self._at = at + len(octets)
        if self._at == len(self._octets):
            self._octets = b""
            self._at = 0
        return octets

    def put_back(self, octets: bytes, at: int) -> None:
        """What the reader of content did not use: `octets` from offset `at` on."""
        self._octets = octets
        self._at = at

    @property
    def pending(self) -> bool:
        """Octets are there that nobody has used."""
        return self._at < len(self._octets)

    def starts_with(self, octets: bytes) -> bool:
        """True when what is there begins with `octets`."""
        return self._octets.startswith(octets, self._at)

    def clear(self) -> None:
        """Forget what is there (RFC 3207 4.2: octets from before a handshake are void)."""
        self._octets = b""
        self._at = 0
        self._skipping = False
