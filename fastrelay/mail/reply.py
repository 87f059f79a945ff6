"""An SMTP reply as a value: code, enhanced code, text lines (RFC 5321 4.2, RFC 2034, RFC 3463)."""

from typing import NamedTuple


class Reply(NamedTuple):
    """One reply. `lines` holds the text without code, enhanced code or CRLF; at least one entry, which may be "".

    `enhanced` is "" where the class of reply carries none (220, 221 to QUIT is 2.0.0, 250 to EHLO none, 354 none).
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines in one, joined by a space, for logs and notices."""
        return " ".join(self.lines)

    def __str__(self) -> str:
        head = f"{self.code} {self.enhanced} " if self.enhanced else f"{self.code} "
        return head + self.text

    def to_wire(self) -> bytes:
        """The octets on the wire, CRLF included; every line repeats code and enhanced code (RFC 2034 4)."""
        mark = f" {self.enhanced} " if self.enhanced else " "
        dash = f"-{self.enhanced} " if self.enhanced else "-"
        last = len(self.lines) - 1
        out = [f"{self.code}{mark if n == last else dash}{line}\r\n" for n, line in enumerate(self.lines)]
        return "".join(out).encode("utf-8", "replace")


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """Shorthand: reply(250, "2.1.0", "Ok")."""
    return Reply(code, enhanced, lines or ("",))
