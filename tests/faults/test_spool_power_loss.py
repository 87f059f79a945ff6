"""The power goes after each single deed of a day: what a sender was told, and what was done for sure, stays so.

The states that are tried here are few for each deed; power_run.py by itself tries more, and says how many.
"""

import errno
import random
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from tests.faults.power_run import a_few, after_each_deed, recorded
from tests.peers.power_disk import PowerDisk, dropped
from tests.peers.strongbox import DONE, Box, later, until


def test_after_each_deed_of_a_day(tmp_path: Path, chance: random.Random) -> None:
    """Some 1,400 starts, and as many again after them: 8 s of one core."""
    (tmp_path / "day").mkdir()
    tally = after_each_deed(recorded(tmp_path / "day"), tmp_path / "left", a_few(chance))
    print(tally)
    assert tally.deeds > 200 and tally.states > 1200


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
