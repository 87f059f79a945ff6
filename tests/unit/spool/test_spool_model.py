"""The strongbox against a model: random work, failing disks, crashes, adoptions; seeds are printed and repeatable.

After every crash each message must be there with a state it may have: the last one synced or any later one. What was
acknowledged and not ended is never missing, what ended with a sync never comes back, and every octet is right.
"""

import errno
import random
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.spool import slots
from tests.peers.power_disk import PowerCut, PowerDisk
from tests.peers.strongbox import KIB, Box, TellingDisk, octets_of

Seen = State | None  # None: it has ended
DELIVERED = int(Status.DELIVERED)


class Model:
    """What may be. histories: id -> states it may have after a crash, the last of which it has now.

    void: ids and states of batches that failed: they may come back until an ABORT was written, then never.
    """

    def __init__(self, box: Box, chance: random.Random) -> None:
        self.box = box
        self.chance = chance
        self.content: dict[bytes, tuple[int, int]] = {}
        self.histories: dict[bytes, list[Seen]] = {}
        self.void: dict[bytes, list[Seen]] = {}
        self.count = 0
        self.records: list[tuple[bytes, State]] = []  # of the commit under way

    def open(self) -> list[bytes]:
        return sorted(ident for ident, history in self.histories.items() if history[-1] is not None)

    def synced(self) -> None:
        """A batch came through: everything before it is on stable storage, every failed one is void."""
        self.histories = {ident: history[-1:] for ident, history in self.histories.items()}
        self.void.clear()

    # -- steps ------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        self.count += 1
        n, size = self.count, self.chance.choice([0, 10, 700, 5000, 5000, 20_000, 70_000])
        draft = self.box.store.draft()
        octets = octets_of(n, size)
        notice_of = self.chance.choice(self.open()) if self.open() and self.chance.random() < 0.2 else None
        records = self.records = [(notice_of, self.changed(notice_of))] if notice_of else []
        ident = b""
        try:
            draft.write(octets)
            ident = self.chance.randbytes(16)
            self.content[ident] = (n, size)
            self.box.put(draft if self.chance.random() < 0.5 else octets, recipients=2, records=records, ident=ident)
        except MachineShort:
            if ident:
                self.void[ident] = [self.fresh()]
            for one, state in records:
                self.void.setdefault(one, []).append(None if state.ended else state)
            return
        finally:
            draft.discard()
        self.histories[ident] = [self.fresh()]
        for one, state in records:
            self.histories[one].append(None if state.ended else state)
        self.synced()
        if self.chance.random() < 0.7:
            self.box.store.release_body(ident)

    def fresh(self) -> State:
        return State(0, (Waiting(0, 1000.0), Waiting(0, 1000.0)))

    def changed(self, ident: bytes) -> State:
        state = self.box.store.state(ident)
        recipients = tuple(
            r if not isinstance(r, Waiting) or self.chance.random() < 0.4
            else DELIVERED if self.chance.random() < 0.7 else Waiting(r.attempts + 1, 5.0 + self.count, "later")
            for r in state.recipients
        )  # fmt: skip
        return State(state.version + 1, recipients, state.held)

    def record(self) -> None:
        if self.open():
            ident = self.chance.choice(self.open())
            state = self.changed(ident)
            self.box.store.record(ident, state)
            self.histories[ident].append(None if state.ended else state)

    def record_synced(self) -> None:
        some = self.chance.sample(self.open(), min(len(self.open()), 5))
        records = [(ident, self.changed(ident)) for ident in some]
        try:
            self.box.store.record_synced(records)
        except MachineShort:
            for ident, state in records:
                self.void.setdefault(ident, []).append(None if state.ended else state)
            return
        for ident, state in records:
            self.histories[ident].append(None if state.ended else state)
        if records:
            self.synced()

    def free(self) -> None:
        self.box.store.free_segments()

    def write_records(self) -> None:
        self.box.store._committer.write_records()

    def read(self) -> None:
        if self.open():
            ident = self.chance.choice(self.open())
            n, size = self.content[ident]
            assert b"".join(self.box.store.read(ident).parts[1:]) == octets_of(n, size)

    def adopt(self) -> None:
        other = Box(self.box.path, segment_size=64 * KIB, inline_limit=30 * KIB)
        other.start()
        for _ in range(self.chance.randrange(8)):
            self.count += 1
            ident = other.put(octets_of(self.count, 5000), recipients=2)
            self.content[ident] = (self.count, 5000)
            self.histories[ident] = [self.fresh()]
        path = other.slot.path
        other.crash() if self.chance.random() < 0.5 else other.stop()
        if self.box.store._committer.failing:
            self.commit()  # shows that the disk is well again
        list(self.box.store.adopt(path))

    def fail(self) -> None:
        """The next step meets a disk that fails once, somewhere."""
        assert isinstance(self.box.disk, TellingDisk)
        verb = self.chance.choice(["write", "sync", "create", "rename", "remove"])
        left = self.chance.randrange(4)

        def judge(done: str, name: str) -> OSError | None:
            nonlocal left
            if done == verb:
                left -= 1
                if left == -1:
                    return OSError(self.chance.choice([errno.EIO, errno.ENOSPC]), "broken")
            return None

        self.box.disk.fail = judge
        self.chance.choice([self.commit, self.commit, self.record_synced, self.free])()
        self.box.disk.fail = lambda verb, name: None
        self.box.store._committer._retry_at = 0.0  # the disk is tried again at once

    def restart(self, *, crash: bool) -> None:
        if not crash:
            self.box.store._committer._retry_at = 0.0
        self.box.again(crash=crash)
        if not crash:
            self.synced()
        self.judge()

    def judge(self) -> None:
        """What a start has found against what may be."""
        for ident in self.box.entries:
            may = [*self.histories.get(ident, []), *self.void.get(ident, [])]
            state = self.box.store.state(ident)
            assert any(one is not None and one.recipients == state.recipients for one in may), (ident, state, may)
        for ident, history in self.histories.items():
            if ident not in self.box.entries:
                assert None in [*history, *self.void.get(ident, [])], f"{ident.hex()} is missing"
        self.histories = {ident: [self.box.store.state(ident)] for ident in self.box.entries}
        self.void.clear()
        for ident in self.box.entries:
            n, size = self.content[ident]
            assert b"".join(self.box.store.read(ident).parts[1:]) == octets_of(n, size)
        assert not [fields for _, fields in self.box.notes if fields["reason"] != "torn"]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            step = self.chance.choices(
                [self.commit, self.record, self.record_synced, self.free, self.write_records, self.read, self.adopt,
                 self.fail, lambda: self.restart(crash=True), lambda: self.restart(crash=False)],
                [40, 40, 5, 5, 10, 10, 1, 6, 3, 2],
            )[0]  # fmt: skip
            step()
            assert self.box.store.page(None, 100_000) == self.open()
        self.restart(crash=False)


@pytest.mark.parametrize("run", range(12))
def test_random_work_crashes_and_failing_disks(tmp_path: Path, chance: random.Random, run: int) -> None:
    own = random.Random(f"{chance.random()} {run}")
    box = Box(tmp_path, disk=TellingDisk(), segment_size=64 * KIB, inline_limit=30 * KIB)
    box.start()
    Model(box, own).run(200)
    statistics = box.store.statistics()
    assert statistics["live_octets"] <= statistics["segment_octets"] + 64 * KIB
    box.stop()


class Powerless(Model):
    """The same with the power going at any deed: in the middle of work, of a start, of an adoption."""

    def __init__(self, box: Box, chance: random.Random, disk: PowerDisk) -> None:
        super().__init__(box, chance)
        self.disk = disk
        self.cuts = 0

    def commit(self) -> None:
        before = set(self.content)
        try:
            super().commit()
        except PowerCut:
            for ident in self.content.keys() - before:
                self.void[ident] = [self.fresh()]
            for ident, state in self.records:  # may be there or not
                self.void.setdefault(ident, []).append(None if state.ended else state)
            raise

    def adopt(self) -> None:
        """Cut too, by `run`; the other slot stands on the same disk."""
        other = Box(self.box.path, disk=self.disk, segment_size=64 * KIB, inline_limit=30 * KIB)
        cut, self.disk.cut_after = self.disk.cut_after, -1
        other.start()
        for _ in range(self.chance.randrange(8)):
            self.count += 1
            ident = other.put(octets_of(self.count, 5000), recipients=2)
            self.content[ident] = (self.count, 5000)
            self.histories[ident] = [self.fresh()]
        path = other.slot.path
        other.crash()
        self.disk.cut_after = cut
        list(self.box.store.adopt(path))

    def lose(self) -> None:
        """The power goes within the next few deeds; it may go again while the spool is started."""
        self.disk.cut_after = self.chance.randrange(25)
        try:
            while True:
                self.chance.choice([self.commit, self.commit, self.record, self.free, self.write_records, self.adopt])()
        except PowerCut:
            self.cuts += 1
        while True:
            self.box.crash()
            self.disk.lose(self.chance)
            self.disk.cut_after = self.chance.choice([-1, self.chance.randrange(30)])
            try:
                self.box.start()
            except PowerCut:
                self.cuts += 1
                continue
            break
        self.disk.cut_after = -1
        left = slots.unowned(self.box.path, self.disk)  # an adoption that was cut off before its rename
        for path in left:
            self.box.entries |= {entry.ident: entry for entry in self.box.store.adopt(path)}
        self.judge()


@pytest.mark.parametrize("run", range(12))
def test_the_power_goes_at_any_moment(tmp_path: Path, chance: random.Random, run: int) -> None:
    own = random.Random(f"power {chance.random()} {run}")
    disk = PowerDisk(tmp_path)
    box = Box(tmp_path, disk=disk, segment_size=64 * KIB, inline_limit=30 * KIB)
    box.start()
    model = Powerless(box, own, disk)
    for _ in range(12):
        for _ in range(own.randrange(40)):
            own.choices([model.commit, model.record, model.free, model.write_records], [10, 10, 1, 2])[0]()
        model.lose()
    assert model.cuts >= 12
    box.stop()
