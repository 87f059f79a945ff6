"""Bcc fields out of the header section while the message comes in, where the listener says so (RFC 5322 3.6.3). Pure.

The envelope alone decides who receives; what stands in `Bcc:` is for the sender's eyes, and a program that hands in
mail for all its recipients by one transaction has often left it there. `Resent-Bcc:` (3.6.6) goes as well. A field goes
with all its folded lines, in any case, with spaces before its colon (obsolete, 4.5.3), however the message is cut.

The header section ends at the first empty line and nowhere else: a line that is no field does not end it, as a reader
that passes over such a line would show a Bcc behind it. Nothing behind the section is looked at.
"""

import re
from typing import Any

from fastrelay.smtp.incoming import Incoming
from fastrelay.smtp.terms import Terms

_CRLF = b"\r\n"
# a field from the CRLF before it to the one at its end, which is the next field's; bare CR is refused or mended by now
_FIELD = re.compile(rb"\r\n(?:resent-)?bcc[ \t]*:[^\r]*(?:\r\n[ \t][^\r]*)*(?=\r\n)", re.IGNORECASE)
_FOLDED = re.compile(rb"(?:\r\n[ \t][^\r]*)*(?=\r\n)")


class BccFilter:
    """For one message; `reset` before the next. found: a field was taken out. What is given to it ends no CRLF in its
    middle; of an unfinished line it keeps all until it ends."""

    __slots__ = ("_held", "_inside", "_over", "found")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new message begins."""
        self._held = b""
        self._inside = False  # of a field that goes: lines that continue it go too
        self._over = False
        self.found = False

    def feed(self, content: bytes, *, last: bool) -> bytes:
        """The next piece -> what of it, and of what was kept, goes on. last: nothing follows."""
        if self._over:
            return content
        octets = self._held + content if self._held else content
        self._held = b""
        if octets.startswith(_CRLF):
            self._over = True
            return octets
        end = octets.find(b"\r\n\r\n") + 2
        if end == 1:
            end = len(octets) if last else octets.rfind(_CRLF) + 2
            if end == 1:
                self._held = octets
                return b""
            self._held = octets[end:]
            head, body = octets[:end], b""
        else:
            self._over = True
            head, body = octets[:end], octets[end:]
        kept = self._without(head)
        if kept is head:
            return octets if not self._held else head
        return kept + body

    def _without(self, head: bytes) -> bytes:
        """Whole lines of a header section without what has to go."""
        if not self._inside and b"bcc" not in head.lower():  # 3 us for 2 KB, all of it 20
            return head
        lines = _CRLF + head
        start = 0
        if self._inside:
            folded = _FOLDED.match(lines)
            start = folded.end() if folded is not None else 0
            self._inside = start + 2 == len(lines)
        parts: list[bytes] = []
        for field in _FIELD.finditer(lines, start):
            parts.append(lines[start : field.start()])
            start = field.end()
            self.found = True
            self._inside = start + 2 == len(lines)
        if not start:
            return head
        parts.append(lines[start:])
        return b"".join(parts)[2:]


class IncomingWithoutBcc(Incoming):
    """An Incoming whose content has no Bcc. Sizes stay those of what came in."""

    __slots__ = ("_filter",)

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._filter = BccFilter()

    def begin(self) -> None:
        """A new message comes."""
        super().begin()
        self._filter.reset()

    def feed(self, octets: bytes) -> tuple[bytes, int]:
        """As Incoming."""
        content, rest = super().feed(octets)
        return self._passed(content, last=rest >= 0), rest

    def chunk(self, octets: bytes) -> bytes:
        """As Incoming."""
        return self._passed(super().chunk(octets), last=False)

    def finish(self) -> bytes:
        """As Incoming."""
        return self._passed(super().finish(), last=True)

    def _passed(self, content: bytes, *, last: bool) -> bytes:
        if self.verdict is not None:
            return b""  # nobody looks at it, and its lines may have no end
        return self._filter.feed(content, last=last)

    @property
    def changes(self) -> dict[str, Any]:
        """As Incoming."""
        changes = super().changes
        if self._filter.found:
            changes["bcc_removed"] = True
        return changes
