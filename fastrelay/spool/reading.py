"""Reading a message back: never a byte that is not the one committed, never a stop of the event loop.

What is in the page cache is read at once (preadv RWF_NOWAIT), the rest in a native thread. What does not match its CRC
goes to quarantine, once, and stays damaged: visible, held, never sent.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastrelay.errors import SpoolDamaged
from fastrelay.mail import ident as idents
from fastrelay.mail.envelope import Envelope
from fastrelay.spool.bodies import Bodies
from fastrelay.spool.disk import Disk, shortage
from fastrelay.spool.format import DAMAGED, FILE, MESSAGE
from fastrelay.spool.frames import Found, decode_frame
from fastrelay.spool.pace import Away
from fastrelay.spool.quarantine import Quarantine
from fastrelay.spool.recovery import LOST
from fastrelay.spool.register import Held
from fastrelay.spool.scan import body_matches
from fastrelay.spool.segment import Segment, Shelf


class Message(NamedTuple):
    """A message as it goes out. parts: prefix, then content, in order. size: octets of both."""

    envelope: Envelope
    parts: list[bytes]
    size: int


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

    def read(self, ident: bytes, held: Held) -> list[bytes]:
        """Prefix, then content. Waits. SpoolDamaged; MachineShort when the disk does not answer."""
        if held.flags & DAMAGED:
            raise SpoolDamaged(f"message {idents.to_text(ident)}: {LOST}")
        segment, offset, length = held.segment, held.offset, held.length
        try:
            octets = self._octets(segment, offset, length)
            found = good_frame(octets, 0, offset, segment, ident)
            parts = body_of(found, octets, 0) if found is not None else None
            if parts is not None and found is not None and found.flags & FILE:
                blocks = self._bodies.read(ident, found.content_size, found.content_crc)
                parts = None if blocks is None else [parts[0], *blocks]
        except FileNotFoundError:
            parts = None
        except OSError as error:
            raise shortage(error) from None
        if parts is None:
            self.set_aside(ident, held, segment, offset, length)
            raise SpoolDamaged(f"message {idents.to_text(ident)}: {LOST}")
        return parts

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
