"""Many tasks at once on one store with its thread and its freeing task: nothing lost, nothing back, nothing damaged."""

import errno
import random
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.runtime import tasks
from tests.peers.strongbox import KIB, Box, TellingDisk, finished, octets_of, until

DELIVERED, FAILED = int(Status.DELIVERED), int(Status.FAILED)


class Work:
    """Tasks that put mail in and settle it recipient by recipient, each message by several tasks at once."""

    def __init__(self, box: Box, chance: random.Random) -> None:
        self.box = box
        self.chance = chance
        self.content: dict[bytes, tuple[int, int]] = {}
        self.settling: list[tasks.Task] = []
        self.refused = 0
        self.count = 0

    def carry(self, messages: int) -> None:
        for _ in range(messages):
            self.count += 1
            n, size = self.count, self.chance.choice([10, 3000, 5000, 40_000])
            try:
                ident = self.box.put(octets_of(n, size), recipients=3)
            except MachineShort:
                self.refused += 1
                tasks.sleep(0.001)
                continue
            self.content[ident] = (n, size)
            if self.chance.random() < 0.95:
                self.settling += [tasks.spawn(self.settle, ident, index) for index in range(3)]
            tasks.sleep(0)

    def settle(self, ident: bytes, index: int) -> None:
        for attempt in range(1, 4):
            tasks.sleep(self.chance.random() * 0.01)
            if self.chance.random() < 0.3:
                self.read(ident)
            outcome = self.chance.choice([*[DELIVERED] * 6, FAILED, Waiting(attempt, 9.0, "later")])
            state = self.box.store.state(ident)
            assert isinstance(state.recipients[index], Waiting)
            recipients = (*state.recipients[:index], outcome, *state.recipients[index + 1 :])
            after = State(state.version + 1, recipients)
            if outcome == FAILED:
                self.count += 1
                n = self.count
                try:
                    notice = self.box.put(octets_of(n, 900), records=[(ident, after)])
                except MachineShort:
                    self.refused += 1
                    continue
                self.content[notice] = (n, 900)
            else:
                self.box.store.record(ident, after)
            if not isinstance(outcome, Waiting):
                break

    def read(self, ident: bytes) -> None:
        n, size = self.content[ident]
        assert b"".join(self.box.store.read(ident).parts[1:]) == octets_of(n, size)


@pytest.mark.parametrize("failing", [False, True])
def test_many_tasks_on_one_store(
    tmp_path: Path, chance: random.Random, failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    monkeypatch.setattr("fastrelay.spool.committer.RETRY", 0.01)
    monkeypatch.setattr("fastrelay.spool.journal_thread.RETRY", 0.01)
    disk = TellingDisk()
    box = Box(tmp_path, disk=disk, threaded=True, segment_size=128 * KIB, inline_limit=30 * KIB, completion_sync=0.01)
    box.start()
    work = Work(box, chance)
    if failing:
        disk.fail = lambda verb, name: (
            OSError(errno.EIO, "Input/output error")
            if verb in ("write", "sync") and name.endswith(".log") and chance.random() < 0.02
            else None
        )
    finished([tasks.spawn(work.carry, 40) for _ in range(10)])
    finished(work.settling)
    disk.fail = lambda verb, name: None
    assert not crashes, crashes
    assert (work.refused > 0) is failing
    until(lambda: box.store.statistics()["freed"] > 0)
    expected = set(box.store.page(None, 100_000))
    assert expected < work.content.keys()
    for crash in (False, True):
        states = {ident: box.store.state(ident) for ident in expected}
        box.again(crash=crash)
        assert box.entries.keys() == expected
        for ident in expected:
            assert box.store.state(ident).recipients == states[ident].recipients
            work.read(ident)
    assert not box.notes
    box.stop()
