"""Freeing: what is needed goes forward, then the file, then what the file pinned; never anything else."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.errors import SpoolDamaged
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.spool.disk import Space
from fastrelay.spool.format import ABORT, MESSAGE, UPDATE, segment_header
from fastrelay.spool.format import DONE as DONE_FRAME
from fastrelay.spool.frames import split_marks
from fastrelay.spool.freeing import MANY, worth
from fastrelay.spool.segment import Segment
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, flip, frames, later, octets_of, told, until

DELIVERED = int(Status.DELIVERED)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), segment_size=128 * KIB)
    box.start()
    return box


def check(box: Box, mail: dict[bytes, int]) -> None:
    """Exactly this mail is here, whole: now and after two more starts."""
    for _ in range(3):
        assert set(box.store.page(None, 100_000)) == mail.keys()
        for ident, n in mail.items():
            assert box.store.read(ident).parts[1] == octets_of(n, 5000)
        box.again()
    assert not box.notes


def segments(*rows: tuple[int, int]) -> list[Segment]:
    """Closed segments of (size, live)."""
    made = []
    for n, (size, live) in enumerate(rows):
        segment = Segment(segment_header(n, n.to_bytes(16, "big"), 1.0), "slot", size)
        segment.live, segment.closed = live, True
        made.append(segment)
    return made


def test_worth_is_a_quarter_or_less_of_open_mail() -> None:
    some = segments((1000, 600), (1000, 250), (1000, 251))
    assert worth(some, 0, 1000, short=False) is some[1]
    some[1].postponed = 10
    assert worth(some, 9, 1000, short=False) is None
    assert worth(some, 10, 1000, short=False) is some[1]
    some[1].closed = False
    assert worth(some, 10, 1000, short=False) is None
    assert worth(some, 10, 1000, short=True) is some[2], "where space is short three quarters will do"
    assert worth([], 0, 1000, short=True) is None


def test_many_segments_with_next_to_nothing_are_gathered_up() -> None:
    few = segments(*[(100, 60)] * MANY)
    assert worth(few, 0, 1000, short=False) is None
    many = segments(*[(100, 60)] * (MANY + 1))
    assert worth(many, 0, 1000, short=False) is not None
    assert worth(segments(*[(1000, 600)] * (MANY + 1)), 0, 1000, short=False) is None


def test_a_segment_of_ended_mail_is_unlinked_index_first_each_synced(box: Box) -> None:
    idents = box.fill(60)
    for ident in idents:
        box.store.record(ident, DONE)
    box.put()
    first = box.files()[0].name
    told(box).deeds.clear()
    box.store.free_segments()
    index = first.replace(".log", ".index")
    at = told(box).deeds.index(("remove", index))
    assert told(box).deeds[at : at + 4] == [
        ("remove", index),
        ("sync", "slot-000"),
        ("remove", first),
        ("sync", "slot-000"),
    ]
    assert box.store.statistics()["freed"] >= 2 and first not in {path.name for path in box.files()}
    box.again(crash=True)
    assert len(box.entries) == 1


def test_open_mail_goes_forward_with_its_state_and_everything_else_goes(box: Box) -> None:
    idents = box.fill(80)
    mail = {ident: n for n, ident in enumerate(idents) if n % 5 == 0}
    for ident in idents:
        if ident not in mail:
            box.store.record(ident, DONE)
    box.store.record(idents[0], later(3))
    box.put(prefix=b"last")
    before = box.store.statistics()
    box.store.free_segments()
    after = box.store.statistics()
    assert after["freed"] >= 3 and after["segment_octets"] < before["segment_octets"] / 2
    assert box.store.state(idents[0]) == later(3)
    found = [frame for path in box.files() for frame in frames(path, box)]
    copies = [frame for frame in found if frame.ident == idents[0] and frame.kind == MESSAGE]
    assert [(frame.copy, bool(frame.state)) for frame in copies] == [(1, True)]
    for ident in box.store.page(None, 1000):
        if ident not in mail:
            box.store.record(ident, DONE)
    check(box, mail)
    assert box.store.state(idents[0]) == later(3)


def test_an_update_whose_message_lies_elsewhere_goes_forward(box: Box) -> None:
    stays = box.fill(20)  # a segment full of open mail
    ended = box.fill(20)
    box.store.record(stays[3], later(5))
    ended += box.fill(40)
    for ident in ended:
        box.store.record(ident, DONE)
    box.put(b"closes the batch of records")
    box.store.free_segments()
    update_lay_in = [path for path in box.files() for f in frames(path, box) if f.ident == stays[3] and f.kind == 2]
    assert len(update_lay_in) == 1
    box.again(crash=True)
    assert box.store.state(stays[3]) == later(5)


def test_a_done_lives_as_long_as_a_segment_it_names(box: Box) -> None:
    first = box.fill(25)
    keep, end = first[:20] + first[24:], first[20:24]
    rest = box.fill(50)
    for ident in end:
        box.store.record(ident, DONE)
    rest += box.fill(50)
    for ident in rest:
        box.store.record(ident, DONE)
    box.put()
    box.store.free_segments()
    assert box.store.statistics()["freed"] >= 3
    done = {f.ident: f for path in box.files() for f in frames(path, box) if f.kind == DONE_FRAME}
    assert set(end) <= done.keys(), "their messages are still in the first segment"
    assert all(len(split_marks(done[ident].envelope)) == 1 for ident in end)
    box.again(crash=True)
    assert not set(end) & box.entries.keys()
    for ident in keep:
        box.store.record(ident, DONE)
    box.put()
    box.again()
    box.store.free_segments()
    left = {f.ident for path in box.files() for f in frames(path, box) if f.kind == DONE_FRAME}
    assert not left & set(end), "and gone when it is gone"


@pytest.mark.parametrize("verb", ["remove", "sync"])
def test_while_the_unlink_is_not_durable_the_file_counts_as_there(box: Box, verb: str) -> None:
    idents = box.fill(60)
    for ident in idents[2:]:
        box.store.record(ident, DONE)
    box.put()
    logs = {path: path.read_bytes() for path in box.files()}
    told(box).fail = lambda done, name: (
        OSError(errno.EIO, "Input/output error") if done == verb and (name == "slot-000" or done == "remove") else None
    )
    box.store.free_segments()
    assert box.store.statistics()["freed"] == 0
    told(box).fail = lambda done, name: None
    box.store.record_synced([(idents[0], DONE)])
    done = [f for path in box.files() for f in frames(path, box) if f.kind == DONE_FRAME and f.ident == idents[0]]
    assert len(split_marks(done[-1].envelope)) == 2, "both copies are named"
    for path, octets in logs.items():
        path.write_bytes(octets) if not path.exists() else None
    box.again(crash=True)  # as after a power loss: the files are back
    assert idents[0] not in box.entries and idents[1] in box.entries and len(box.entries) == 2
    box.store.free_segments()
    assert box.store.read(idents[1]).parts[1] == octets_of(1, 5000)


def test_files_that_reappear_after_an_unlink_change_nothing(box: Box) -> None:
    idents = box.fill(80)
    mail = {ident: n for n, ident in enumerate(idents) if n % 8 == 0}
    for ident in idents:
        if ident not in mail:
            box.store.record(ident, DONE)
    box.put()
    logs = {path: path.read_bytes() for path in [*box.files(), *box.files(".index")]}
    box.store.free_segments()
    gone = [path for path in logs if not path.exists()]
    assert len(gone) >= 4
    box.crash()
    for path in gone:
        path.write_bytes(logs[path])
    box.start()
    for ident in box.store.page(None, 1000):
        if ident not in mail:
            box.store.record(ident, DONE)
    check(box, mail)


def test_an_abort_lives_as_long_as_its_segment(box: Box) -> None:
    keep = box.fill(3)
    told(box).fail = lambda verb, name: OSError(errno.EIO, "Input/output error") if verb == "sync" else None
    with pytest.raises(Exception, match="Temporary"):
        box.put(b"void")
    told(box).fail = lambda verb, name: None
    box.store._committer._retry_at = 0.0
    ended = box.fill(60)
    for ident in ended:
        box.store.record(ident, DONE)
    box.put(b"last")
    box.store.free_segments()
    aborts = [frame for path in box.files() for frame in frames(path, box) if frame.kind == ABORT]
    assert box.store.statistics()["freed"] >= 1 and len(aborts) == 1
    box.again(crash=True)
    assert len(box.entries) == 4 and keep[0] in box.entries


def test_a_message_that_ends_while_it_is_copied_stays_ended(box: Box) -> None:
    idents = box.fill(60)
    for ident in idents[1:]:
        box.store.record(ident, DONE)
    box.put()
    seen: list[State] = []

    def deliver(verb: str, name: str) -> None:
        if verb == "write" and box.store._records.is_in_flight(idents[0]) and not seen:
            seen.append(box.store.state(idents[0]))
            box.store.record(idents[0], State(4, (DELIVERED,)))

    told(box).before = deliver
    box.store.free_segments()
    told(box).before = lambda verb, name: None
    assert seen and idents[0] not in box.store.page(None, 10)
    box.again()
    assert idents[0] not in box.entries
    found = [frame for path in box.files() for frame in frames(path, box) if frame.ident == idents[0]]
    assert [frame.copy for frame in found if frame.kind == MESSAGE] == [1], "the copy was written"
    (done,) = (frame for frame in found if frame.kind == DONE_FRAME)
    assert len(split_marks(done.envelope)) == 2, "the end names it and the one before"


def test_a_record_while_it_is_copied_wins(box: Box) -> None:
    idents = box.fill(60)
    for ident in idents[1:]:
        box.store.record(ident, DONE)
    box.put()

    def defer(verb: str, name: str) -> None:
        if verb == "write" and box.store._records.is_in_flight(idents[0]) and not box.store.state(idents[0]).version:
            box.store.record(idents[0], later(6))

    told(box).before = defer
    box.store.free_segments()
    told(box).before = lambda verb, name: None
    for crash in (False, True):
        assert box.store.state(idents[0]) == later(6)
        box.again(crash=crash)


@pytest.mark.parametrize("written", [False, True])
def test_what_supersedes_a_record_is_synced_before_its_segment_goes(box: Box, written: bool) -> None:
    """Else the newer state would be lost with the power, and the older one with the segment."""
    stays = box.fill(25)  # fills the first segment
    ended = box.fill(3)
    box.store.record(stays[3], later(5))
    ended += box.fill(60)
    for ident in ended:
        box.store.record(ident, DONE)
    box.put()
    box.store.record(stays[3], later(6))
    if written:
        box.store._committer.write_records()
    holder = next(p for p in box.files() for f in frames(p, box) if f.ident == stays[3] and f.version == 5)
    told(box).deeds.clear()
    box.store.free_segments()
    assert not holder.exists()
    before = told(box).deeds[: told(box).deeds.index(("remove", holder.name))]
    assert [verb for verb, name in before if name == box.files()[-1].name][-1:] == ["sync"]
    box.again(crash=True)
    assert box.store.state(stays[3]) == later(6)


def test_damage_found_while_copying_is_quarantined_and_the_message_stays_visible(box: Box) -> None:
    idents = box.fill(60)
    for ident in idents[2:]:
        box.store.record(ident, DONE)
    box.put()
    path = box.files()[0]
    flip(path, path.read_bytes().index(b"00000001" * 4))
    box.store.free_segments()
    assert not path.exists() and len(box.quarantine) == 1
    for _ in range(2):
        assert box.store.read(idents[0]).parts[1] == octets_of(0, 5000)
        assert box.store.state(idents[1]).held and box.store.envelope(idents[1])
        with pytest.raises(SpoolDamaged):
            box.store.read(idents[1])
        box.again()


def test_a_body_file_is_not_moved_when_its_message_is(tmp_path: Path) -> None:
    box = Box(tmp_path, disk=TellingDisk(), segment_size=128 * KIB, inline_limit=50 * KIB)
    box.start()
    ident = box.put(octets_of(1, 200 * KIB))
    for ended in box.fill(60):
        box.store.record(ended, DONE)
    box.put()
    path = tmp_path / "slot-000" / "bodies" / ident.hex()
    inode = path.stat().st_ino
    box.store.free_segments()
    assert not (tmp_path / "slot-000" / "segment-0000000001.log").exists()
    box.again(crash=True)
    assert path.stat().st_ino == inode and b"".join(box.store.read(ident).parts[1:]) == octets_of(1, 200 * KIB)


def test_pinned_beyond_its_worth_is_put_off(box: Box) -> None:
    box.fill(25)
    many = [box.put(b"", prefix=b"") for _ in range(400)]
    box.put(octets_of(0, 60_000))
    ends = box.store.statistics()["segments"]
    for ident in many:
        box.store.record(ident, DONE)
    box.fill(60)
    assert ends and box.store.free_segments() is None
    box.again(crash=True)
    assert not set(many) & box.entries.keys()


def test_freeing_waits_for_the_backlog(box: Box) -> None:
    idents = box.fill(60)
    for ident in idents:
        box.store.record(ident, DONE)
    box.stop()
    store = box.open()
    store.recover()
    store.free_segments()
    assert store.statistics()["freed"] == 0
    list(store.load())
    store.free_segments()
    assert store.statistics()["freed"] >= 2


def test_a_small_file_system_is_enough(tmp_path: Path) -> None:
    """Ten times what is there at once goes through: segments shrink, and are freed as mail leaves."""
    disk = TellingDisk()
    box = Box(tmp_path, disk=disk, segment_size=64 * KIB * KIB, durability="os")

    def left() -> Space:
        used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        return Space(4 * KIB * KIB - used, 4 * KIB * KIB, -1)

    disk.space = lambda path: left()  # type: ignore[method-assign]
    box.start()
    for _ in range(80):
        assert left().free > 0
        for ident in box.fill(100):
            box.store.record(ident, DONE)
        box.store.free_segments()
    box.again(crash=True)
    assert box.store.statistics()["segment_octets"] < 4 * KIB * KIB


def test_with_the_loop_it_happens_by_itself(tmp_path: Path) -> None:
    box = Box(tmp_path, threaded=True, segment_size=128 * KIB)
    box.start()
    idents = box.fill(100)
    mail = {ident: n for n, ident in enumerate(idents) if n % 10 == 0}
    for ident in idents:
        if ident not in mail:
            box.store.record(ident, DONE)
    until(lambda: box.store.statistics()["freed"] >= 3)
    check(box, mail)
    box.stop()


def test_expired_and_waiting_recipients_go_forward_as_they_are(box: Box) -> None:
    ident = box.put(octets_of(0, 5000), recipients=3)
    state = State(2, (DELIVERED, Waiting(3, 77.0, "450 4.2.0 busy", 1), int(Status.EXPIRED)), "why")
    box.store.record(ident, state)
    for ended in box.fill(60):
        box.store.record(ended, DONE)
    box.put()
    box.store.free_segments()
    assert box.store.statistics()["forwarded_octets"] > 5000
    box.again(crash=True)
    assert box.store.state(ident) == state


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Box]:
    """A threaded slot whose disk can be filled: `fill_up`."""
    box = Box(tmp_path, disk=TellingDisk(), threaded=True, segment_size=128 * KIB)
    box.start()
    yield box
    box.crash()


def fill_up(box: Box) -> None:
    told(box).fail = lambda verb, name: OSError(errno.ENOSPC, "full") if verb == "write" else None


def test_after_a_full_disk_what_is_not_needed_goes_though_nothing_new_comes(full: Box) -> None:
    """New mail is refused until there is room, so no octet is written that freeing could wait for."""
    store = full.store
    idents = full.fill(30)
    for ident in idents:
        store.record(ident, later())
    until(lambda: store.statistics()["riding"] == 0)
    idents += full.fill(40)
    segments = store.statistics()["segments"]
    assert segments > 2
    fill_up(full)
    for ident in idents:
        store.record(ident, DONE)
    looked = told(full).octets_read
    until(lambda: store.statistics()["riding"] == 70 and (store.tick() or told(full).octets_read > looked))
    told(full).fail = lambda verb, name: None
    until(lambda: store.tick() or store.statistics()["freed"] >= segments - 1, 10.0)
    check(full, {})


def test_on_a_full_disk_segments_of_ended_mail_go_without_a_record(full: Box) -> None:
    """Each unlink makes room for the records that could not be written: a full spool empties by itself."""
    store = full.store
    idents = []
    for _ in range(60):
        idents += full.fill(1)
        store.record(idents[-1], later())
        until(lambda: store.statistics()["riding"] == 0)
    segments = store.statistics()["segments"]
    assert segments > 2
    fill_up(full)
    for ident in idents:
        store.record(ident, DONE)
    until(lambda: store.tick() or store.statistics()["freed"] >= segments - 1, 10.0)
    assert store.statistics()["riding"] == 60
    full.crash()
    told(full).fail = lambda verb, name: None
    full.start()
    left = set(full.entries)
    assert left < set(idents) and len(left) < 30, "only what lay in the open segment comes again"
    assert not full.notes


def test_a_state_whose_older_copy_may_come_back_does_not_go_before_its_record(box: Box) -> None:
    """Copied forward, but the old segment cannot be unlinked: it would ask for the state after a crash."""
    store = box.store
    ident = box.put(octets_of(0, 5000), recipients=2)
    first = box.files()[0].name

    def stays(verb: str, name: str) -> OSError | None:
        return OSError(errno.EBUSY, "busy") if (verb, name) == ("remove", first) else None

    told(box).fail = stays
    for one in box.fill(30):
        store.record(one, DONE)
    box.fill(25)  # what ended is recorded in a segment of its own
    store.free_segments()
    half = State(1, (DELIVERED, Waiting(1, 5.0, "451 later")))
    store.record(ident, half)
    box.put()
    copied = box.files()[-1]
    assert [(frame.kind, frame.copy) for frame in frames(copied, box) if frame.ident == ident] == [
        (MESSAGE, 1),
        (UPDATE, 0),
    ]
    ended = [frame.ident for frame in frames(copied, box) if frame.kind == MESSAGE] + box.fill(40)
    told(box).fail = lambda verb, name: stays(verb, name) or (OSError(errno.ENOSPC, "") if verb == "write" else None)
    for one in ended:
        store.record(one, State(9, (DELIVERED,) * len(store.state(one).recipients)))
    store.free_segments()
    assert copied.exists() and store.statistics()["freed"] > 0
    box.crash()
    told(box).fail = lambda verb, name: None
    box.start()
    assert box.store.state(ident) == half
