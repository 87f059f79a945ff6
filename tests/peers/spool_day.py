"""A day in the life of a spool: one fixed course of work for disks that fail or lose their power, and an account of it.

The account says at each moment what a start may find: of each message the state of its last sync or any later one, of
a batch under way either, of a batch that failed either until the next one came through, then nothing of it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fastrelay.mail.ident import IdentSource
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.spool import slots
from fastrelay.spool.disk import Disk
from tests.peers.strongbox import KIB, Box, octets_of

Seen = State | None  # None: it is not there, or has ended
FRESH = State(0, (Waiting(0, 1000.0),) * 2)
ENDED = (int(Status.DELIVERED),) * 2
_ids = IdentSource()


class Fate(NamedTuple):
    """now: as the program sees it. may: as a start after a crash at this moment may find it."""

    now: Seen
    may: tuple[Seen, ...]


class Account:
    """Of all mail by id; what is not in `fates` is not there. content: number and size, for `octets_of`.

    together: of batches that are not known to be there or void, (what it brings, what it ends): both or neither.
    """

    def __init__(self) -> None:
        self.fates: dict[bytes, Fate] = {}
        self.together: tuple[tuple[bytes, bytes], ...] = ()
        self.content: dict[bytes, tuple[int, int]] = {}

    def tried(self, ident: bytes, state: Seen) -> None:
        """A batch that would change it is on its way."""
        now, may = self.fates.get(ident, Fate(None, (None,)))
        self.fates = {**self.fates, ident: Fate(now, (*may, state))}

    def changed(self, ident: bytes, state: Seen) -> None:
        """It stands so, though only in memory and perhaps on disk."""
        self.fates = {**self.fates, ident: Fate(state, (*self.fates[ident].may, state))}

    def synced(self) -> None:
        """Everything up to now is on stable storage, and what failed is void."""
        self.fates = {i: Fate(now, (now,)) for i, (now, _) in self.fates.items() if now is not None}
        self.together = ()

    def open(self) -> list[bytes]:
        return sorted(ident for ident, fate in self.fates.items() if fate.now is not None)

    def judge(self, box: Box) -> None:
        """What a start has found against what may be; from here on it is what is."""
        found = {ident: box.store.state(ident) for ident in box.entries}
        assert box.store.page(None, 10_000) == sorted(found)
        for ident, state in found.items():
            assert ident in self.fates, f"{self.content[ident]} is back: it had ended, or its sender read 451"
            may = [one.recipients for one in self.fates[ident].may if one is not None]
            assert state.recipients in may and not state.held, (self.content[ident], state, self.fates[ident])
            self.read(box, ident)
        for ident, fate in self.fates.items():
            assert ident in found or None in fate.may, f"{self.content[ident]} is missing"
        for ident, ended in self.together:
            assert (ident in found) != (ended in found), f"half of a batch: {self.content[ident]}"
        assert not [fields for _, fields in box.notes if fields["reason"] != "torn"], box.notes
        self.fates = {ident: Fate(state, (state,)) for ident, state in found.items()}
        self.together = ()

    def read(self, box: Box, ident: bytes) -> None:
        """Every octet is right."""
        n, size = self.content[ident]
        assert box.content(ident) == octets_of(n, size), (n, size)


class Day:
    """Runs on `box`; messages have names. A step whose messages do not exist does without them."""

    def __init__(self, box: Box, account: Account, other: Callable[[], Disk] | None = None) -> None:
        self.box = box
        self.account = account
        self.running = False
        self._other = other or (lambda: box.disk)  # the disk of the process whose slot is adopted
        self._names: dict[str, bytes] = {}
        self._count = 0

    # -- steps ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A life begins, adopts what lies about, and finds what it should."""
        self.box.open()
        try:
            self.box.store.recover()
            self.box.entries = {entry.ident: entry for entry in self.box.store.load()}
            for path in slots.unowned(self.box.path, self.box.disk):
                self.box.entries |= {entry.ident: entry for entry in self.box.store.adopt(path)}
            self.account.judge(self.box)
        except BaseException:
            self.box.crash()
            raise
        self.running = True

    def crash(self) -> None:
        self.running = False
        self.box.crash()

    def stop(self) -> None:
        try:
            self.box.store.drain()
            self.account.synced()
        finally:
            self.crash()

    def put(self, name: str, size: int, *, ends: str = "", draft: bool = False) -> None:
        """A message, and in the same batch the end of others."""
        self._put(self.box, name, size, [self._names[one] for one in self._known(ends)], draft)

    def update(self, names: str, *, synced: bool = False) -> None:
        """One of two recipients is delivered, the other waits."""
        self._record(names, synced, lambda version: (ENDED[0], Waiting(version, 5.0, "451 later")))

    def done(self, names: str, *, synced: bool = False) -> None:
        self._record(names, synced, lambda version: ENDED)

    def write(self) -> None:
        """What happens 5 ms after a record."""
        self.box.store._committer.write_records()

    def sync(self) -> None:
        """What happens within completion_sync."""
        self.box.store._committer.settle_records()
        self.account.synced()

    def free(self) -> None:
        self.box.store.free_segments()

    def read(self, names: str) -> None:
        for name in self._known(names):
            self.account.read(self.box, self._names[name])

    def other(self, work: Mapping[str, int], done: str) -> None:
        """Another process has a slot of its own, and is killed."""
        box = day_box(self.box.path, self._other())
        box.start()
        for name, size in work.items():
            self._put(box, name, size, [], False)
        for name in done:
            ident = self._names[name]
            state = State(1, ENDED)
            self.account.tried(ident, None)
            box.store.record_synced([(ident, state)])
            self.account.changed(ident, None)
            self.account.synced()
        box.crash()

    def adopt(self) -> None:
        try:
            for path in slots.unowned(self.box.path, self.box.disk):
                found = {entry.ident for entry in self.box.store.adopt(path)}
                for ident in found:
                    self.account.read(self.box, ident)
        except BaseException:
            self.crash()  # a worker that cannot read all mail of its slot ends for a successor
            raise

    # -- how --------------------------------------------------------------------------------------------------------

    def _known(self, names: str) -> list[str]:
        opened = self.account.open()
        return [name for name in names if self._names.get(name) in opened]

    def _put(self, box: Box, name: str, size: int, ends: Iterable[bytes], draft: bool) -> None:
        account = self.account
        self._count += 1
        ident = self._names[name] = _ids.fresh()
        account.content[ident] = (self._count, size)
        records = [(one, State(box.store.state(one).version + 1, ENDED)) for one in ends]
        content = octets_of(self._count, size)
        account.tried(ident, FRESH)
        for one, _ in records:
            account.tried(one, None)
            account.together += ((ident, one),)
        if draft:
            with_draft = box.store.draft()
            try:
                for start in range(0, size, 16 * KIB):
                    with_draft.write(content[start : start + 16 * KIB])
                box.put(with_draft, recipients=2, records=records, ident=ident)
            finally:
                with_draft.discard()
        else:
            box.put(content, recipients=2, records=records, ident=ident)
        account.changed(ident, FRESH)
        for one, _ in records:
            account.changed(one, None)
        account.synced()
        box.store.release_body(ident)

    def _record(self, names: str, synced: bool, recipients: Callable[[int], tuple[int | Waiting, ...]]) -> None:
        store, account = self.box.store, self.account
        records = []
        for name in self._known(names):
            ident = self._names[name]
            version = store.state(ident).version + 1
            records.append((ident, State(version, recipients(version))))
        seen = [(ident, None if state.ended else state) for ident, state in records]
        if synced:
            for ident, state in seen:
                account.tried(ident, state)
            store.record_synced(records)
            for ident, state in seen:
                account.changed(ident, state)
            if records:
                account.synced()
        else:
            for (ident, record), (_, state) in zip(records, seen, strict=True):
                account.changed(ident, state)
                store.record(ident, record)

    # -- the day ----------------------------------------------------------------------------------------------------

    def steps(self) -> list[Callable[[], None]]:
        """Its course: all that a spool does, in segments of 64 KiB."""
        put, done, update = self.put, self.done, self.update
        return [
            self.start,
            lambda: put("a", 100),
            lambda: put("b", 20 * KIB),
            lambda: put("c", 20 * KIB),
            lambda: update("b"),
            lambda: put("D", 40 * KIB),  # capitals: bodies in files
            lambda: update("c", synced=True),
            lambda: put("e", 20 * KIB),  # the first segment is full
            lambda: done("b"),
            self.write,
            lambda: put("f", 700, ends="c"),
            lambda: done("D"),
            self.write,
            lambda: update("a"),
            lambda: done("e"),
            self.free,  # a goes forward with its state
            lambda: put("G", 50 * KIB, draft=True),
            lambda: put("g", 20 * KIB),
            lambda: done("fg"),
            self.write,
            self.sync,
            lambda: put("H", 40 * KIB),
            lambda: done("H"),
            self.write,
            self.crash,
            self.start,  # the end of H is written again, which had proved that H was synced
            lambda: put("u", 20 * KIB),
            lambda: put("i", 20 * KIB),
            self.crash,
            self.start,  # i is written again, into the fourth segment; u keeps the third
            lambda: update("u", synced=True),
            lambda: done("i", synced=True),
            lambda: put("k", 35 * KIB // 2),
            lambda: done("k"),
            lambda: put("l", 30 * KIB),  # in the fifth
            lambda: update("u"),
            self.write,
            self.free,  # the fourth: the end of i has to go forward, and the newest state of u be synced
            lambda: self.other({"p": 20 * KIB, "Q": 40 * KIB, "r": 20 * KIB, "s": 25 * KIB, "t": 100}, "r"),
            self.adopt,
            lambda: self.read("GeupQ"),
            lambda: done("p"),
            self.sync,
            lambda: done("Q", synced=True),
            self.free,  # the first of the adopted
            lambda: done("l"),
            lambda: put("m", 50 * KIB // 2),
            lambda: put("n", 50 * KIB // 2, ends="m"),
            self.free,  # the fifth, where the ends of p and Q were
            lambda: done("u"),
            self.write,
            self.stop,
            self.start,
            lambda: update("s", synced=True),
            lambda: put("o", 100),
            lambda: done("o"),
            self.stop,
            self.start,
            lambda: update("s"),
            self.write,
            self.free,  # where the state of s was, by itself: its newest has to be synced before
            lambda: done("Gst"),
            lambda: put("w", 100),
            self.free,  # and nothing is left of the adopted
            self.stop,
        ]


def day_box(path: Path, disk: Disk) -> Box:
    """A slot with the settings of the day."""
    return Box(path, disk=disk, segment_size=64 * KIB, inline_limit=30 * KIB)
