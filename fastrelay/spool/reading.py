"""Reading a message back: never a byte that is not the one committed, never a stop of the event loop.

What is in the page cache is read at once (preadv RWF_NOWAIT), the rest in a native thread. What does not match its CRC
goes to quarantine, once, and stays damaged: visible, held, never sent.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fastrelay.errors import SpoolDamaged
from fastrelay.mail import ident as idents
from fastrelay.mail.envelope import Envelope
from fastrelay.spool.bodies import Bodies
from fastrelay.spool.disk import Disk, shortage
from fastrelay.spool.filed import Filed
from fastrelay.spool.format import DAMAGED, FILE, MESSAGE
from fastrelay.spool.found import Found
from fastrelay.spool.frames import decode_frame
from fastrelay.spool.held import Held
from fastrelay.spool.pace import Away
from fastrelay.spool.quarantine import Quarantine
from fastrelay.spool.recovery import LOST
from fastrelay.spool.scan import body_matches
from fastrelay.spool.segment import Segment, Shelf


class Message(NamedTuple):
    """A message as it goes out. parts: prefix, then content, in order; where it lies in a file a Filed, which reads as
    it is asked and may wait. size: octets of both. lent: octets it takes in the budget until it is returned.
    """

    envelope: Envelope
    parts: Sequence[bytes]
    size: int
    lent: int = 0


class Reader:
    """damaged(ident, held): called once for each message found damaged."""

    __slots__ = ("_away", "_bodies", "_damaged", "_disk", "_quarantine", "shelf")

    def __init__(
        self,
        disk: Disk,
        away: Away,
        bodies: Bodies,
        quarantine: Quarantine,
        damaged: Callable[[bytes, Held], None],
    ) -> None:
        self._disk = disk
        self._away = away
        self._bodies = bodies
        self._quarantine = quarantine
        self._damaged = damaged
        self.shelf = Shelf(disk)

    def read(self, ident: bytes, held: Held) -> tuple[Sequence[bytes], int]:
        """Prefix, then content, and octets of both. Waits. SpoolDamaged; MachineShort when the disk does not answer."""
        found, parts = self._frame(ident, held)
        if not found.flags & FILE:
            return parts, found.prefix_size + found.content_size
        try:
            opened = self._bodies.open(ident, found.content_size, found.content_crc)
        except OSError as error:
            raise shortage(error) from None
        if opened is None:
            raise SpoolDamaged(self._lost(ident, held))
        fd, checks = opened
        filed = Filed(
            parts[0],
            fd,
            found.content_size,
            checks,
            disk=self._disk,
            away=self._away,
            damaged=lambda: self._lost(ident, held),
        )
        return filed, found.prefix_size + found.content_size

    def head(self, ident: bytes, held: Held, most: int) -> bytes:
        """The first octets. Waits. SpoolDamaged; MachineShort. Checked like the whole: they go to a peer as well."""
        found, parts = self._frame(ident, held)
        if found.flags & FILE and most > found.prefix_size:
            try:
                head = self._bodies.head(ident, found.content_size, found.content_crc, most - found.prefix_size)
            except OSError as error:
                raise shortage(error) from None
            if head is None:
                raise SpoolDamaged(self._lost(ident, held))
            parts = [parts[0], head]
        return first_of(parts, most)

    def _frame(self, ident: bytes, held: Held) -> tuple[Found, list[bytes]]:
        """Its frame, good, with prefix and inline content."""
        if held.flags & DAMAGED:
            raise SpoolDamaged(_words(ident))
        segment, offset, length = held.segment, held.offset, held.length
        try:
            octets = self._octets(segment, offset, length)
        except FileNotFoundError:
            octets = b""
        except OSError as error:
            raise shortage(error) from None
        found = good_frame(octets, 0, offset, segment, ident)
        parts = body_of(found, octets, 0) if found is not None else None
        if found is None or parts is None:
            self.set_aside(ident, held, segment, offset, length)
            raise SpoolDamaged(_words(ident))
        return found, parts

    def _lost(self, ident: bytes, held: Held) -> str:
        """Its body file is not what was committed. Waits."""
        self.set_aside(ident, held, held.segment, held.offset, held.length)
        return _words(ident)

    def set_aside(self, ident: bytes, held: Held, segment: Segment, offset: int, length: int) -> None:
        """Its frame was found damaged. Waits."""
        if held.flags & DAMAGED:
            return  # another task found it meanwhile
        held.flags |= DAMAGED
        kept = self._away(self._quarantine.keep, segment, offset, length, "corrupt")
        self._quarantine.tell("corrupt", segment.path, length, kept, [ident], offset=offset)
        self._damaged(ident, held)

    def _octets(self, segment: Segment, offset: int, length: int) -> bytes:
        fd = self.shelf.take(segment)
        try:
            return self._disk.read(fd, length, offset, nowait=True)
        except BlockingIOError:
            octets: bytes = self._away(self._disk.read, fd, length, offset)
            return octets
        finally:
            self.shelf.give(segment)


def good_frame(octets: bytes, at: int, offset: int, segment: Segment, ident: bytes) -> Found | None:
    """The MESSAGE frame of `ident` that stands at `at` in `octets`, if its head is good and it is all there."""
    found = decode_frame(octets, at, offset, segment.header)
    if found is None or found.kind != MESSAGE or found.ident != ident or len(octets) - at < found.length:
        return None
    return found


def body_of(found: Found, octets: bytes, at: int) -> list[bytes] | None:
    """Prefix and inline content of a frame that stands at `at`, None when they are not what was written."""
    start = at + found.body_offset - found.offset
    body = memoryview(octets)[start : start + found.prefix_size + found.inline]
    if not body_matches(found, body):
        return None
    prefix = bytes(body[: found.prefix_size])
    return [prefix, bytes(body[found.prefix_size :])] if found.inline else [prefix]


def first_of(parts: Iterable[bytes], most: int) -> bytes:
    """The first octets of a message in parts."""
    out: list[bytes] = []
    for part in parts:
        if most <= 0:
            break
        out.append(part[:most])
        most -= len(part)
    return b"".join(out)


def _words(ident: bytes) -> str:
    return f"message {idents.to_text(ident)}: {LOST}"
