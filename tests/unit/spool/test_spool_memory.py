"""`spool.durability = "memory"`: what a 250 costs nothing for, and what is kept all the same."""

import errno
from pathlib import Path

import pytest

from fastrelay.config import Limits
from fastrelay.errors import MachineShort
from fastrelay.mail.state import State, Status
from fastrelay.runtime import tasks
from fastrelay.spool.disk import Space
from fastrelay.spool.memory import EACH
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, envelope, finished, later, octets_of

MIB = KIB * KIB
DELIVERED = int(Status.DELIVERED)


def box_of(tmp_path: Path, **settings: object) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), durability="memory", **settings)
    box.start()
    return box


def deeds(box: Box) -> list[tuple[str, str]]:
    assert isinstance(box.disk, TellingDisk)
    return box.disk.deeds


def failing(box: Box, code: int = errno.EIO) -> None:
    assert isinstance(box.disk, TellingDisk)
    box.disk.fail = lambda verb, name: OSError(code, "fails") if verb == "write" else None


def working(box: Box) -> None:
    assert isinstance(box.disk, TellingDisk)
    box.disk.fail = lambda verb, name: None


def test_a_message_is_born_read_recorded_and_ended_without_a_touch_of_the_disk(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    deeds(box).clear()
    ident, large = box.put(b"content" * 100, recipients=2), box.put(b"x" * 3 * MIB)
    for _ in range(2):
        message = box.store.read(ident)
        assert message.parts == [b"prefix", b"content" * 100] and message.size == 706
        assert message.envelope == envelope(2, size=706) == box.store.envelope(ident)
        box.store.release_body(ident)
    assert box.content(large) == b"x" * 3 * MIB
    box.store.record(ident, later(1, recipients=2))
    assert box.store.state(ident) == later(1, recipients=2)
    box.store.record_synced([(ident, later(2, recipients=2))])
    assert box.store.page(None, 10) == sorted([ident, large]) and len(box.store) == 2
    notice = box.put(b"notice", records=[(ident, DONE)])
    assert box.store.page(None, 10) == sorted([large, notice])
    for one in (large, notice):
        box.store.record(one, DONE)
    assert not len(box.store) and box.store.statistics()["memory"] == 0
    box.store.tick()
    assert deeds(box) == []


def test_a_draft_of_any_size_stays_in_memory_while_there_is_room(tmp_path: Path) -> None:
    box = box_of(tmp_path, inline_limit=KIB)
    deeds(box).clear()
    draft = box.store.draft(5 * MIB)
    for n in range(80):
        draft.write(octets_of(n, 64 * KIB))
    ident = box.put(draft)
    assert box.content(ident) == b"".join(octets_of(n, 64 * KIB) for n in range(80))
    assert deeds(box) == []


def test_a_crash_loses_it_and_an_orderly_stop_does_not(tmp_path: Path) -> None:
    box = box_of(tmp_path, inline_limit=8 * KIB)
    box.put()
    box.again(crash=True)
    assert not box.entries
    small = [box.put(octets_of(n, 3000)) for n in range(300)]
    large = box.put(octets_of(7, 100 * KIB))
    both = box.put(b"two", recipients=2)
    box.store.record(both, State(4, (DELIVERED, later().recipients[0])))
    box.store.record(small[0], later(3))
    box.store.record(small[1], DONE)
    box.again()
    assert box.entries.keys() == {*small, large, both} - {small[1]}
    assert box.store.state(both) == State(4, (DELIVERED, later().recipients[0]))
    assert box.store.state(small[0]) == later(3)
    assert box.content(large) == octets_of(7, 100 * KIB)
    assert [path.name for path in (tmp_path / "slot-000" / "bodies").iterdir()] == [large.hex()]
    for n, ident in enumerate(small):
        if n != 1:
            assert box.content(ident) == octets_of(n, 3000)
    assert box.store.statistics()["in_memory_alone"] == box.store.statistics()["memory"] == 0
    box.again(crash=True)
    assert box.entries.keys() == {*small, large, both} - {small[1]}, "from then on it is as safe as with fsync"


def test_what_it_wrote_at_a_stop_was_synced(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    box.put()
    deeds(box).clear()
    box.store.drain()
    verbs = [verb for verb, name in deeds(box) if name.endswith(".log")]
    assert verbs[:5] == ["create", "write", "sync", "write", "sync"]


def test_records_of_mail_in_the_journal_are_written_and_synced_as_ever(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    first, second, third = (box.put(octets_of(n, 100)) for n in range(3))
    box.again()
    box.store.record(first, DONE)
    box.store.record_synced([(second, later(5))])
    assert deeds(box)[-1][0] == "sync"
    notice = box.put(b"notice", records=[(third, DONE)])
    assert deeds(box)[-1][0] == "sync", "the end of a message in the journal is not left to memory"
    assert box.store.statistics()["in_memory_alone"] == 1
    box.again(crash=True)
    assert box.entries.keys() == {second} and box.store.state(second) == later(5)
    assert box.store.envelope(notice) is None


def test_where_the_record_cannot_be_written_the_notice_is_not_taken_either(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    ident = box.put()
    box.again()
    failing(box)
    with pytest.raises(MachineShort):
        box.put(b"notice", records=[(ident, DONE)])
    assert box.store.page(None, 10) == [ident] and not box.store.state(ident).ended
    assert box.store.statistics()["memory"] == 0


def test_when_memory_is_tight_mail_goes_through_the_journal_and_is_not_refused(tmp_path: Path) -> None:
    box = box_of(tmp_path, limits=Limits(memory=100_000))
    idents = [box.put(octets_of(n, 9000)) for n in range(30)]
    box.store.check_room(9000)
    alone = box.store.statistics()["in_memory_alone"]
    assert alone == 50_000 // (9000 + EACH) + 1
    assert box.store.statistics()["memory"] <= 80_000 + 9000 + EACH
    draft = box.store.draft()
    draft.write(octets_of(30, 20_000))
    assert draft.in_file
    idents.append(box.put(draft))
    for n, ident in enumerate(idents):
        assert box.content(ident) == octets_of(n, 20_000 if n == 30 else 9000)
    for n, ident in enumerate(idents[:4]):
        box.store.record(ident, later(n + 1))
    box.again(crash=True)
    assert box.entries.keys() == set(idents[alone:])
    assert box.store.statistics()["memory"] == 0


def test_memory_comes_back_as_messages_end(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    idents = [box.put(b"x" * 1000) for _ in range(4)]
    assert box.store.statistics()["memory"] == 4 * (1000 + EACH)
    box.store.release_body(idents[0])
    assert box.store.statistics()["memory"] == 4 * (1000 + EACH), "released or not, it is nowhere else"
    box.store.record(idents[0], DONE)
    box.store.record_synced([(idents[1], DONE)])
    assert box.store.statistics()["memory"] == 2 * (1000 + EACH)
    box.store.drain()
    assert box.store.statistics()["memory"] == 0


def test_mail_is_refused_where_an_orderly_stop_could_not_write_it(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    assert isinstance(box.disk, TellingDisk)
    box.disk.room = Space(free=100_000, total=1_000_000, inodes=-1)
    box.store.check_room(60_000)
    box.put(b"x" * 60_000)
    with pytest.raises(MachineShort) as caught:
        box.store.check_room(60_000)
    assert caught.value.code == 452


def test_a_stop_on_a_disk_that_fails_keeps_what_it_could_not_write(tmp_path: Path) -> None:
    box = box_of(tmp_path, inline_limit=8 * KIB)
    idents = {box.put(b"x" * 1000), box.put(b"y" * 20 * KIB)}
    failing(box, errno.ENOSPC)
    with pytest.raises(MachineShort) as caught:
        box.store.drain()
    assert caught.value.code == 452
    assert set(box.store.page(None, 10)) == idents
    assert [len(box.content(ident)) for ident in sorted(idents)] in (
        [1000, 20480],
        [20480, 1000],
    )
    working(box)
    box.again()
    assert box.entries.keys() == idents


def test_a_large_one_written_out_and_ended_leaves_no_file(tmp_path: Path) -> None:
    box = box_of(tmp_path, inline_limit=8 * KIB)
    ident = box.put(b"x" * 20 * KIB)
    assert box.store.drain_seconds == (20 * KIB + EACH) / 50_000_000
    box.store.drain()
    assert box.store.drain_seconds == 0.0
    assert [path.name for path in (tmp_path / "slot-000" / "bodies").iterdir()] == [ident.hex()]
    box.store.record(ident, DONE)
    box.store.drain()
    assert not list((tmp_path / "slot-000" / "bodies").iterdir())


def test_what_comes_after_an_orderly_stop_has_begun_goes_into_the_journal(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    before = box.put()
    box.store.drain()
    after = box.put(b"notice", records=[(before, DONE)])
    box.again(crash=True)
    assert box.entries.keys() == {after}


def test_a_slot_taken_over_is_read_and_kept_as_ever(tmp_path: Path) -> None:
    other = box_of(tmp_path)
    theirs = other.put(b"theirs")
    heir = Box(tmp_path, durability="memory")
    heir.start()
    other.stop()
    ours = heir.put(b"ours")
    assert [entry.ident for entry in heir.store.adopt(tmp_path / "slot-000")] == [theirs]
    assert heir.store.read(theirs).parts == [b"prefix", b"theirs"]
    assert heir.store.page(None, 10) == sorted([theirs, ours])
    heir.crash()


def test_a_record_made_while_its_message_is_written_out_is_not_lost(tmp_path: Path) -> None:
    box = box_of(tmp_path, threaded=True)
    finished([tasks.spawn(box.put) for _ in range(50)])
    idents = box.store.page(None, 100)
    work = [tasks.spawn(box.store.drain)]
    tasks.sleep(0)  # the drain waits for the journal now
    for ident in idents[:10]:
        box.store.record(ident, DONE)
    for ident in idents[10:20]:
        box.store.record(ident, later(8))
    finished(work)
    box.again()
    assert box.entries.keys() == set(idents[10:])
    assert all(box.store.state(ident).version >= 8 for ident in idents[10:20])
    box.stop()
