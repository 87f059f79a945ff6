"""Bodies: content on its way in (Draft), and contents too large for a frame, each in a file of its own.

A draft gathers in memory; above `spool.inline_limit`, or when the memory budget is tight, it goes to
`bodies/draft-<random>`, written off the event loop. Before the MESSAGE frame that names it commits, the file is synced,
renamed to `bodies/<id>` and the directory synced. It is never moved again: a message copied forward keeps its file,
also where that lies in an adopted slot. Files no frame names are removed at the next start.
"""

import contextlib
import os
import zlib
from collections.abc import Callable

from fastrelay.errors import Impossible
from fastrelay.mail import ident as idents
from fastrelay.spool.budget import Budget
from fastrelay.spool.disk import Disk, How, Kind, shortage
from fastrelay.spool.filed import BLOCK
from fastrelay.spool.pace import Away
from fastrelay.spool.slots import BODIES

_SHARE = 3  # of the memory for bodies: as much as all drafts that go to files may hold together
_COALESCE = 16 * 1024  # smaller chunks are joined: a client that sends octet by octet costs no more than its content


def write_all(disk: Disk, fd: int, octets: bytes) -> None:
    """Append; a short write is continued once, then OSError."""
    taken = disk.write(fd, [octets])
    if taken != len(octets):
        again = disk.write(fd, [octets[taken:]])
        if taken + again != len(octets):
            raise OSError(28, "the disk took only part of a write, twice")


class Draft:
    """Content that is being received. Not shared: one task writes it, then commits or discards it."""

    __slots__ = (
        "_bodies",
        "_budget",
        "_counted",
        "_fd",
        "_inline_limit",
        "_parts",
        "_path",
        "_tail",
        "content_crc",
        "size",
    )

    def __init__(self, bodies: "Bodies", budget: Budget, inline_limit: int, *, to_file: bool) -> None:
        self._bodies = bodies
        self._budget = budget
        self._inline_limit = -1 if to_file else inline_limit
        self._parts: list[bytes] = []
        self._tail = bytearray()
        self._counted = 0  # octets of ours in the budget
        self._fd = -1
        self._path = ""
        self.size = 0
        self.content_crc = 0  # of what went to the file

    @property
    def in_file(self) -> bool:
        """The content is in a file, or on its way there."""
        return bool(self._path)

    def write(self, chunk: bytes) -> None:
        """Append. May wait while a block goes to the file; MachineShort when the disk does not take it."""
        size = len(chunk)
        self.size += size
        self._budget.take(size)
        self._counted += size
        tail = self._tail
        if size >= _COALESCE and not tail:
            self._parts.append(chunk)
        else:
            tail += chunk
            if len(tail) >= _COALESCE:
                self._parts.append(bytes(tail))
                tail.clear()
        if self._path:
            if self._counted >= self._bodies.block(self._budget.limit):
                self._spill()
        elif self.size > self._inline_limit or self._budget.tight:
            self._spill()

    def take_parts(self) -> list[bytes]:
        """The content in memory, in order. Its octets stay in the budget: whoever takes them gives them back."""
        if self._path:
            raise Impossible("the content of this draft is in a file")
        parts = self._parts
        if self._tail:
            parts.append(bytes(self._tail))
        self._counted = 0
        self._parts, self._tail = [], bytearray()
        return parts

    def keep(self, ident: bytes) -> None:
        """The file is complete, on stable storage, and named after the message. May wait; MachineShort."""
        self._spill()
        new = self._bodies.path(ident)
        try:
            self._bodies.away(self._settle, new)
        except OSError as error:
            raise shortage(error) from None
        self._path = new

    def committed(self) -> None:
        """A frame names the file now: discarding leaves it alone."""
        self._path = ""
        self._bodies.filing -= 1

    def discard(self) -> None:
        """Forget it. Harmless when it was committed or discarded before."""
        self._budget.give(self._counted)
        self._counted = 0
        self._parts, self._tail = [], bytearray()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._bodies.disk.close(fd)
        if self._path:
            self._bodies.filing -= 1
            path, self._path = self._path, ""
            with contextlib.suppress(OSError):
                self._bodies.disk.remove(path)

    def _spill(self) -> None:
        parts = self._parts
        if self._tail:
            parts.append(bytes(self._tail))
            self._tail.clear()
        self._parts = []
        if not self._path:
            self._path = f"{self._bodies.directory}/draft-{os.urandom(8).hex()}"
            self._bodies.filing += 1
        if parts or self._fd < 0:
            try:
                self._bodies.away(self._write_out, parts)
            except OSError as error:
                raise shortage(error) from None
        self._budget.give(self._counted)
        self._counted = 0

    def _write_out(self, parts: list[bytes]) -> None:  # in a native thread
        disk = self._bodies.disk
        if self._fd < 0:
            self._fd = disk.open(self._path, How.CREATE)
        crc = self.content_crc
        for part in parts:
            crc = zlib.crc32(part, crc)
            write_all(disk, self._fd, part)
        self.content_crc = crc

    def _settle(self, new: str) -> None:  # in a native thread
        bodies = self._bodies
        if bodies.durable:
            bodies.disk.sync(self._fd)
        fd, self._fd = self._fd, -1
        bodies.disk.close(fd)
        bodies.disk.rename(self._path, new)
        self._path = new
        if bodies.durable:
            bodies.disk.sync(bodies.directory)


class Bodies:
    """The body files of a slot and of what it adopted. durable False: never synced. filing: drafts that go to files."""

    __slots__ = ("_elsewhere", "away", "directory", "disk", "durable", "filing")

    def __init__(self, disk: Disk, slot: str, away: Away, *, durable: bool) -> None:
        self.disk = disk
        self.directory = f"{slot}/{BODIES}"
        self.away = away
        self.durable = durable
        self.filing = 0
        self._elsewhere: dict[bytes, str] = {}  # id -> directory, for files of adopted slots

    def block(self, limit: int) -> int:
        """Octets a draft gathers before they go to its file: the fewer, the more drafts there are, so that thousands
        of clients with large messages do not take the memory of all others. limit: of memory for bodies."""
        return max(_COALESCE, min(BLOCK, limit // (_SHARE * max(self.filing, 1))))

    def prepare(self, slot: str) -> None:
        """The directory exists, durably. OSError."""
        if self.disk.make_directory(self.directory):
            self.disk.sync(slot)

    def path(self, ident: bytes) -> str:
        """The file of a message."""
        return f"{self._elsewhere.get(ident, self.directory)}/{idents.to_text(ident)}"

    def found(self, ident: bytes, directory: str) -> None:
        """Recovery saw the file of `ident` in `directory`."""
        if directory != self.directory:
            self._elsewhere[ident] = directory

    def forget(self, ident: bytes) -> str:
        """The path of a message that has ended; the file is the caller's to remove."""
        path = self.path(ident)
        self._elsewhere.pop(ident, None)
        return path

    def remove(self, paths: list[str]) -> None:
        """Unlink, in whichever thread; what cannot be unlinked is left to the next start."""
        for path in paths:
            with contextlib.suppress(OSError):
                self.disk.remove(path)

    def open(self, ident: bytes, size: int, crc: int) -> tuple[int, list[int]] | None:
        """A descriptor for reading and the CRC of each block, after all of it was read and found to be what was
        committed; None when it is gone or is not. May wait; OSError."""
        found: tuple[int, list[int]] | None = self.away(self._open, self.path(ident), size, crc)
        return found

    def head(self, ident: bytes, size: int, crc: int, most: int) -> bytes | None:
        """Its first octets, likewise. No more than a block and these are held in memory."""
        found: bytes | None = self.away(self._head, self.path(ident), size, crc, most)
        return found

    def _open(self, path: str, size: int, crc: int) -> tuple[int, list[int]] | None:  # in a native thread
        checks: list[int] = []
        fd = self._checked(path, size, crc, lambda part: checks.append(zlib.crc32(part)))
        return (fd, checks) if fd >= 0 else None

    def _head(self, path: str, size: int, crc: int, most: int) -> bytes | None:  # in a native thread
        head = bytearray()
        fd = self._checked(path, size, crc, lambda part: head.extend(part[: most - len(head)]))
        if fd < 0:
            return None
        self.disk.close(fd)
        return bytes(head)

    def _checked(self, path: str, size: int, crc: int, seen: Callable[[bytes], None]) -> int:
        """A descriptor of the file, after `seen` was shown all of it; -1 when it is gone or not what was committed."""
        try:
            fd = self.disk.open(path, How.READ)
        except FileNotFoundError:
            return -1
        octets = check = 0
        good = False
        try:
            while octets <= size:
                part = self.disk.read(fd, BLOCK, octets)
                if not part:
                    break
                check = zlib.crc32(part, check)
                octets += len(part)
                seen(part)
            good = octets == size and check == crc
        finally:
            if not good:
                self.disk.close(fd)
        return fd if good else -1


def listed(disk: Disk, directory: str) -> dict[str, bytes | None]:
    """The files in a directory of bodies: path -> id, None for a draft of an earlier life."""
    found: dict[str, bytes | None] = {}
    for name in disk.list(directory):
        if name.kind is not Kind.FILE:
            continue
        if name.name.startswith("draft-"):
            found[f"{directory}/{name.name}"] = None
        elif len(name.name) == 32:
            with contextlib.suppress(ValueError):
                found[f"{directory}/{name.name}"] = bytes.fromhex(name.name)
    return found
