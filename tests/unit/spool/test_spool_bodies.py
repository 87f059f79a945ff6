"""Bodies in files: streamed, synced before their frame, never moved, removed after their DONE is safe."""

import errno
from pathlib import Path

import pytest

from fastrelay.config import Limits
from fastrelay.errors import Impossible, MachineShort, SpoolDamaged
from fastrelay.mail.state import State
from fastrelay.metrics import Counts
from fastrelay.runtime import tasks
from fastrelay.spool import bodies
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, finished, later, octets_of, told, until

LARGE = octets_of(7, 300 * KIB)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), inline_limit=100 * KIB)
    box.start()
    return box


def names(box: Box) -> list[str]:
    return sorted(path.name for path in (box.path / "slot-000").glob("**/bodies/*"))


def poured(box: Box, octets: bytes, chunk: int, size_hint: int = 0) -> bodies.Draft:
    draft = box.store.draft(size_hint)
    for start in range(0, len(octets), chunk):
        draft.write(octets[start : start + chunk])
    assert draft.size == len(octets)
    return draft


@pytest.mark.parametrize("chunk", [1, 999, 16 * KIB, 64 * KIB])
@pytest.mark.parametrize("size", [5, 50 * KIB, 100 * KIB, 100 * KIB + 1])
def test_a_draft_comes_back_whole_however_it_was_cut(box: Box, size: int, chunk: int) -> None:
    octets = octets_of(3, size)
    draft = poured(box, octets, chunk)
    assert draft.in_file is (size > 100 * KIB)
    ident = box.put(draft)
    for _ in range(2):
        message = box.store.read(ident)
        assert b"".join(message.parts) == b"prefix" + octets and message.size == size + 6 == message.envelope.size
        box.store.release_body(ident)
        if message.lent:
            box.store.returned(message)
    assert message.lent
    draft.discard()
    assert box.store.statistics()["memory"] == 0
    box.again(crash=True)
    assert b"".join(box.store.read(ident).parts) == b"prefix" + octets


def test_octet_by_octet_costs_no_more_memory_than_the_content(box: Box) -> None:
    draft = poured(box, octets_of(1, 50 * KIB), 1)
    assert len(draft._parts) <= 4


def test_an_announced_size_above_the_limit_goes_to_a_file_from_the_first_block(box: Box) -> None:
    draft = box.store.draft(size_hint=100 * KIB + 1)
    draft.write(b"first")
    assert draft.in_file and box.store.statistics()["memory"] == 0
    draft.discard()
    assert names(box) == []


def test_file_and_directory_are_synced_before_the_frame_that_names_it(box: Box) -> None:
    draft = poured(box, LARGE, 64 * KIB)
    told(box).deeds.clear()
    ident = box.put(draft)
    log = box.files()[0].name
    deeds = [deed for deed in told(box).deeds if deed[1] not in ("slot-000",)]
    draft_name = next(name for verb, name in deeds if name.startswith("draft-"))
    assert deeds[deeds.index(("sync", draft_name)) :] == [
        ("sync", draft_name),
        ("rename", ident.hex()),
        ("sync", "bodies"),
        ("create", log),
        ("write", log),
        ("sync", log),
        ("write", log),
        ("sync", log),
    ]
    assert names(box) == [ident.hex()]
    assert box.files()[0].stat().st_size < 1000, "the frame holds the envelope only"


def test_content_in_one_piece_above_the_limit_goes_to_a_file_too(box: Box) -> None:
    ident = box.put(LARGE)
    assert names(box) == [ident.hex()] and box.store.statistics()["memory"] == 0
    assert b"".join(box.store.read(ident).parts[1:]) == LARGE


@pytest.mark.parametrize("verb", ["create", "write", "sync", "rename"])
def test_a_body_that_cannot_be_kept_leaves_nothing(box: Box, verb: str) -> None:
    told(box).fail = lambda done, name: OSError(errno.ENOSPC, "No space left") if done == verb else None
    draft = box.store.draft()
    with pytest.raises(MachineShort) as caught:
        draft.write(LARGE)
        box.put(draft)
    assert caught.value.code == 452
    draft.discard()
    draft.discard()
    told(box).fail = lambda done, name: None
    assert names(box) == [] and len(box.store) == 0 and box.store.statistics()["memory"] == 0


def test_a_failed_batch_takes_its_body_file_along(box: Box) -> None:
    box.put()
    draft = poured(box, LARGE, 64 * KIB)
    told(box).fail = lambda verb, name: (
        OSError(errno.EIO, "Input/output error") if verb == "sync" and name.endswith(".log") else None
    )
    with pytest.raises(MachineShort):
        box.put(draft)
    draft.discard()
    assert names(box) == []
    told(box).fail = lambda verb, name: None
    box.again(crash=True)  # no ABORT could be written: the frame is there, its body is not
    assert len(box.entries) == 1 and not box.notes


def test_the_file_goes_when_its_done_is_synced_not_before(box: Box) -> None:
    ident = box.put(LARGE)
    box.store.record(ident, DONE)
    assert names(box) == [ident.hex()]
    box.store._committer.write_records()
    assert names(box) == [ident.hex()], "written, not synced: after a power loss the message is back"
    box.put()
    assert names(box) == []
    other = box.put(LARGE)
    box.store.record_synced([(other, DONE)])
    assert names(box) == []


def test_a_sync_that_fails_keeps_the_file_until_the_done_was_written_again(box: Box) -> None:
    ident = box.put(LARGE)
    box.store.record(ident, DONE)
    box.store._committer.write_records()
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "sync" else None
    with pytest.raises(MachineShort):
        box.put()
    assert names(box) == [ident.hex()]
    told(box).fail = lambda verb, name: None
    box.store._committer._retry_at = 0.0
    box.put()
    assert names(box) == []
    box.again(crash=True)
    assert ident not in box.entries


def test_a_start_removes_files_no_frame_names(box: Box) -> None:
    ident, ended = box.put(LARGE), box.put(LARGE)
    poured(box, LARGE, 64 * KIB)  # never committed
    box.store.record_synced([(ended, DONE)])
    folder = box.path / "slot-000" / "bodies"
    (folder / ended.hex()).write_bytes(b"back again")
    (folder / ("ab" * 16)).write_bytes(b"of nobody")
    assert len(names(box)) == 4
    box.again(crash=True)
    assert names(box) == [ident.hex()] and b"".join(box.store.read(ident).parts[1:]) == LARGE


@pytest.mark.parametrize("harm", ["gone", "short", "long", "changed"])
def test_a_damaged_body_is_never_handed_out(box: Box, harm: str) -> None:
    ident, other = box.put(LARGE), box.put(LARGE)
    path = box.path / "slot-000" / "bodies" / ident.hex()
    octets = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"short": octets[:-1], "long": octets + b"x", "changed": b"\xff" + octets[1:]}[harm])
    with pytest.raises(SpoolDamaged):
        box.store.read(ident)
    assert box.store.state(ident).held and [kind for kind, _ in box.notes] == ["Quarantine"]
    assert b"".join(box.store.read(other).parts[1:]) == LARGE


def test_a_message_whose_file_is_gone_at_the_start_stays_visible_and_held(box: Box) -> None:
    ident = box.put(LARGE)
    box.store.record_synced([(ident, later(4))])
    (box.path / "slot-000" / "bodies" / ident.hex()).unlink()
    counts = box.counts = Counts()
    box.again()
    state = box.store.state(ident)
    assert state.held and state.recipients == later(4).recipients and box.entries[ident].state
    assert [fields["messages"] for _, fields in box.notes] == [[ident.hex()]] and counts.quarantined == 1
    with pytest.raises(SpoolDamaged):
        box.store.read(ident)
    box.store.record(ident, State(9, state.recipients))
    box.again()
    assert box.store.state(ident).held


def test_a_draft_in_a_file_has_no_parts(box: Box) -> None:
    draft = box.store.draft()
    draft.write(LARGE)
    with pytest.raises(Impossible):
        draft.take_parts()


def test_with_the_loop_drafts_stream_side_by_side(tmp_path: Path) -> None:
    box = Box(tmp_path, threaded=True, inline_limit=100 * KIB)
    box.start()
    made: dict[bytes, bytes] = {}

    def send(n: int) -> None:
        octets = octets_of(n, 400 * KIB)
        made[box.put(poured(box, octets, 50_000))] = octets

    finished([tasks.spawn(send, n) for n in range(8)])
    assert len(names(box)) == 8
    box.again(crash=True)
    assert {ident: b"".join(box.store.read(ident).parts[1:]) for ident in made} == made
    box.store.record_synced([(ident, DONE) for ident in made])
    until(lambda: not names(box))
    box.stop()


def test_many_drafts_in_files_hold_a_third_of_the_memory_together(tmp_path: Path) -> None:
    limit = 6 * 1024 * KIB
    box = Box(tmp_path, inline_limit=KIB, limits=Limits(memory=limit))
    box.start()
    drafts = [box.store.draft(1024 * KIB) for _ in range(100)]
    most = 0
    for _ in range(20):
        for draft in drafts:
            draft.write(b"x" * 15 * KIB)
            most = max(most, box.store.statistics()["memory"])
    assert most <= limit // 3 + 15 * KIB
    for draft in drafts:
        draft.discard()
    assert box.store.statistics()["memory"] == 0
    lone = box.store.draft(1024 * KIB)
    lone.write(b"x" * KIB)
    for _ in range(15):
        lone.write(b"x" * 16 * KIB)
    assert box.store.statistics()["memory"] == 240 * KIB  # alone it gathers 256
    lone.discard()
