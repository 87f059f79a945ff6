"""A disk that fails: what a sender was told stays so, and service goes on by itself. Every single call: disk_run.py."""

import errno
import os
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.spool.format import ABORT, MESSAGE
from fastrelay.spool.found import Found
from tests.faults.disk_run import ERRORS, Trouble, each_call_fails
from tests.peers.strongbox import Box, TellingDisk, frames, later, until


@pytest.mark.parametrize("trouble", Trouble)
def test_each_call_of_a_day_fails(tmp_path: Path, trouble: Trouble) -> None:
    """As many days as there are calls, a thousand in all: some 20 s of one core."""
    days = each_call_fails(tmp_path, trouble)
    print(f"{days} days: {trouble.value}")
    assert days > 50


def logs(box: Box) -> list[list[Found]]:
    return [frames(path, box) for path in box.files()]


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("verb", ["write", "sync"])
def test_after_a_failed_batch_the_abort_is_on_disk_before_anything_else(tmp_path: Path, verb: str, number: int) -> None:
    disk = TellingDisk()
    box = Box(tmp_path, disk=disk)
    store = box.start()
    first = box.put()
    store.check_room()
    disk.fail = lambda done, name: OSError(number, os.strerror(number)) if done == verb else None
    for _ in range(3):
        with pytest.raises(MachineShort) as caught:
            box.put()
        assert caught.value.code == (452 if number == errno.ENOSPC else 451)
        with pytest.raises(MachineShort) as caught:
            store.check_room()
        assert caught.value.code == 452, "no mail is begun meanwhile"
        store._committer._retry_at = 0.0
    assert store.page(None, 10) == [first] and len(logs(box)) == 1
    disk.fail = lambda done, name: None
    disk.deeds.clear()
    second = box.put()
    store.check_room()
    old, new = logs(box)
    assert [frame.ident for frame in old][:1] == [first]
    assert [(frame.kind, frame.batch) for frame in new] == [(ABORT, 1), (MESSAGE, 2)]
    assert (new[0].version, new[1].ident) == (2, second)
    assert [done for done, _ in disk.deeds][-4:] == ["write", "sync", "write", "sync"]
    box.again(crash=True)
    assert box.entries.keys() == {first, second}, "though what failed stands in the log" if verb == "sync" else ""


def test_a_worker_serves_again_a_second_after_the_disk_does(tmp_path: Path) -> None:
    """With its own thread and clock, nobody helping: takes the second."""
    disk = TellingDisk()
    box = Box(tmp_path, disk=disk, threaded=True)
    store = box.start()
    first = box.put()
    disk.fail = lambda done, name: OSError(errno.EIO, "broken") if done == "sync" else None
    with pytest.raises(MachineShort):
        box.put()
    store.record(first, later())
    disk.fail = lambda done, name: None
    until(lambda: store._committer.failing is None)
    store.check_room()
    second = box.put()
    box.again(crash=True)
    assert box.entries.keys() == {first, second} and box.store.state(first) == later()
    box.stop()
