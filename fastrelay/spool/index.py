"""The index of a closed segment: its frames without the bodies, so that a restart reads some 5 % of the octets.

Rebuildable from the segment, never synced, believed only when its CRCs hold and it fits the segment beside it. The
prelude can be read alone: it bears the ABORTs, which recovery needs before it looks at any tail.

Layout: prelude (magic, version, counts, size of the segment, the segment's own header, ABORTs, CRC), then per frame its
offset (8 octets), its header, envelope and state as they stand in the segment, then one CRC over all of that.
Measured: about 350 octets a message, in memory too while the segment is open.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastrelay.spool.format import ABORT, SEGMENT_HEADER, Foreign, Newer, SegmentHeader, decode_segment, encode_segment
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Entry, decode_frame

_MAGIC = b"fastrix\n"
_VERSION = 1
_PRELUDE = struct.Struct("<8sHHIIIQ")  # magic, version, 0, aborts, frames, newest second, size of the segment
_ABORT = struct.Struct("<16sI")
_CRC = struct.Struct("<I")
_OFFSET = struct.Struct("<Q")
_KIND, _IDENT, _VERSION_AT = 8 + 8, 8 + 48, 8 + 24  # in an entry: behind its offset, see frames.py
PRELUDE_READ = 4096  # octets that hold the prelude of nearly every index: 195 ABORTs

Abort = tuple[bytes, int]  # nonce of a segment, the first batch there that is void


class Prelude(NamedTuple):
    """What an index says about its segment. start: where the frames begin in the index."""

    header: SegmentHeader
    size: int
    frames: int
    newest: int
    aborts: tuple[Abort, ...]
    start: int


def encode_index(header: SegmentHeader, size: int, newest: int, entries: Sequence[Entry]) -> list[bytes]:
    """The whole file, in pieces to be written in this order."""
    aborts = [
        (entry[_IDENT : _IDENT + 16], int.from_bytes(entry[_VERSION_AT : _VERSION_AT + 4], "little"))
        for entry in entries
        if entry[_KIND] == ABORT
    ]
    prelude = _PRELUDE.pack(_MAGIC, _VERSION, 0, len(aborts), len(entries), newest, size)
    prelude += encode_segment(header) + b"".join(_ABORT.pack(*abort) for abort in aborts)
    check, crc32 = 0, zlib.crc32
    for entry in entries:
        check = crc32(entry, check)
    return [prelude + _CRC.pack(crc32(prelude)), *entries, _CRC.pack(check)]


def entry_of(frame: Found, head: bytes) -> Entry:
    """An index entry for a frame that was read back; `head` are its 80 octets."""
    return b"".join((_OFFSET.pack(frame.offset), head, frame.envelope, frame.state))


def decode_prelude(octets: bytes) -> Prelude | None:
    """The prelude at the beginning of an index; None when it is damaged, foreign or of another version."""
    if len(octets) < _PRELUDE.size or octets[:8] != _MAGIC:
        return None
    _, version, _, aborts, frames, newest, size = _PRELUDE.unpack_from(octets)
    end = _PRELUDE.size + SEGMENT_HEADER + aborts * _ABORT.size
    if version != _VERSION or len(octets) < end + 4 or zlib.crc32(octets[:end]) != _CRC.unpack_from(octets, end)[0]:
        return None
    try:
        header = decode_segment(octets[_PRELUDE.size : _PRELUDE.size + SEGMENT_HEADER])
    except (Foreign, Newer):
        return None
    first = _PRELUDE.size + SEGMENT_HEADER
    return Prelude(
        header,
        size,
        frames,
        newest,
        tuple(_ABORT.unpack_from(octets, first + n * _ABORT.size) for n in range(aborts)),
        end + 4,
    )


def prelude_size(octets: bytes) -> int:
    """How many octets the prelude that starts like this needs; 0 when it is none of ours."""
    if len(octets) < _PRELUDE.size or octets[:8] != _MAGIC:
        return 0
    return int(_PRELUDE.size + SEGMENT_HEADER + _PRELUDE.unpack_from(octets)[3] * _ABORT.size + 4)


def is_whole(octets: bytes, prelude: Prelude) -> bool:
    """True when the frames of this index are as they were written."""
    if len(octets) < prelude.start + 4:
        return False
    return bool(zlib.crc32(memoryview(octets)[prelude.start : -4]) == _CRC.unpack_from(octets, len(octets) - 4)[0])


def decode_index(octets: bytes, prelude: Prelude) -> Iterator[Found]:
    """The frames of an index that `is_whole`, in order."""
    at = prelude.start
    for _ in range(prelude.frames):
        offset = _OFFSET.unpack_from(octets, at)[0]
        frame = decode_frame(octets, at + 8, offset, None)
        if frame is None:
            return
        yield frame
        at = at + 8 + frame.body_offset - frame.offset
