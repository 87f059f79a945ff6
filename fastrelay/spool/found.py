"""A frame as it was read back: a value, made by frames.py alone, where head and CRC were good."""

import msgspec

from fastrelay.spool.format import FILE, FRAME_HEADER


class Found(msgspec.Struct, frozen=True, gc=False):
    """One good frame read back; `length` with padding, `octets` of prefix and inline content not included here."""

    offset: int
    length: int
    kind: int
    flags: int
    copy: int
    place: int
    count: int
    batch: int
    synced: int
    version: int
    second: int
    prefix_size: int
    content_size: int
    ident: bytes
    prefix_crc: int
    content_crc: int
    envelope: bytes
    state: bytes

    @property
    def body_offset(self) -> int:
        """Where prefix, then content, stand in the file."""
        return self.offset + FRAME_HEADER + len(self.envelope) + len(self.state)

    @property
    def inline(self) -> int:
        """Octets of content inside the frame."""
        return 0 if self.flags & FILE else self.content_size
