"""Frames: to be written (Frame), read back (found.py), and the way between; format.py says what they mean.

Pure. A frame read back is good or None: there is no third. `guess_frame` alone looks at octets that failed their CRC,
and what it says is only ever shown.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence

from fastrelay.spool.format import FILE, FRAME_HEADER, MAX_HEAD, MESSAGE, SEAL, SegmentHeader
from fastrelay.spool.found import Found

_FRAME = struct.Struct("<8sBBHHHIIIIIIII16sIII")  # the CRC follows: 80 octets in all
_CRC = struct.Struct("<I")
_PADS = (b"", b"\0" * 7, b"\0" * 6, b"\0" * 5, b"\0" * 4, b"\0" * 3, b"\0" * 2, b"\0")


class Frame:
    """One frame to be written; the writer fills in where it came to lie (segment, offset, length).

    content: octets in order, never joined. content_size and content_crc: given for FILE and for copies (crc -1: to be
    computed while writing).
    """

    __slots__ = (
        "content",
        "content_crc",
        "content_size",
        "copy",
        "envelope",
        "flags",
        "ident",
        "kind",
        "length",
        "offset",
        "prefix",
        "segment",
        "state",
        "version",
    )

    def __init__(
        self,
        kind: int,
        ident: bytes,
        envelope: bytes = b"",
        state: bytes = b"",
        version: int = 0,
        prefix: bytes = b"",
        content: Sequence[bytes] = (),
        content_size: int = 0,
        content_crc: int = -1,
        copy: int = 0,
        flags: int = 0,
    ) -> None:
        self.kind = kind
        self.ident = ident
        self.envelope = envelope
        self.state = state
        self.version = version
        self.prefix = prefix
        self.content = content
        self.content_size = content_size
        self.content_crc = content_crc
        self.copy = copy
        self.flags = flags
        self.segment: object = None
        self.offset = 0
        self.length = 0

    @property
    def octets(self) -> int:
        """Length on disk, padding included."""
        inline = 0 if self.flags & FILE else self.content_size
        size = FRAME_HEADER + len(self.envelope) + len(self.state) + len(self.prefix) + inline
        return (size + 7) & ~7


Entry = bytes  # what an index keeps of a frame: its offset (8 octets), frame header, envelope, state


def encode_batch(
    frames: Sequence[Frame], header: SegmentHeader, offset: int, batch: int, synced: int, second: int
) -> tuple[list[bytes], list[Entry]]:
    """Buffers for one gather write at `offset`, and the index entries; sets offset and length of each frame.

    The hot loop of the spool: 3 buffers a message, the content handed through untouched.
    """
    mark, seed = header.mark, header.seed
    pack, crc32 = _FRAME.pack, zlib.crc32
    parts: list[bytes] = []
    entries: list[Entry] = []
    count = len(frames)
    for place, frame in enumerate(frames):
        envelope, state, prefix = frame.envelope, frame.state, frame.prefix
        size, crc = frame.content_size, frame.content_crc
        if crc < 0:
            crc = 0
            for part in frame.content:
                crc = crc32(part, crc)
            frame.content_crc = crc
        head = pack(
            mark,
            frame.kind,
            frame.flags,
            frame.copy,
            place,
            count,
            batch,
            synced,
            frame.version,
            second,
            len(envelope),
            len(state),
            len(prefix),
            size,
            frame.ident,
            crc32(prefix),
            crc,
            0,
        )
        check = crc32(envelope, crc32(head, seed))
        if state:
            check = crc32(state, check)
        head += check.to_bytes(4, "little")
        head = head + envelope + state if state else head + envelope
        parts.append(head + prefix)
        length = FRAME_HEADER + len(envelope) + len(state) + len(prefix)
        if not frame.flags & FILE and size:
            parts += frame.content
            length += size
        if length & 7:
            parts.append(_PADS[length & 7])
            length = (length + 7) & ~7
        entries.append(offset.to_bytes(8, "little") + head)
        frame.offset = offset
        frame.length = length
        offset += length
    return parts, entries


def head_size(octets: bytes | memoryview, at: int = 0) -> int:
    """Octets of header, envelope and state by the header at `at`, unchecked; 0 when they cannot be true."""
    _, kind, _, _, place, count, _, _, _, _, envelope, state, _, _, _, _, _, _ = _FRAME.unpack_from(octets, at)
    if not MESSAGE <= kind <= SEAL or place >= count or envelope + state > MAX_HEAD:
        return 0
    return int(FRAME_HEADER + envelope + state)


def decode_frame(octets: bytes, at: int, offset: int, header: SegmentHeader | None) -> Found | None:
    """The frame whose header, envelope and state stand at `at` in `octets` (at `offset` in the file).

    None when they are not all there or their CRC is wrong. header None: from an index, whose own CRC covers it.
    """
    if len(octets) - at < FRAME_HEADER:
        return None
    (mark, kind, flags, copy, place, count, batch, synced, version, second, envelope_size, state_size, prefix_size,
     content_size, ident, prefix_crc, content_crc, _) = _FRAME.unpack_from(octets, at)  # fmt: skip
    middle = at + FRAME_HEADER + envelope_size
    end = middle + state_size
    if header is not None:
        if mark != header.mark or not head_size(octets, at) or end > len(octets):
            return None
        check = zlib.crc32(octets[at : at + FRAME_HEADER - 4], header.seed)
        check = zlib.crc32(octets[at + FRAME_HEADER : end], check)
        if check != _CRC.unpack_from(octets, at + FRAME_HEADER - 4)[0]:
            return None
    inline = 0 if flags & FILE else content_size
    length = (end - at + prefix_size + inline + 7) & ~7
    return Found(
        offset,
        length,
        kind,
        flags,
        copy,
        place,
        count,
        batch,
        synced,
        version,
        second,
        prefix_size,
        content_size,
        ident,
        prefix_crc,
        content_crc,
        octets[at + FRAME_HEADER : middle],
        octets[middle:end],
    )


def guess_frame(octets: bytes) -> tuple[bytes, bytes] | None:
    """(id, envelope octets) as a frame with a wrong CRC claims them: only to show an operator, never to act upon.

    It asks for nothing but an envelope: what is wrong may be any other octet, the kind of the frame as well.
    """
    if len(octets) < FRAME_HEADER:
        return None
    fields = _FRAME.unpack_from(octets)
    end = FRAME_HEADER + fields[10]
    if not FRAME_HEADER < end <= min(len(octets), FRAME_HEADER + MAX_HEAD):
        return None
    return fields[14], octets[FRAME_HEADER:end]


def content_crc(parts: Iterable[bytes]) -> int:
    """The CRC a content bears."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def join_marks(marks: Iterable[bytes]) -> bytes:
    """The envelope of a DONE frame."""
    return b"".join(marks)


def split_marks(octets: bytes) -> list[bytes]:
    """The marks a DONE frame names."""
    return [octets[n : n + 8] for n in range(0, len(octets) - 7, 8)]
