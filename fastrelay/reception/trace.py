"""What a message gets from us on its way in: the Received field (RFC 5321 4.4), and a count of those it has.

Received: from CLAIMED (VERIFIED [ADDRESS])
        by HOSTNAME with ESMTP id IDENT; DATE

Where HELO is checked (RFC 5321 4.1.4 lets us), " (claimed name: pass)", or fail or temperror, follows the address; not
"helo ...", which readers of Exim's fields take for the name itself.
CLAIMED is what the client said in HELO, VERIFIED its name by DNS ("unknown" when none was looked up). There is no
"for": it would show one recipient of a message to the others. Every part is printable ASCII by the grammar, so the
field cannot become two.

A message that bears MAX_HOPS Received fields or more loops (RFC 5321 6.3: "normally at least 100").
"""

from email.utils import formatdate

from fastrelay.mail.headers import MAX_HEADER, received_count

MAX_HOPS = 100


def protocol(*, extended: bool, tls: bool, user: str = "", smtputf8: bool = False) -> str:
    """The "with" word (RFC 3848; RFC 6531 4.3)."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if smtputf8 else "ESMTP") + ("S" if tls else "") + ("A" if user else "")


def received_head(
    claimed: str, client: str, hostname: str, word: str, *, verified: str = "unknown", checked: str = ""
) -> bytes:
    """The part that stays the same for all messages of a session: up to and with "id ". checked: what came of the look
    at HELO, "" where there was none."""
    if client == "unix":
        where = "local socket"
    else:
        address = client.partition("%")[0]  # without the zone of a link-local address
        where = f"{verified} [{'IPv6:' if ':' in address else ''}{address}]"
    if checked:
        where += f") (claimed name: {checked}"
    return f"Received: from {claimed} ({where})\r\n\tby {hostname} with {word} id ".encode("ascii", "replace")


class DateLine:
    """`; DATE` CRLF for header fields, made once per second (formatdate costs 4 us)."""

    __slots__ = ("_octets", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._octets = b""

    def at(self, wall: float) -> bytes:
        """For this wall time, in local time with its offset (RFC 5322 3.3)."""
        second = int(wall)
        if second != self._second:
            self._second = second
            self._octets = f"; {formatdate(second, localtime=True)}\r\n".encode("ascii")
        return self._octets


class HopCount:
    """Received fields of a header section that arrives in pieces. Complete lines are counted as they come; the last,
    which may be cut inside a name, waits for the next piece. Nothing behind the section, or MAX_HEADER, is looked at.
    """

    __slots__ = ("_held", "_over", "_seen", "count")

    def __init__(self) -> None:
        self.count = 0
        self._held = b""
        self._seen = 0
        self._over = False

    def feed(self, content: bytes) -> int:
        """The next piece; the count so far."""
        if self._over:
            return self.count
        first = self._seen == 0
        self._seen += len(content)
        octets = self._held + content
        end = 0 if first and octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n")
        if end >= 0 or self._seen >= MAX_HEADER:
            self._over = True
            self._held = b""
            self.count += received_count(octets)
        else:
            last = octets.rfind(b"\r\n", 0, -2)  # an end of line at the very end waits: an empty line may follow
            if last >= 0:
                self.count += received_count(octets[:last])
            self._held = octets[last + 2 :] if last >= 0 else octets
        return self.count
