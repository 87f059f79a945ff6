"""The store's promises, one by one, on a real directory with small segments."""

import errno
import threading
from pathlib import Path

import pytest

from fastrelay.config import Limits
from fastrelay.errors import Impossible, MachineShort, MisuseError, SpoolDamaged
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks
from fastrelay.spool.disk import Space
from fastrelay.spool.records import rebased, without
from fastrelay.spool.store import LINGER, Store
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, envelope, finished, later, octets_of, told, until

DELIVERED, FAILED = int(Status.DELIVERED), int(Status.FAILED)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk())
    box.start()
    return box


def no_space(verb: str, name: str) -> OSError | None:
    return OSError(errno.ENOSPC, "No space left on device") if verb == "write" else None


# -- commit ---------------------------------------------------------------------------------------------------------


def test_a_message_comes_back_as_it_was_committed(box: Box) -> None:
    ident = box.put(b"content" * 100, recipients=2)
    for _ in range(2):
        message = box.store.read(ident)
        assert message.parts == [b"prefix", b"content" * 100] and message.size == 706
        assert message.envelope == envelope(2, size=706) == box.store.envelope(ident)
        box.store.release_body(ident)
    box.again(crash=True)
    assert box.store.read(ident) == message
    assert box.entries.keys() == {ident} and box.entries[ident].state is None
    assert box.store.state(ident) == State(0, (Waiting(0, 1000.0), Waiting(0, 1000.0)))


def test_commit_returns_after_the_sync_that_follows_the_write(box: Box) -> None:
    told(box).deeds.clear()
    box.put()
    name = box.files()[0].name
    assert told(box).deeds == [
        ("create", name),
        ("write", name),  # the header
        ("sync", name),
        ("sync", "slot-000"),  # its name is durable before its first batch
        ("write", name),
        ("sync", name),
    ]
    told(box).deeds.clear()
    box.put()
    assert told(box).deeds == [("write", name), ("sync", name)]


def test_with_os_everything_is_written_and_nothing_synced(tmp_path: Path) -> None:
    box = Box(tmp_path, disk=TellingDisk(), durability="os")
    box.start()
    told(box).deeds.clear()
    ident, large = box.put(), box.put(b"x" * 3_000_000)
    assert {verb for verb, _ in told(box).deeds} == {"create", "write", "rename"}
    box.again(crash=True)
    assert box.entries.keys() == {ident, large}


def test_a_failed_commit_leaves_nothing_and_is_void_for_ever(box: Box) -> None:
    kept = box.put(b"kept")
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "sync" else None
    with pytest.raises(MachineShort) as caught:
        box.put(b"lost")
    assert caught.value.code == 451
    assert box.store.page(None, 9) == [kept] and box.store.statistics()["memory"] == len(b"kept")
    told(box).fail = lambda verb, name: None
    box.again(crash=True)  # the octets of the failed batch are all there: only an ABORT can say that they do not count
    assert kept in box.entries


def test_an_abort_keeps_a_failed_batch_void_after_a_crash(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.put(b"first")
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "sync" else None
    with pytest.raises(MachineShort):
        box.put(b"refused")
    told(box).fail = lambda verb, name: None
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 2.0)  # the disk is tried once a second
    box.put(b"second")
    box.again(crash=True)
    assert {box.store.read(ident).parts[1] for ident in box.entries} == {b"first", b"second"}


def test_commit_and_its_records_are_one_batch(box: Box) -> None:
    first = box.put(recipients=2)
    told(box).deeds.clear()
    notice = box.put(b"bounce", records=[(first, State(1, (FAILED, Waiting(1, 9.0))))])
    assert [verb for verb, _ in told(box).deeds] == ["write", "sync"]
    box.again(crash=True)
    assert box.entries.keys() == {first, notice}
    assert box.store.state(first).recipients == (FAILED, Waiting(1, 9.0))
    box.put(b"bounce", records=[(first, State(2, (FAILED, FAILED)))])
    assert box.store.envelope(first) is None
    box.again(crash=True)
    assert first not in box.entries and len(box.entries) == 2


# -- records --------------------------------------------------------------------------------------------------------


def test_a_record_is_known_at_once_and_on_disk_with_the_next_batch(box: Box) -> None:
    waits, ends = box.put(), box.put()
    box.store.record(waits, later())
    box.store.record(ends, DONE)
    assert box.store.state(waits) == later() and box.store.page(None, 9) == [waits] and len(box.store) == 1
    assert box.store.envelope(ends) is None
    with pytest.raises(Impossible):
        box.store.state(ends)
    other = box.put()
    box.again(crash=True)
    assert box.entries.keys() == {waits, other} and box.store.state(waits) == later()


def test_drain_writes_and_syncs_what_rides(tmp_path: Path) -> None:
    box = Box(tmp_path, durability="os")
    box.start()
    idents = [box.put() for _ in range(3000)]  # more than one batch of records takes
    for ident in idents[1:]:
        box.store.record(ident, DONE)
    box.again()
    assert box.entries.keys() == {idents[0]}


def test_record_synced_returns_after_its_sync(box: Box) -> None:
    idents = [box.put() for _ in range(3)]
    told(box).deeds.clear()
    box.store.record_synced([(idents[0], DONE), (idents[1], later(2))])
    assert [verb for verb, _ in told(box).deeds] == ["write", "sync"]
    box.store.record_synced([])
    box.again(crash=True)
    assert box.entries.keys() == set(idents[1:]) and box.store.state(idents[1]).version == 2


def test_what_a_failed_batch_changed_is_taken_back(box: Box) -> None:
    one, two = box.put(recipients=2), box.put()
    box.store.record(one, later(1, recipients=2))
    told(box).fail = no_space
    with pytest.raises(MachineShort):
        box.store.record_synced([(one, State(2, (FAILED, Waiting(1, 5.0)), "held")), (two, DONE)])
    with pytest.raises(MachineShort):
        box.put(b"bounce", records=[(one, State(2, (FAILED, FAILED)))])
    assert box.store.state(one) == later(1, recipients=2)
    assert box.store.state(two).version == 0 and len(box.store) == 2


def test_what_others_changed_meanwhile_stays(box: Box) -> None:
    """One recipient's bounce fails while the other is delivered: the message must not end, nor lose the delivery."""
    ident = box.put(recipients=2)

    def deliver_the_other(verb: str, name: str) -> None:
        if verb == "write":
            told(box).before = lambda verb, name: None
            state = box.store.state(ident)
            assert state.recipients[0] == FAILED, "a change under way is visible"
            box.store.record(ident, State(state.version + 1, (FAILED, DELIVERED)))

    told(box).before = deliver_the_other
    told(box).fail = no_space
    with pytest.raises(MachineShort):
        box.put(b"bounce", records=[(ident, State(1, (FAILED, Waiting(0, 1000.0))))])
    told(box).fail = lambda verb, name: None
    assert box.store.state(ident) == State(3, (Waiting(0, 1000.0), DELIVERED))


def test_an_end_during_a_batch_is_written_when_the_batch_is_over(box: Box) -> None:
    ident = box.put(recipients=2)

    def deliver_the_other(verb: str, name: str) -> None:
        if verb == "write":
            told(box).before = lambda verb, name: None
            box.store.record(ident, State(2, (FAILED, DELIVERED)))

    told(box).before = deliver_the_other
    notice = box.put(b"bounce", records=[(ident, State(1, (FAILED, Waiting(0, 1000.0))))])
    assert box.store.page(None, 9) == [notice]
    box.again()
    assert box.entries.keys() == {notice}


def test_nothing_is_written_on_the_strength_of_a_record_that_may_fail(box: Box) -> None:
    """While a bounce is on its way, the other recipient's end shows in memory only: on disk it would say that the
    bounce was sent."""
    ident = box.put(recipients=2)
    told(box).fail = no_space

    def deliver_the_other(verb: str, name: str) -> None:
        if verb == "write":
            told(box).before = lambda verb, name: None
            box.store.record(ident, State(2, (FAILED, DELIVERED)))
            assert box.store._committer.statistics()["riding"] == 0

    told(box).before = deliver_the_other
    with pytest.raises(MachineShort):
        box.put(b"bounce", records=[(ident, State(1, (FAILED, Waiting(0, 1000.0))))])
    told(box).fail = lambda verb, name: None
    box.store._committer._retry_at = 0.0
    box.again()
    assert box.store.state(ident).recipients == (Waiting(0, 1000.0), DELIVERED)


def test_two_records_of_one_message_in_a_batch_are_a_mistake(box: Box) -> None:
    ident = box.put()
    with pytest.raises(Impossible):
        box.store.record_synced([(ident, later(1)), (ident, later(2))])
    assert box.store.state(ident).version == 0


def test_rebased_carries_a_change_over() -> None:
    before, wanted = State(1, (Waiting(1), Waiting(1))), State(2, (FAILED, Waiting(1)), "held")
    assert rebased(before, before, wanted) is wanted
    assert rebased(State(4, (Waiting(2), DELIVERED)), before, wanted) == State(5, (FAILED, DELIVERED), "held")
    assert rebased(State(4, (Waiting(2), DELIVERED), "x"), before, State(2, (FAILED, Waiting(1)))).held == "x"


def test_without_is_a_three_way_merge() -> None:
    before, failed = State(1, (later().recipients[0], DELIVERED)), State(2, (FAILED, DELIVERED), "held")
    assert without(State(3, (FAILED, DELIVERED), "held"), before, failed) == State(4, before.recipients, "")
    current = State(3, (DELIVERED, DELIVERED), "other")
    assert without(current, before, failed) == State(4, (DELIVERED, DELIVERED), "other")


# -- looking --------------------------------------------------------------------------------------------------------


def test_pages_show_what_is_open_in_order(box: Box) -> None:
    idents = sorted(box.put() for _ in range(10))
    box.store.record(idents[3], DONE)
    del idents[3]
    assert box.store.page(None, 4) == idents[:4] and box.store.page(idents[3], 100) == idents[4:]
    assert len(box.store) == 9


def test_octets_that_changed_on_disk_are_never_handed_out(tmp_path: Path) -> None:
    counts = Counts()
    box = Box(tmp_path, counts=counts)
    box.start()
    good, bad = box.fill(2)
    path = box.files()[0]
    octets = bytearray(path.read_bytes())
    at = octets.rindex(b"00000001")
    octets[at] ^= 1
    path.write_bytes(octets)
    for _ in range(2):
        with pytest.raises(SpoolDamaged, match=bad.hex()):
            box.store.read(bad)
    assert [(kind, fields["messages"]) for kind, fields in box.notes] == [("Quarantine", [bad.hex()])]
    assert counts.quarantined == 1
    assert len(box.quarantine) == 1 and box.quarantine[0].endswith(".corrupt")
    assert box.store.state(bad).held, "visible and held"
    assert box.store.read(good).parts[1] == octets_of(0, 5000)
    box.again()
    assert box.store.state(bad).held and bad in box.entries
    with pytest.raises(SpoolDamaged):
        box.store.read(bad)


def test_a_segment_that_was_deleted_is_damage_and_an_unreadable_disk_is_not(box: Box) -> None:
    (ident,) = box.fill(1)
    box.again()
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "read" else None
    with pytest.raises(MachineShort):
        box.store.read(ident)
    assert not box.notes
    told(box).fail = lambda verb, name: None
    assert box.store.read(ident).parts[1] == octets_of(0, 5000)


# -- room -----------------------------------------------------------------------------------------------------------


def test_min_free_is_kept_and_asked_for_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path, disk=TellingDisk(), min_free=0.05)
    box.start()
    now = clock.now() + 10.0
    box.store._room._now = lambda: now
    told(box).room = Space(6 * KIB * KIB, 100 * KIB * KIB, 1000)
    told(box).asked = 0
    box.store.check_room(1000)
    box.store.check_room(KIB * KIB)
    with pytest.raises(MachineShort) as caught:
        box.store.check_room(KIB * KIB + 1)
    assert (caught.value.code, caught.value.enhanced) == (452, "4.3.1") and told(box).asked == 1
    box.fill(200)  # what was written since counts at once
    with pytest.raises(MachineShort):
        box.store.check_room(200 * KIB)
    now += 1.0
    box.store.check_room(200 * KIB)
    told(box).room = Space(6 * KIB * KIB, 100 * KIB * KIB, 3)
    now += 1.0
    with pytest.raises(MachineShort, match="inodes"):
        box.store.check_room(0)
    told(box).room = Space(6 * KIB * KIB, 100 * KIB * KIB, -1)
    now += 1.0
    box.store.check_room(0)  # a file system that does not count inodes


def test_while_the_disk_fails_mail_gets_452_and_resumes_by_itself(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    told(box).fail = no_space
    with pytest.raises(MachineShort) as first:
        box.put()
    assert first.value.code == 452
    with pytest.raises(MachineShort) as second:
        box.store.check_room(0)
    assert (second.value.code, second.value.enhanced) == (452, "4.3.1")
    assert second.value.text == "Insufficient system storage" and "No space" in second.value.detail
    told(box).fail = lambda verb, name: None
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 2.0)
    ident = box.put()
    box.store.check_room(0)
    box.again(crash=True)
    assert box.entries.keys() == {ident}


def test_the_queue_has_a_limit(tmp_path: Path) -> None:
    box = Box(tmp_path, limits=Limits(max_queue_messages=2))
    box.start()
    ident = box.put()
    box.store.check_room(0)
    box.put()
    with pytest.raises(MachineShort) as caught:
        box.store.check_room(0)
    assert caught.value.code == 452
    box.store.record(ident, DONE)
    box.store.check_room(0)


def test_memory_is_bounded_by_reading_back_and_by_files_never_by_refusing_what_began(tmp_path: Path) -> None:
    box = Box(tmp_path, limits=Limits(memory=100_000))
    box.start()
    idents = [box.put(octets_of(n, 30_000)) for n in range(6)]
    assert box.store.statistics()["memory"] <= 80_000
    assert [box.content(ident) for ident in idents] == [octets_of(n, 30_000) for n in range(6)]
    for ident in idents:
        box.store.release_body(ident)
    drafts = [box.store.draft() for _ in range(2)]
    for draft in drafts:
        draft.write(octets_of(1, 45_000))
    assert [draft.in_file for draft in drafts] == [False, True], "over 80 % at once to a file"
    box.store._budget.take(100_000)
    with pytest.raises(MachineShort) as caught:
        box.store.check_room(0)
    assert (caught.value.code, caught.value.enhanced) == (452, "4.3.1")
    drafts[1].write(octets_of(1, 45_000))
    late = box.store.draft()
    assert late.in_file is False and not late.size
    late.write(b"x")
    assert late.in_file
    for draft in (*drafts, late):
        draft.discard()
    assert box.store.statistics()["memory"] == 100_000
    assert list((tmp_path / "slot-000" / "bodies").iterdir()) == []


def test_a_body_read_back_is_in_the_budget_until_it_is_returned(tmp_path: Path) -> None:
    box = Box(tmp_path, limits=Limits(memory=100_000))
    box.start()
    idents = box.fill(3, 30_000)
    first, second = box.store.read(idents[0]), box.store.read(idents[1])
    assert box.store.statistics()["memory"] == box.store.statistics()["lent"] == first.lent + second.lent > 60_000
    with pytest.raises(MachineShort) as caught:
        box.store.read(idents[2])
    assert (caught.value.code, caught.value.enhanced) == (452, "4.3.1")
    assert not box.store.state(idents[2]).held
    box.store.check_room(0)
    box.store.returned(first)
    box.store.returned(box.store.read(idents[2]))
    box.store.returned(second)
    assert box.store.statistics()["memory"] == box.store.statistics()["lent"] == 0


def test_a_body_larger_than_memory_goes_alone_and_waiting_ones_make_room_for_it(tmp_path: Path) -> None:
    box = Box(tmp_path, limits=Limits(memory=100_000))
    box.start()
    (large,) = box.fill(1, 90_000)
    small = [box.put(b"x" * 1000) for _ in range(5)]
    assert box.store.statistics()["fresh"] == 5
    message = box.store.read(large)
    assert box.store.statistics()["fresh"] == 0, "they are on disk: reading one back costs less"
    with pytest.raises(MachineShort):
        box.store.read(small[0])
    box.store.returned(message)
    assert box.content(small[0]) == b"x" * 1000
    assert box.store.statistics()["memory"] == 0


def test_what_cannot_be_read_is_not_lent(tmp_path: Path) -> None:
    box = Box(tmp_path, disk=TellingDisk())
    box.start()
    ident, damaged = box.fill(2)
    told(box).fail = lambda verb, name: OSError(errno.EIO, "fails") if verb == "read" else None
    with pytest.raises(MachineShort):
        box.store.read(ident)
    told(box).fail = lambda verb, name: None
    box.files()[0].write_bytes(box.files()[0].read_bytes().replace(b"00000001", b"0000000!"))
    with pytest.raises(SpoolDamaged):
        box.store.read(damaged)
    assert box.store.statistics()["memory"] == box.store.statistics()["lent"] == 0


# -- the head -------------------------------------------------------------------------------------------------------


def test_the_head_of_a_message_wherever_it_lies(box: Box) -> None:
    inline, large = box.put(octets_of(1, 5000)), box.put(octets_of(2, 3_000_000))
    for n in range(3):
        for most in (0, 3, 6, 100, 4_000_000):
            assert box.store.head(inline, most) == (b"prefix" + octets_of(1, 5000))[:most], (n, most)
            assert box.store.head(large, most) == (b"prefix" + octets_of(2, 3_000_000))[:most], (n, most)
        if n == 0:
            box.store.release_body(inline)
        else:
            box.again(crash=True)
    assert box.store.statistics()["memory"] == 0
    with pytest.raises(Impossible):
        box.store.head(IdentSource().fresh(), 10)


@pytest.mark.parametrize("size", [5000, 3_000_000])
def test_the_head_of_a_damaged_message_is_not_handed_out(box: Box, size: int) -> None:
    ident = box.put(octets_of(7, size))
    box.store.release_body(ident)
    (path,) = box.files() if size == 5000 else (box.path / "slot-000" / "bodies").iterdir()
    octets = bytearray(path.read_bytes())
    octets[octets.rindex(b"00000007")] ^= 1  # far behind what is asked for
    path.write_bytes(octets)
    with pytest.raises(SpoolDamaged):
        box.store.head(ident, 100)
    assert box.store.state(ident).held


def test_a_body_whose_attempt_does_not_come_leaves_memory(box: Box) -> None:
    old, young = IdentSource().fresh(clock.wall() - LINGER - 1), IdentSource().fresh()
    for ident in (old, young):
        box.put(b"x" * 1000, ident=ident)
    assert box.store.statistics()["memory"] == 2000
    box.store.tick()
    assert box.store.statistics()["memory"] == 1000
    assert box.store.read(old).parts == box.store.read(young).parts == [b"prefix", b"x" * 1000]


# -- start ----------------------------------------------------------------------------------------------------------


def test_a_newer_format_is_refused_and_left_untouched(box: Box) -> None:
    box.fill(3)
    box.stop()
    path = box.files()[0]
    octets = bytearray(path.read_bytes())
    octets[8] = octets[72] = 2
    path.write_bytes(octets)
    before = {file: file.read_bytes() for file in box.path.rglob("*") if file.is_file()}
    told(box).deeds.clear()
    with pytest.raises(MisuseError, match="newer release"):
        box.open()
    assert {file: file.read_bytes() for file in box.path.rglob("*") if file.is_file()} == before
    assert told(box).deeds == []


def test_a_spool_we_may_not_read_is_told_in_one_line(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.fill(1)
    box.stop()

    def refused(path: str) -> list[object]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(box.disk, "list", refused)
    with pytest.raises(MisuseError, match="cannot read"):
        box.open()


def test_recover_and_load_come_once(box: Box) -> None:
    with pytest.raises(Impossible):
        box.store.recover()
    with pytest.raises(Impossible):
        list(box.store.load())


def test_batches_are_counted(tmp_path: Path) -> None:
    counts = Counts()
    box = Box(tmp_path, counts=counts)
    box.start()
    box.fill(3)
    assert counts.spool_commit_messages.total == sum(counts.spool_commit_seconds.counts) == 3


# -- with the journal's thread --------------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), threaded=True)
    box.start()
    return box


def test_many_tasks_share_a_sync(live: Box) -> None:
    told(live).deeds.clear()
    finished([tasks.spawn(live.put) for _ in range(200)])
    assert len(live.store) == 200
    assert sum(verb == "sync" for verb, _ in told(live).deeds) < 100
    live.again()
    assert len(live.entries) == 200
    live.stop()


def test_a_record_is_written_by_itself_and_synced_within_completion_sync(tmp_path: Path) -> None:
    live = Box(tmp_path, disk=TellingDisk(), threaded=True, completion_sync=0.05)
    live.start()
    ident = live.put()
    told(live).deeds.clear()
    live.store.record(ident, later())
    until(lambda: [verb for verb, _ in told(live).deeds] == ["write", "sync"])
    live.again(crash=True)
    assert live.store.state(ident) == later()
    live.stop()


def test_a_second_batch_of_a_message_waits_for_the_first(live: Box) -> None:
    ident, other = live.put(recipients=2), live.put()
    records = live.store._records
    records.take_off(ident)  # as while it is copied
    waiting = tasks.spawn(live.store.record_synced, [(ident, State(1, (FAILED, Waiting(0, 1000.0)))), (other, DONE)])
    tasks.sleep(0)  # it has read how things are, and waits
    live.store.record(ident, State(3, (Waiting(0, 1000.0), DELIVERED)))
    told(live).deeds.clear()
    live.put()
    assert not waiting.dead and live.store.state(ident).recipients == (Waiting(0, 1000.0), DELIVERED)
    live.store.record(other, DONE)  # ended by somebody else meanwhile
    records.landed(ident)
    finished([waiting])
    assert live.store.envelope(ident) is None and live.store.envelope(other) is None
    live.again()
    assert len(live.entries) == 1
    live.stop()


def test_a_killed_task_whose_message_is_on_its_way_commits_it_whole(live: Box) -> None:
    held, go_on = threading.Event(), threading.Event()

    def stop_there(verb: str, name: str) -> None:
        if verb == "sync" and name.endswith(".log"):
            held.set()
            go_on.wait(30)

    live.put()
    ends: list[str] = []

    def work() -> None:
        live.put(b"on its way")
        ends.append("committed")
        tasks.sleep(30)
        ends.append("never")

    told(live).before = stop_there
    task = tasks.spawn(work)
    until(held.is_set)
    tasks.kill(task)
    tasks.sleep(0.01)
    assert not ends and not task.dead
    go_on.set()
    finished([task])
    assert ends == ["committed"] and len(live.store) == 2
    live.stop()


def test_a_cold_read_does_not_stop_the_loop(live: Box) -> None:
    (ident,) = live.fill(1)
    told(live).cold = True
    seen: list[str] = []
    real = live.disk.read

    def slow(fd: int, size: int, offset: int, *, nowait: bool = False) -> bytes:
        if not nowait:
            seen.append(threading.current_thread().name)
        return real(fd, size, offset, nowait=nowait)

    live.disk.read = slow  # type: ignore[method-assign]
    assert live.store.read(ident).parts[1] == octets_of(0, 5000)
    assert seen and seen[0] != threading.main_thread().name
    live.stop()


def test_loading_gives_others_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path, threaded=True)
    box.start()
    finished([tasks.spawn(box.fill, 50, 200) for _ in range(20)])
    box.stop()
    store: Store = box.open()
    store.recover()
    new = box.put(b"new")
    monkeypatch.setattr("fastrelay.spool.recovery.SLICE", 0.0)
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    ticker = tasks.Ticker(0.001, count)
    loaded = {entry.ident for entry in store.load()}
    ticker.close()
    assert len(loaded) == 1000 and new not in loaded and len(store) == 1001, "mail comes in before the backlog is there"
    assert turns >= 10 and store.progress > 0
    box.stop()
