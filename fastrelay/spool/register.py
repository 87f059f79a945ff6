"""The register: every open message of a slot, where its newest copy lies, and how it stands.

Kept small, and out of the cycle collector's sight (structs without gc, bytes, ints): measured 0.5 KB for a message of
one recipient, envelope included. Ids are kept in order in chunks, so a page of a million messages costs no more than a
page of a thousand, and no single step grows with the queue.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from fastrelay.spool.frames import Frame
from fastrelay.spool.held import LENGTH, Held, place
from fastrelay.spool.segment import Segment

_CHUNK = 1024  # ids per chunk: inserting moves 4 KB on average


class Order:
    """Ids in order. Adding at the end and taking away cost under a microsecond at any size."""

    __slots__ = ("_chunks", "_firsts")

    def __init__(self) -> None:
        self._chunks: list[list[bytes]] = []
        self._firsts: list[bytes] = []  # of each chunk, a lower bound of its ids

    def add(self, ident: bytes) -> None:
        """Put it in its place."""
        chunks = self._chunks
        if not chunks:
            chunks.append([ident])
            self._firsts.append(ident)
            return
        chunk = chunks[-1]
        if ident > chunk[-1]:
            if len(chunk) < _CHUNK:
                chunk.append(ident)
            else:
                chunks.append([ident])
                self._firsts.append(ident)
            return
        at = max(bisect_right(self._firsts, ident) - 1, 0)
        chunk = chunks[at]
        insort(chunk, ident)
        self._firsts[at] = min(self._firsts[at], ident)
        if len(chunk) > 2 * _CHUNK:
            chunks.insert(at + 1, chunk[_CHUNK:])
            self._firsts.insert(at + 1, chunk[_CHUNK])
            del chunk[_CHUNK:]

    def discard(self, ident: bytes) -> None:
        """Take it out, if it is there."""
        at = bisect_right(self._firsts, ident) - 1
        if at < 0:
            return
        chunk = self._chunks[at]
        position = bisect_left(chunk, ident)
        if position < len(chunk) and chunk[position] == ident:
            del chunk[position]
            if not chunk:
                del self._chunks[at]
                del self._firsts[at]

    def page(self, after: bytes | None, limit: int) -> list[bytes]:
        """Up to `limit` ids above `after`, in order."""
        found: list[bytes] = []
        at, start = 0, 0
        if after is not None and self._chunks:
            at = max(bisect_right(self._firsts, after) - 1, 0)
            start = bisect_right(self._chunks[at], after)
        while at < len(self._chunks) and len(found) < limit:
            found += self._chunks[at][start : start + limit - len(found)]
            at, start = at + 1, 0
        return found


class Register:
    """What is open, and the segments that exist (or may, until an unlink is durable), by mark."""

    __slots__ = ("_also", "_held", "_order", "segments")

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}
        self._order = Order()
        self._also: dict[bytes, tuple[bytes, ...]] = {}  # id -> marks of segments with older copies of it
        self.segments: dict[bytes, Segment] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._held)

    def get(self, ident: bytes) -> Held | None:
        """The message, if it is open."""
        return self._held.get(ident)

    def page(self, after: bytes | None, limit: int) -> list[bytes]:
        """Up to `limit` open ids above `after`, in order."""
        return self._order.page(after, limit)

    def add(self, ident: bytes, held: Held, also: tuple[bytes, ...] = ()) -> None:
        """A message is open. also: marks of segments with older copies."""
        self._held[ident] = held
        self._order.add(ident)
        held.segment.live += held.where & LENGTH
        if also:
            self._also[ident] = also

    def move(self, ident: bytes, frame: Frame) -> None:
        """Its newest copy is `frame` now; the one before stays where it was, and counts, until its segment is gone."""
        held = self._held[ident]
        held.segment.live -= held.length
        self._also[ident] = (*self._also.get(ident, ()), held.segment.mark)
        held.segment = frame.segment
        held.where = place(frame.offset, frame.length)
        held.copy = frame.copy
        held.segment.live += frame.length

    def forget(self, ident: bytes) -> Held:
        """It has ended."""
        held = self._held.pop(ident)
        self._order.discard(ident)
        held.segment.live -= held.where & LENGTH
        self._also.pop(ident, None)
        return held

    def marks(self, ident: bytes, held: Held) -> list[bytes]:
        """Marks of the segments that hold a copy: what its DONE frame has to name."""
        also = self._also.get(ident)
        if not also:
            return [held.segment.mark]
        return [held.segment.mark, *{mark for mark in also if mark in self.segments and mark != held.segment.mark}]

    def segment_gone(self, mark: bytes) -> None:
        """The unlink of a segment is durable: nothing lies there any more."""
        self.segments.pop(mark, None)
        if self._also:
            kept = {i: tuple(m for m in marks if m != mark) for i, marks in self._also.items() if marks != (mark,)}
            self._also = {ident: marks for ident, marks in kept.items() if marks}
