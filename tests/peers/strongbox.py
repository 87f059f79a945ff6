"""A spool slot for tests: opened, crashed, opened again; and a disk that tells what was done and fails on request."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastrelay.config import Limits, Spool
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.runtime import clock, tasks
from fastrelay.spool import slots
from fastrelay.spool.bodies import Draft
from fastrelay.spool.disk import Disk, How, Name, Space
from fastrelay.spool.found import Found
from fastrelay.spool.recovery import Entry
from fastrelay.spool.scan import scan
from fastrelay.spool.store import Store
from fastrelay.spool.survey import survey

KIB = 1024
DONE = State(9, (int(Status.DELIVERED),))
_ids = IdentSource()


def later(version: int = 1, due: float = 5.0, reply: str = "451 later", recipients: int = 1) -> State:
    """Everybody waits."""
    return State(version, (Waiting(version, due, reply),) * recipients)


def envelope(recipients: int = 1, created: float = 1000.0, **more: Any) -> Envelope:
    """An envelope to `recipients` people."""
    people = tuple(Recipient(f"person{n}@destination{n}.example") for n in range(recipients))
    return Envelope("sender@customer.example", people, created, **more)


class TellingDisk(Disk):
    """The real disk, which writes down each verb that changes something, and fails those it is told to.

    deeds: (verb, file name) in order. fail(verb, name): an OSError to raise, or None. before: called before each deed.
    short: the next writes take so many octets, one each.
    """

    def __init__(self) -> None:
        self.deeds: list[tuple[str, str]] = []
        self.fail: Callable[[str, str], OSError | None] = lambda verb, name: None
        self.before: Callable[[str, str], None] = lambda verb, name: None
        self.short: list[int] = []
        self.cold = False  # reading without waiting is refused
        self.room: Space | None = None
        self.asked = 0
        self.octets_read = 0
        self._names: dict[int, str] = {}

    def _deed(self, verb: str, path: str) -> None:
        name = path.rpartition("/")[2]
        self.before(verb, name)
        error = self.fail(verb, name)
        if error is not None:
            raise error
        self.deeds.append((verb, name))

    def open(self, path: str, how: How) -> int:
        if how is How.CREATE:
            self._deed("create", path)
        fd = super().open(path, how)
        self._names[fd] = path
        return fd

    def read(self, fd: int, size: int, offset: int, *, nowait: bool = False) -> bytes:
        if nowait and self.cold:
            raise BlockingIOError(errno.EWOULDBLOCK, "cold")
        error = self.fail("read", self._names.get(fd, "").rpartition("/")[2])
        if error is not None:
            raise error
        octets = super().read(fd, size, offset, nowait=nowait)
        self.octets_read += len(octets)
        return octets

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        self._deed("write", self._names.get(fd, ""))
        if self.short:
            parts = [b"".join(parts)[: self.short.pop(0)]]
        return super().write(fd, parts)

    def sync(self, target: int | str) -> None:
        self._deed("sync", self._names.get(target, "") if isinstance(target, int) else target)
        super().sync(target)

    def rename(self, old: str, new: str) -> None:
        self._deed("rename", new)
        super().rename(old, new)

    def remove(self, path: str, *, directory: bool = False) -> None:
        self._deed("remove", path)
        super().remove(path, directory=directory)

    def list(self, path: str) -> list[Name]:
        return super().list(path)

    def space(self, path: str) -> Space:
        self.asked += 1
        return self.room or super().space(path)


class Box:
    """One slot of the spool in `path`. Each `start` is a life; `crash` ends it without a word, `stop` in order."""

    def __init__(self, path: Path, *, disk: Disk | None = None, threaded: bool = False, **settings: Any) -> None:
        self.path = path
        self.disk = disk or Disk()
        self.threaded = threaded
        self.limits = settings.pop("limits", None) or Limits()
        self.counts = settings.pop("counts", None)
        self.spool = Spool(path=str(path), **{"segment_size": 64 * KIB, "min_free": 0.0, **settings})
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.entries: dict[bytes, Entry] = {}
        self.store: Store

    def note(self, kind: str, **fields: Any) -> None:
        self.notes.append((kind, fields))

    def open(self) -> Store:
        """Claim a slot and open the store, no more."""
        self.slot = slots.claim(self.path, self.disk)
        try:
            self.store = Store(
                self.slot,
                self.spool,
                self.limits,
                disk=self.disk,
                note=self.note,
                counts=self.counts,
                threaded=self.threaded,
            )
        except BaseException:
            self.slot.close()
            raise
        return self.store

    def start(self) -> Store:
        """Open, recover, load."""
        store = self.open()
        store.recover()
        self.entries = {entry.ident: entry for entry in store.load()}
        return store

    def stop(self) -> None:
        self.store.drain()
        self.crash()

    def crash(self) -> None:
        """As kill -9 leaves it: what was written is there, nothing else happens."""
        self.store.close()
        self.slot.close()

    def again(self, *, crash: bool = False) -> Store:
        if crash:
            self.crash()
        else:
            self.stop()
        return self.start()

    def put(
        self,
        content: bytes | Draft = b"content",
        *,
        recipients: int = 1,
        records: Sequence[tuple[bytes, State]] = (),
        prefix: bytes = b"prefix",
        ident: bytes | None = None,
    ) -> bytes:
        """Commit a message; its id."""
        ident = ident or _ids.fresh()
        self.store.commit(ident=ident, envelope=envelope(recipients), prefix=prefix, content=content, records=records)
        return ident

    def content(self, ident: bytes) -> bytes:
        """What a message says, as a delivery would read it and give it back."""
        message = self.store.read(ident)
        try:
            return b"".join(message.parts[1:])
        finally:
            if message.lent:
                self.store.returned(message)

    def fill(self, count: int, size: int = 5000) -> list[bytes]:
        """Commit `count` messages whose content can be told apart; their first attempt is over."""
        made = []
        for n in range(count):
            ident = self.put(octets_of(n, size))
            self.store.release_body(ident)
            made.append(ident)
        return made

    def files(self, suffix: str = ".log") -> list[Path]:
        """Files of the first slot with that ending, by name."""
        return sorted(path for path in (self.path / "slot-000").rglob(f"*{suffix}") if "quarantine" not in path.parts)

    @property
    def quarantine(self) -> list[str]:
        folder = self.path / "slot-000" / "quarantine"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def told(box: Box) -> TellingDisk:
    """The disk of a box that was made with one that tells."""
    assert isinstance(box.disk, TellingDisk)
    return box.disk


def octets_of(n: int, size: int) -> bytes:
    """Content that names its number all over."""
    return (b"%08d" % n * (size // 8 + 1))[:size]


def finished(work: list[tasks.Task], seconds: float = 30.0) -> None:
    """Let the loop run until all tasks have ended."""
    deadline = clock.now() + seconds
    while not all(task.dead for task in work):
        assert clock.now() < deadline, "tasks did not end"
        tasks.sleep(0.002)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Let the loop run until `condition` holds."""
    deadline = clock.now() + seconds
    while not condition():
        assert clock.now() < deadline, "it did not come to be"
        tasks.sleep(0.002)


def frames(path: Path, box: Box) -> list[Found]:
    """Every good frame of a log, settled or not."""
    octets = path.read_bytes()
    piece = next(p for p in survey(box.disk, str(box.path / "slot-000")).pieces if p.segment.path == str(path))
    found = scan(lambda size, offset: octets[offset : offset + size], len(octets), piece.segment.header)
    return found.frames + [frame for batch in found.tail for frame in batch]


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0x20
    path.write_bytes(octets)
