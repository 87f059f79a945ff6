"""Recovery: indexes are read, tails settled once, damage shown, and nothing comes back that had ended."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.mail import envelope as envelopes
from fastrelay.mail import state as states
from fastrelay.mail.state import State, Waiting
from fastrelay.metrics import Counts
from fastrelay.spool import scan as scanning
from fastrelay.spool.format import DONE as DONE_FRAME
from fastrelay.spool.format import MESSAGE, UPDATE
from fastrelay.spool.frames import Frame
from fastrelay.spool.trip import Group
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, envelope, flip, frames, later, octets_of, told


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), segment_size=128 * KIB, counts=Counts())
    box.start()
    return box


def found_damaged(box: Box) -> int:
    """Messages, as the metric counts them."""
    assert isinstance(box.counts, Counts)
    return box.counts.quarantined


def contents(box: Box) -> set[bytes]:
    return {b"".join(box.store.read(ident).parts[1:]) for ident in box.store.page(None, 10_000)}


# -- restarts -------------------------------------------------------------------------------------------------------


def test_a_drained_spool_starts_from_its_indexes_alone(box: Box) -> None:
    idents = box.fill(100)
    for ident in idents[:20]:
        box.store.record(ident, DONE)
    box.store.record(idents[50], later())
    box.stop()
    assert len(box.files(".log")) == len(box.files(".index")) >= 4
    told(box).octets_read = 0
    told(box).deeds.clear()
    box.start()
    assert box.entries.keys() == set(idents[20:]) and box.store.state(idents[50]) == later()
    assert told(box).octets_read < 100 * 1000, "no body was read"
    assert told(box).deeds == [], "nothing was written"


@pytest.mark.interpreted
def test_only_what_is_unsealed_is_scanned(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    idents = box.fill(100)
    scanned: list[int] = []
    real = scanning.scan

    def count(read: Callable[[int, int], bytes], size: int, header: object) -> scanning.Scan:
        scanned.append(size)
        return real(read, size, header)  # type: ignore[arg-type]

    monkeypatch.setattr("fastrelay.spool.recovery.scan", count)
    box.again(crash=True)
    assert len(scanned) == 1 and box.entries.keys() == set(idents)
    box.again()
    assert len(scanned) == 1, "a scanned segment got an index"
    assert contents(box) == {octets_of(n, 5000) for n in range(100)}


@pytest.mark.parametrize("harm", ["remove", "cut", "flip start", "flip end"])
def test_an_index_is_rebuildable(box: Box, harm: str) -> None:
    idents = box.fill(100)
    for ident in idents[:20]:
        box.store.record(ident, DONE)
    box.stop()
    for path in box.files(".index"):
        if harm == "remove":
            path.unlink()
        elif harm == "cut":
            os.truncate(path, path.stat().st_size - 9)
        else:
            flip(path, 40 if harm == "flip start" else path.stat().st_size - 100)
    box.start()
    assert box.entries.keys() == set(idents[20:]) and not box.notes
    assert contents(box) == {octets_of(n, 5000) for n in range(20, 100)}


# -- the tail -------------------------------------------------------------------------------------------------------


def test_a_batch_whose_sync_nobody_saw_is_written_again_before_anything_else(box: Box) -> None:
    (first,) = box.fill(1)
    box.store.record(first, later())
    second = box.put(octets_of(1, 5000))
    box.crash()
    old = box.files()
    told(box).deeds.clear()
    store = box.open()
    store.recover()
    fresh = [path for path in box.files() if path not in old]
    assert len(fresh) == 1 and ("sync", fresh[0].name) in told(box).deeds
    again = frames(fresh[0], box)
    assert [(frame.kind, frame.ident, frame.copy) for frame in again] == [(1, second, 1), (2, first, 0)]
    box.entries = {entry.ident: entry for entry in store.load()}
    octets = old[0].read_bytes()
    old[0].write_bytes(octets[:128] + bytes(len(octets) - 128))  # what was in the tail does not depend on it any more
    assert box.store.read(second).parts[1] == octets_of(1, 5000)
    assert box.store.state(first) == later()


def test_ended_mail_of_the_tail_stays_ended_when_its_copy_is_gone_and_the_index_of_its_first_segment_lost(
    box: Box,
) -> None:
    """Indexes are not synced: after a power loss the first segment may be scanned again, years later as well."""
    kept = box.fill(10)  # keeps the first segment
    last = box.put()
    box.again(crash=True)
    box.store.record_synced([(last, DONE)])
    for _ in range(3):  # the copy, and whatever its DONE was written into
        for ident in box.fill(40):
            box.store.record(ident, DONE)
        box.put()
        box.store.free_segments()
    old, *_ = box.files()
    others = [frame for path in box.files()[1:] for frame in frames(path, box) if frame.ident == last]
    assert [frame.kind for frame in others] == [DONE_FRAME], "its copy is gone, what keeps it down is not"
    old.with_suffix(".index").unlink()
    box.again(crash=True)
    assert set(kept) <= box.entries.keys() and last not in box.entries


def test_what_a_lost_record_proved_synced_is_there_though_the_index_that_says_so_is_damaged(box: Box) -> None:
    """A record written without a sync says that the message before it is synced. After a kill it was believed and an
    index written; then the power took the record and a block of the index."""
    first, second = box.fill(2)
    box.store.record(first, later())
    box.store._committer.write_records()
    box.crash()
    (log,) = box.files()
    record = frames(log, box)[-1]
    box.start()
    os.truncate(log, record.offset)
    flip(log.with_suffix(".index"), log.with_suffix(".index").stat().st_size - 20)
    box.again(crash=True)
    assert box.entries.keys() == {first, second}
    assert contents(box) == {octets_of(0, 5000), octets_of(1, 5000)}


def test_an_index_longer_than_its_log_is_no_damage_when_nothing_in_it_is_missing(box: Box) -> None:
    idents = box.fill(3)
    box.store.record(idents[0], later())
    box.store._committer.write_records()
    (log,) = box.files()
    box.crash()
    os.truncate(log, log.stat().st_size - 8)  # torn by a kill
    box.start()
    box.notes.clear()
    os.truncate(log, log.stat().st_size - 8)  # and torn further when the power went
    box.again(crash=True)
    assert box.entries.keys() == set(idents) and not box.notes


def test_a_copy_recovery_made_of_ended_mail_stays_ended_when_its_first_segment_is_gone(box: Box) -> None:
    """Its DONE, in another segment, cannot have named the copy: unless it is written again, the copy outlives it."""
    (first,) = box.fill(1)  # alone in the tail: the batch after it fails, so nothing says that it was synced
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "write" else None
    with pytest.raises(MachineShort):
        box.put()
    told(box).fail = lambda verb, name: None
    box.store._committer._retry_at = 0.0
    box.store.record_synced([(first, DONE)])
    stays = box.put(b"the DONE is no longer in the tail")
    box.again(crash=True)
    assert box.entries.keys() == {stays}
    box.fill(15)  # keeps the segment with the copy
    for ident in (stays, *box.fill(60)):
        box.store.record(ident, DONE)
    box.put()
    box.store.free_segments()
    assert not any(path.name in ("segment-0000000001.log", "segment-0000000002.log") for path in box.files())
    for _ in range(2):
        box.again(crash=True)
        assert first not in box.entries


def failing(verb: str) -> Callable[[str, str], OSError | None]:
    return lambda done, name: OSError(errno.EIO, "Input/output error") if done == verb else None


def test_a_crash_during_recovery_changes_nothing(box: Box) -> None:
    idents = box.fill(3)
    box.store.record(idents[0], DONE)
    box.store._committer.write_records()
    box.crash()
    for verb in ("create", "write", "sync", "remove"):
        told(box).fail = failing(verb)
        store = box.open()
        try:
            store.recover()
            list(store.load())
        except Exception as error:
            assert "Temporary failure" in str(error)
        box.crash()
    told(box).fail = lambda done, name: None
    box.start()
    assert box.entries.keys() == set(idents[1:]) and contents(box) == {octets_of(n, 5000) for n in (1, 2)}


def test_a_torn_batch_is_dropped_whole_and_kept_aside_loudly(box: Box) -> None:
    idents = box.fill(3)
    box.crash()
    path = box.files()[0]
    last = frames(path, box)[-1]
    os.truncate(path, last.offset + last.length - 100)
    box.start()
    assert box.entries.keys() == set(idents[:2]), "nobody read 250 for it"
    assert [(kind, fields["reason"]) for kind, fields in box.notes] == [("Quarantine", "torn")]
    assert len(box.quarantine) == 1 and box.quarantine[0].endswith(".torn")
    assert found_damaged(box) == 0
    box.notes.clear()
    box.again()
    assert not box.notes and len(box.entries) == 2, "told once"


# -- damage ---------------------------------------------------------------------------------------------------------


def test_corruption_is_kept_aside_its_recipients_stay_visible_and_the_rest_goes_on(box: Box) -> None:
    idents = box.fill(10)
    box.store.record_synced([(idents[3], later(5))])
    box.crash()
    path = box.files()[0]
    bad = next(frame for frame in frames(path, box) if frame.ident == idents[3])
    flip(path, bad.offset + 79)  # its head CRC
    box.start()
    assert box.entries.keys() == set(idents)
    ((kind, fields),) = box.notes
    assert (kind, fields["reason"], fields["messages"], fields["kept"]) == (
        "Quarantine",
        "corrupt",
        [idents[3].hex()],
        True,
    )
    assert (box.path / "slot-000" / "quarantine" / box.quarantine[0]).stat().st_size == bad.length
    for _ in range(2):
        state, known = box.store.state(idents[3]), box.store.envelope(idents[3])
        assert state.held and state.recipients == later(5).recipients
        assert known is not None and known.recipients[0].address == "person0@destination0.example"
        with pytest.raises(SpoolDamaged):
            box.store.read(idents[3])
        good = [ident for ident in idents if ident != idents[3]]
        assert {box.store.read(ident).parts[1] for ident in good} == {octets_of(n, 5000) for n in range(10) if n != 3}
        box.notes.clear()
        box.again()
        assert not box.notes and found_damaged(box) == 1, "told once"
    box.store.record_synced([(idents[3], DONE)])
    box.again()
    assert idents[3] not in box.entries, "an operator can remove it"


def test_a_log_whose_header_is_lost_is_moved_aside_and_its_mail_shown(box: Box) -> None:
    idents = box.fill(3)
    box.crash()
    path = box.files()[0]
    octets = path.read_bytes()
    path.write_bytes(bytes(128) + octets[128:])
    box.start()
    assert box.entries.keys() == set(idents) and all(box.store.state(ident).held for ident in idents)
    assert not path.exists() and box.quarantine == [f"{path.name}.strange"]
    assert box.notes[0][1]["messages"] == [ident.hex() for ident in idents]
    assert found_damaged(box) == 3
    one_half = box.put(b"one half is enough")
    box.crash()
    (path,) = (path for path in box.files() if path.stat().st_size > 500)
    flip(path, 20)
    box.start()
    assert box.store.read(one_half).parts[1] == b"one half is enough"


def test_a_lost_log_with_its_index_is_damage_not_silence(box: Box) -> None:
    idents = box.fill(60)
    box.stop()
    lost = box.files()[1]
    gone = {frame.ident for frame in frames(lost, box) if frame.kind == 1}
    lost.unlink()
    box.start()
    assert box.entries.keys() == set(idents)
    assert {ident for ident in idents if box.store.state(ident).held} == gone != set()
    ((_, fields),) = box.notes
    assert fields["reason"] == "segment lost, its index is left"
    assert set(fields["messages"]) == {ident.hex() for ident in gone} and found_damaged(box) == len(gone)


def test_a_log_cut_short_loses_only_what_was_cut(box: Box) -> None:
    idents = box.fill(60)
    box.stop()
    path = box.files()[1]
    whole = frames(path, box)
    os.truncate(path, whole[5].offset + 10)
    box.start()
    assert box.entries.keys() == set(idents)
    held = {ident for ident in idents if box.store.state(ident).held}
    assert held == {frame.ident for frame in whole[5:] if frame.kind == 1}
    assert found_damaged(box) == len(held)
    for ident in set(idents) - held:
        box.store.read(ident)


def test_corruption_that_names_no_message_is_counted_as_one(box: Box) -> None:
    box.fill(3)
    box.crash()
    path = box.files()[0]
    second = frames(path, box)[1]
    octets = path.read_bytes()
    path.write_bytes(octets[: second.offset] + bytes(second.length) + octets[second.offset + second.length :])
    box.start()
    assert len(box.entries) == 2 and box.notes[0][1]["messages"] == []
    assert found_damaged(box) == 1


def test_foreign_things_are_left_alone(box: Box) -> None:
    (ident,) = box.fill(1)
    box.stop()
    slot = box.path / "slot-000"
    (slot / "notes.txt").write_text("mine")
    (slot / "segment-1.log").write_text("mine")
    (slot / "segment-0000000077.log").symlink_to("/etc/hostname")
    (slot / "lost+found").mkdir()
    box.start()
    assert box.entries.keys() == {ident} and (slot / "notes.txt").exists() and (slot / "segment-1.log").exists()
    assert box.put() and box.store.read(ident)
    assert box.files()[-1].name == "segment-0000000078.log" or box.quarantine


def test_a_segment_that_was_never_born_is_removed(box: Box) -> None:
    (ident,) = box.fill(1)
    box.stop()
    slot = box.path / "slot-000"
    for n, octets in enumerate((b"", b"fastrly\n", bytes(128)), 90):
        (slot / f"segment-00000000{n}.log").write_bytes(octets)
    box.start()
    assert box.entries.keys() == {ident} and not box.notes
    assert all(int(path.name[8:18]) < 90 for path in box.files())


def test_a_writer_never_appends_to_a_segment_of_an_earlier_life(box: Box) -> None:
    box.fill(1)
    sizes = {path: path.stat().st_size for path in box.files()}
    box.again(crash=True)
    box.fill(1)
    for path, size in sizes.items():
        assert path.stat().st_size == size
    assert len(box.files()) > len(sizes)


def test_unknown_keys_of_an_envelope_survive_copying(box: Box) -> None:
    ident = box.put()
    held = box.store._register.get(ident)
    assert held is not None
    later_key = msgspec.msgpack.encode({**msgspec.msgpack.decode(held.envelope), "tenant": "seven"})
    held.envelope = later_key
    box.store._committer.submit(Group([Frame(MESSAGE, ident, later_key, b"", 0, b"p", (b"c",), 1, copy=3)]))
    box.again(crash=True)  # the tail: copied by recovery
    box.again(crash=True)
    known = box.store._register.get(ident)
    assert known is not None and msgspec.msgpack.decode(known.envelope)["tenant"] == "seven" and known.copy >= 4
    assert envelopes.decode(known.envelope).sender == envelope().sender


def test_newest_tells_when_the_spool_was_last_written(tmp_path: Path) -> None:
    box = Box(tmp_path)
    store = box.start()
    assert store.newest == 0
    box.fill(2)
    assert box.again(crash=True).newest > 1_600_000_000


# -- adoption -------------------------------------------------------------------------------------------------------


def test_an_adopted_slot_is_replayed_with_the_journal_and_ends_in_the_adopters_log(box: Box) -> None:
    other = Box(box.path, segment_size=128 * KIB)
    other.start()
    assert other.slot.number == 1
    mail = other.fill(50)
    large = other.put(octets_of(1, 2_000_000))
    other.store.record_synced([(mail[0], DONE), (mail[1], later(3, recipients=1))])
    other.crash()
    own = box.fill(5)
    entries = {entry.ident: entry for entry in box.store.adopt(box.path / "slot-001")}
    assert entries.keys() == {*mail[1:], large} and entries[mail[1]].state
    assert not (box.path / "slot-001").exists() and (box.path / "slot-000" / "adopted-1").is_dir()
    assert box.store.state(mail[1]) == later(3)
    for _ in range(2):
        assert b"".join(box.store.read(large).parts[1:]) == octets_of(1, 2_000_000)
        assert len(box.store) == 55
        box.again(crash=True)
    box.store.record_synced([(ident, DONE) for ident in (*mail[2:], large)])
    box.again(crash=True)
    assert box.entries.keys() == {*own, mail[1]}
    box.store.record_synced([(mail[1], DONE)])
    box.again()
    box.store.free_segments()
    assert not (box.path / "slot-000" / "adopted-1").exists(), "nothing is left of it"
    box.again()
    assert box.entries.keys() == set(own)


def test_a_slot_somebody_else_took_gives_nothing(box: Box) -> None:
    other = Box(box.path)
    other.start()
    other.fill(1)
    assert list(box.store.adopt(box.path / "slot-001")) == []
    assert list(box.store.adopt(box.path / "slot-007")) == []
    other.stop()
    assert len(list(box.store.adopt(box.path / "slot-001"))) == 1


def test_damage_in_an_adopted_slot_is_shown_there_too(box: Box) -> None:
    other = Box(box.path)
    other.start()
    mail = other.fill(4)
    other.crash()
    path = box.path / "slot-001" / "segment-0000000001.log"
    flip(path, 128 + 70)
    entries = {entry.ident: entry for entry in box.store.adopt(box.path / "slot-001")}
    assert entries.keys() == set(mail) and box.store.state(mail[0]).held
    assert box.notes[0][1]["reason"] == "corrupt"


def test_states_of_many_recipients_survive(box: Box) -> None:
    ident = box.put(recipients=300)
    state = State(7, tuple(Waiting(n, float(n), f"reply {n}") if n % 3 else 1 for n in range(300)), "held by hand")
    box.store.record(ident, state)
    box.again()
    assert box.store.state(ident) == state


def test_a_message_whose_last_state_has_ended_ends_at_the_start(box: Box) -> None:
    ident = box.put()
    update = Frame(UPDATE, ident, b"", states.encode(State(2, (1,))), 2)
    box.store._committer.submit(Group([update]))
    box.again(crash=True)
    assert not box.entries and len(box.store) == 0
    assert any(frame.kind == DONE_FRAME for path in box.files() for frame in frames(path, box))
