"""The writing end of a slot: opens segments, appends batches, seals, and never writes again where a sync failed.

Promises: `append` returns only when every octet was handed to the system and, with sync, is on stable storage; when it
raises OSError, nothing of that batch is assumed to be on disk or off it, its segment is abandoned, and an ABORT for it
is synced into a fresh segment before any later batch. A segment's file and name are synced before its first batch. A
writer never appends to a segment of an earlier life.

Used by one thread at a time (committer.py). What the loop must hear (segments opened and closed) is left in `news`.
Limits: a segment holds segment_size octets (less where space is short; always one batch) and 65,536 frames.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastrelay.spool.disk import MAX_BUFFERS, Disk, How
from fastrelay.spool.format import ABORT, MAX_BATCH, SEAL, encode_segment, segment_header
from fastrelay.spool.frames import Entry, Frame, encode_batch
from fastrelay.spool.index import encode_index
from fastrelay.spool.segment import Segment

_MAX_FRAMES = 65_536  # per segment: bounds the memory its index takes while it is open
_LEAST = 64 * 1024  # octets of the smallest segment, however short space is
_SHARE = 8  # a segment takes at most an eighth of what is free: a spool on 4 MB still has several to free


class News(NamedTuple):
    """A segment was opened (closed False) or will never be written again (closed True)."""

    segment: Segment
    closed: bool
    size: int


class Journal:
    """The journal of one slot directory. durable False (`spool.durability` os): written, never synced."""

    __slots__ = (
        "_aborts",
        "_batch",
        "_directory",
        "_disk",
        "_entries",
        "_fd",
        "_number",
        "_segment",
        "_size",
        "_sound",
        "_synced",
        "_wall",
        "durable",
        "limit",
        "news",
        "segment_size",
        "written",
    )

    def __init__(
        self,
        disk: Disk,
        directory: str,
        *,
        segment_size: int,
        durable: bool,
        number: int,
        wall: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._directory = directory
        self.segment_size = segment_size
        self.durable = durable
        self._number = number  # of the newest segment that exists, whoever wrote it
        self._wall = wall
        self._segment: Segment | None = None
        self._fd = -1
        self._size = 0
        self._batch = 0
        self._synced = 0
        self._sound = True  # everything written to the open segment is synced
        self._entries: list[Entry] = []
        self._aborts: list[Frame] = []
        self.limit = segment_size
        self.news: list[News] = []
        self.written = 0  # octets in all, for whoever wants to come back later

    @property
    def batch_limit(self) -> int:
        """Octets a batch should not exceed."""
        return min(MAX_BATCH, self.limit)

    @property
    def sound(self) -> bool:
        """True while nothing written awaits a sync."""
        return self._sound

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, frames: Sequence[Frame], octets: int, *, sync: bool) -> None:
        """Write `frames` (`octets` long in all) as one batch; each learns its segment, offset and length."""
        if self._aborts:
            self._write_aborts()
        self._make_room(octets)
        self._append(frames, octets, sync)

    def sync(self) -> None:
        """What was written is on stable storage when this returns."""
        if self._aborts:
            self._write_aborts()
        if self._sound:
            return
        try:
            self._disk.sync(self._fd)
        except OSError:
            self._abandon(0)
            raise
        self._synced, self._sound = self._batch, True

    def seal(self) -> None:
        """Finish the open segment, if there is one: SEAL, sync, index. The next batch opens another."""
        segment = self._segment
        if segment is None:
            return
        self.sync()
        self._append([Frame(SEAL, bytes(16))], 80, True)
        self._segment = None
        self.news.append(News(segment, True, self._size))
        entries, self._entries = self._entries, []
        self.write_index(segment, self._size, entries)

    def write_index(self, segment: Segment, size: int, entries: Sequence[Entry]) -> None:
        """The index of a finished segment. Not synced; a failure only costs the next start a scan."""
        pieces = encode_index(segment.header, size, int(self._wall()), entries)
        try:
            fd = self._disk.open(segment.index_path, How.CREATE)
        except OSError:
            return
        try:
            self._write(fd, pieces)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.remove(segment.index_path)
        finally:
            self._disk.close(fd)

    def _append(self, frames: Sequence[Frame], octets: int, sync: bool) -> None:
        segment = self._segment
        assert segment is not None
        self._batch = batch = self._batch + 1
        parts, entries = encode_batch(frames, segment.header, self._size, batch, self._synced, int(self._wall()))
        try:
            self._write(self._fd, parts)
            if sync and self.durable:
                self._disk.sync(self._fd)
        except OSError:
            self._abandon(batch)
            raise
        self._size += octets
        self.written += octets
        self._entries += entries
        for frame in frames:
            frame.segment = segment
        if sync or not self.durable:
            self._synced, self._sound = batch, True
        else:
            self._sound = False

    def _write(self, fd: int, parts: list[bytes]) -> None:
        for start in range(0, len(parts), MAX_BUFFERS):
            some = parts[start : start + MAX_BUFFERS] if start or len(parts) > MAX_BUFFERS else parts
            size = sum(map(len, some))
            taken = self._disk.write(fd, some)
            if taken != size:  # continued once: what is short again is a full disk or a broken one
                again = self._disk.write(fd, [b"".join(some)[taken:]])
                if taken + again != size:
                    raise OSError(errno.ENOSPC, "the disk took only part of a write, twice")

    # -- opening and giving up --------------------------------------------------------------------------------------

    def _make_room(self, octets: int) -> None:
        full = self._size + octets > self.limit or len(self._entries) >= _MAX_FRAMES
        if full and self._batch and self._segment is not None:
            self.seal()
        if self._segment is None:
            self._open()

    def _open(self) -> None:
        disk = self._disk
        self.limit = max(_LEAST, min(self.segment_size, disk.space(self._directory).free // _SHARE))
        while True:
            self._number += 1
            header = segment_header(self._number, os.urandom(16), self._wall())
            segment = Segment(header, self._directory, 0)
            try:
                fd = disk.open(segment.path, How.CREATE)
            except FileExistsError:
                continue  # a name somebody else left here: not ours to overwrite
            break
        octets = encode_segment(header)
        try:
            self._write(fd, [octets])
            if self.durable:
                disk.sync(fd)
                disk.sync(self._directory)
        except OSError:
            disk.close(fd)
            with contextlib.suppress(OSError):
                disk.remove(segment.path)
            raise
        segment.fd = self._fd = fd
        segment.size = self._size = len(octets)
        self._segment = segment
        self._batch = self._synced = 0
        self._sound = True
        self._entries = []
        self.news.append(News(segment, False, self._size))

    def _abandon(self, batch: int) -> None:
        """Never write the open segment again; void `batch` there unless 0."""
        segment = self._segment
        assert segment is not None
        if batch:
            self._aborts.append(Frame(ABORT, segment.header.nonce, version=batch))
        self._segment = None
        self._entries = []
        self._sound = True
        self.news.append(News(segment, True, self._size))

    def _write_aborts(self) -> None:
        """The ABORTs due, synced into a fresh segment; while this fails nothing else is written."""
        self._open()
        fresh = self._segment
        assert fresh is not None
        aborts, self._aborts = self._aborts, []
        try:
            self._append(aborts, sum(frame.octets for frame in aborts), True)
        except OSError:
            self._aborts = aborts  # without the one of the fresh segment, which would void nothing: it holds no message
            with contextlib.suppress(OSError):
                self._disk.remove(fresh.path)
                del self.news[-2:]  # opened and closed: nobody need hear of it
                self._disk.close(self._fd)
            raise

    def close(self) -> None:
        """Stop writing. The descriptor of the open segment is the reading side's to close."""
        if self._segment is not None:
            self.news.append(News(self._segment, True, self._size))
        self._segment = None
