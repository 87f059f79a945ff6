"""Reading a segment that has no index: which frames count, which batches are torn, what is corrupt.

Pure over a function that reads. The verdicts are those of format.py's proof; nothing is repaired here and nothing read
is trusted before its CRC. Bodies are checked only in batches above the highest `synced`; elsewhere at each read.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

from fastrelay.spool.format import FRAME_HEADER, SEAL, SEGMENT_HEADER, SegmentHeader
from fastrelay.spool.found import Found
from fastrelay.spool.frames import decode_frame, guess_frame, head_size

_WINDOW = 4 * 1024 * 1024  # octets read at once: sequential even on a cold disk

Read = Callable[[int, int], bytes]  # (size, offset) -> octets, fewer at the end of the file


class Damage(NamedTuple):
    """A stretch of a segment that is not good. corrupt: it had been synced; else torn, and nobody read 250 for it.

    claims: (id, envelope octets) of the messages it seems to hold, unverified.
    """

    offset: int
    length: int
    corrupt: bool
    claims: tuple[tuple[bytes, bytes], ...]


class Scan(NamedTuple):
    """frames: good, in batches known synced. tail: whole batches above, in order. newest: wall second, 0 unknown."""

    frames: list[Found]
    tail: list[list[Found]]
    damage: list[Damage]
    sealed: bool
    newest: int


class _Window:
    """A moving view of the file."""

    __slots__ = ("_data", "_read", "_start", "size")

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._data = b""
        self._start = 0
        self.size = size

    def at(self, offset: int, need: int) -> tuple[bytes, int]:
        """(octets, position of `offset` in them); fewer than `need` follow only at the end of the file."""
        position = offset - self._start
        if position < 0 or position + need > len(self._data):
            self._data = self._read(max(_WINDOW, need), offset)
            self._start = offset
            position = 0
        return self._data, position

    def frame(self, offset: int, header: SegmentHeader) -> Found | None:
        """The good frame that begins at `offset`, if one does."""
        data, position = self.at(offset, FRAME_HEADER)
        if len(data) - position < FRAME_HEADER or data[position : position + 8] != header.mark:
            return None
        need = head_size(data, position)
        if not need or offset + need > self.size:
            return None
        data, position = self.at(offset, need)
        return decode_frame(data, position, offset, header)

    def next_mark(self, offset: int, end: int, mark: bytes) -> int:
        """The first multiple of 8 from `offset` on where `mark` stands, `end` when there is none before it."""
        while offset + 8 <= end:
            data, position = self.at(offset, 8)
            found = data.find(mark, position, position + end - offset)
            while found >= 0 and (offset + found - position) % 8:
                found = data.find(mark, found + 1, position + end - offset)
            if found >= 0:
                return offset + found - position
            seen = len(data) - position
            if seen < 8:
                break
            offset += seen & ~7  # a mark may begin in the last octets of this view
        return end


def scan(read: Read, size: int, header: SegmentHeader) -> Scan:
    """Judge the segment of `size` octets behind `read`. OSError of `read` passes through."""
    window = _Window(read, size)
    good, gaps = _walk(window, header)
    synced = max((frame.synced for frame in good), default=0)
    settled: list[Found] = []
    damage: list[Damage] = []
    batches: dict[int, list[Found]] = {}
    for frame in good:
        if frame.offset + frame.length > size:  # its head is good, its body is cut off
            claim = ((frame.ident, frame.envelope),) if frame.envelope else ()
            damage.append(Damage(frame.offset, size - frame.offset, frame.batch <= synced, claim))
        elif frame.batch <= synced:
            settled.append(frame)
        else:
            batches.setdefault(frame.batch, []).append(frame)
    tail = []
    for _, batch in sorted(batches.items()):
        if is_whole(batch) and all(_body_good(read, frame) for frame in batch):
            if batch[0].kind != SEAL:
                tail.append(batch)
        else:
            last = batch[-1]
            damage.append(Damage(batch[0].offset, last.offset + last.length - batch[0].offset, False, ()))
    for start, end, before in gaps:
        corrupt = _first_missing(before) <= synced
        damage.append(Damage(start, end - start, corrupt, _claims(window, start, end, header) if corrupt else ()))
    damage.sort()
    sealed = bool(good) and good[-1].kind == SEAL and not damage
    return Scan(settled, tail, damage, sealed, max((frame.second for frame in good), default=0))


def is_whole(batch: list[Found]) -> bool:
    """True when every frame of the batch is there."""
    return len(batch) == batch[0].count and all(frame.place == n for n, frame in enumerate(batch))


def _walk(window: _Window, header: SegmentHeader) -> tuple[list[Found], list[tuple[int, int, Found | None]]]:
    """Every good frame in file order, and the gaps between with the frame that stood before each."""
    good: list[Found] = []
    gaps: list[tuple[int, int, Found | None]] = []
    offset, gap = SEGMENT_HEADER, -1
    while offset < window.size:
        frame = window.frame(offset, header)
        if frame is None:
            if gap < 0:
                gap = offset
            offset = window.next_mark(offset + 8, window.size, header.mark)
            continue
        if gap >= 0:
            gaps.append((gap, offset, good[-1] if good else None))
            gap = -1
        good.append(frame)
        offset += frame.length
    if gap >= 0:
        gaps.append((gap, window.size, good[-1] if good else None))
    return good, gaps


def _first_missing(before: Found | None) -> int:
    """The lowest batch a gap after `before` can have eaten of."""
    if before is None:
        return 1
    return before.batch if before.place + 1 < before.count else before.batch + 1


def _claims(window: _Window, start: int, end: int, header: SegmentHeader) -> tuple[tuple[bytes, bytes], ...]:
    claims = []
    while start < end:
        data, position = window.at(start, min(end - start, _WINDOW))
        claim = guess_frame(data[position : position + end - start])
        if claim is not None:
            claims.append(claim)
        start = window.next_mark(start + 8, end, header.mark)
    return tuple(claims)


def _body_good(read: Read, frame: Found) -> bool:
    size = frame.prefix_size + frame.inline
    if not size:
        return True
    body = memoryview(read(size, frame.body_offset))
    return len(body) == size and body_matches(frame, body)


def body_matches(frame: Found, body: memoryview) -> bool:
    """True when prefix and inline content are those the frame was written with (content of a FILE is not looked at)."""
    if zlib.crc32(body[: frame.prefix_size]) != frame.prefix_crc:
        return False
    return not frame.inline or zlib.crc32(body[frame.prefix_size : frame.prefix_size + frame.inline]) == (
        frame.content_crc
    )
