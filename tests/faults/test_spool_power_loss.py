"""The power goes after each single deed of a day: what a sender was told, and what was done for sure, stays so.

The day runs once and is written down; after each of its deeds several states are made that a file system may be left
in, and a spool is started on each. What it finds must be in the account as that stood at that moment.
"""

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.spool.disk import Disk
from tests.peers.power_disk import Deed, Loss, Past, PowerDisk, cut, dropped, kept, torn, zeroed
from tests.peers.spool_day import Account, Day, Fate, day_box
from tests.peers.strongbox import DONE, Box, TellingDisk, later, until

Keep = Callable[[Deed], bool]
Moment = tuple[dict[bytes, Fate], tuple[tuple[bytes, bytes], ...]]  # what an account says: fates, together


class Witness(PowerDisk):
    """Notes the account at each step of the past."""

    def __init__(self, root: Path, account: Account) -> None:
        super().__init__(root)
        self._account = account
        self.moments: list[Moment] = []  # before the step of the same number

    def _deed(self, verb: str, path: str) -> None:
        super()._deed(verb, path)
        self.note()

    def make_directory(self, path: str) -> bool:
        made = super().make_directory(path)
        self.note()
        return made

    def note(self) -> None:
        while len(self.moments) <= len(self.past.steps):
            self.moments.append((self._account.fates, self._account.together))


class QuickDisk(TellingDisk):
    """Nothing is lost: the power is back."""

    def sync(self, target: int | str) -> None:
        self._deed("sync", self._names.get(target, "") if isinstance(target, int) else target)


@pytest.fixture
def day(tmp_path: Path) -> tuple[Past, list[Moment], Account]:
    folder = tmp_path / "day"
    folder.mkdir()
    account = Account()
    disk = Witness(folder, account)
    for step in Day(day_box(folder, disk), account).steps():
        step()
    disk.note()
    return disk.past, disk.moments, account


def found_again(folder: Path, account: Account, moment: Moment, where: str) -> None:
    """A start on what is left, then another one."""
    left = Account()
    left.content, (left.fates, left.together) = account.content, moment
    disk: Disk = QuickDisk()
    life = Day(day_box(folder, disk), left)
    try:
        life.start()
        life.crash()
        life.start()
        life.put("z", 100)
        life.stop()
    except BaseException as error:
        error.add_note(where)
        raise


def test_after_each_deed_of_a_day(
    day: tuple[Past, list[Moment], Account], tmp_path: Path, chance: random.Random
) -> None:
    """Some 1,400 starts, and as many again after them: 8 s of one core."""
    past, moments, account = day
    losses: list[tuple[str, Loss, Keep]] = [
        ("all that was not synced is gone", dropped, lambda deed: False),
        ("all of it is there", kept, lambda deed: True),
        ("names are there, octets are not", zeroed, lambda deed: True),
        ("octets are there, names are not", kept, lambda deed: False),
    ]
    some: tuple[str, Loss, Keep] = ("some", torn(chance), lambda deed: chance.random() < 0.5)
    in_a_write = [("all but the last octets", cut, losses[1][2]), some, some, some, some]
    n = 0
    while past.advance():
        n += 1
        for name, loss, keep in losses + (in_a_write if past.steps[n - 1].written is not None else [some]):
            folder = tmp_path / "left"
            past.left(folder, loss, keep)
            found_again(folder, account, moments[n], f"after deed {n} of {len(past.steps)}: {name}")
            shutil.rmtree(folder)
    assert n > 200


def test_what_a_failed_sync_may_have_taken_along_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    folder.mkdir()
    disk = PowerDisk(folder)
    box = Box(folder, disk=disk)
    store = box.start()
    waits, ends = box.put(), box.put()
    store.record(waits, later())
    store.record(ends, DONE)
    store._committer.write_records()
    disk.fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "sync" else None
    with pytest.raises(MachineShort):
        box.put()
    disk.fail = lambda verb, name: None
    store._committer._retry_at = 0.0
    store._committer.settle_records()
    box.crash()
    while disk.past.advance():
        pass
    disk.past.left(tmp_path / "left", dropped, lambda deed: False)
    again = Box(tmp_path / "left")
    again.start()
    assert again.entries.keys() == {waits} and again.store.state(waits) == later()
    again.stop()


def test_what_has_ended_stays_so_a_completion_sync_later(tmp_path: Path) -> None:
    """With its own thread and clock: takes half a second."""
    folder = tmp_path / "live"
    folder.mkdir()
    disk = PowerDisk(folder)
    box = Box(folder, disk=disk, threaded=True, completion_sync=0.2)
    store = box.start()
    ended, stays = box.put(), box.put()
    disk.deeds.clear()
    store.record(ended, DONE)
    until(lambda: [verb for verb, _ in disk.deeds][-2:] == ["write", "sync"])
    box.crash()
    while disk.past.advance():
        pass
    disk.past.left(tmp_path / "left", dropped, lambda deed: False)
    again = Box(tmp_path / "left")
    again.start()
    assert again.entries.keys() == {stays}
    again.stop()
