"""The journal by itself: what it does to the disk, in what order, and what it does after a disk that failed."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.spool.disk import MAX_BUFFERS, Space
from fastrelay.spool.format import ABORT, MESSAGE, SEAL, UPDATE, decode_segment
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Frame
from fastrelay.spool.index import decode_index, decode_prelude, is_whole
from fastrelay.spool.journal import Journal
from fastrelay.spool.scan import scan
from tests.peers.strongbox import KIB, TellingDisk

WALL = 1_700_000_000.0


class Desk:
    """A journal in `folder`, and what lies there. room: octets the disk says are free."""

    def __init__(self, folder: Path, *, durable: bool = True, number: int = 0) -> None:
        self.folder = folder
        self.disk = TellingDisk()
        self.disk.room = Space(1 << 30, 1 << 30, -1)
        self.journal = Journal(
            self.disk, str(folder), segment_size=128 * KIB, durable=durable, number=number, wall=lambda: WALL
        )
        self.count = 0

    def frame(self, size: int = 100) -> Frame:
        self.count += 1
        return Frame(MESSAGE, self.count.to_bytes(16, "big"), b"envelope", b"", 0, b"", (b"x" * size,), size)

    def append(self, *frames: Frame, sync: bool = True) -> list[Frame]:
        some = list(frames or (self.frame(),))
        self.journal.append(some, sum(frame.octets for frame in some), sync=sync)
        return some

    def deeds(self) -> list[tuple[str, str]]:
        """Those since the last time."""
        found = [(verb, name.removeprefix("segment-000000000")) for verb, name in self.disk.deeds]
        self.disk.deeds.clear()
        return found

    def fail(self, *verbs: str, number: int = errno.EIO) -> None:
        self.disk.fail = lambda verb, name: OSError(number, "broken") if verb in verbs else None

    def heal(self) -> None:
        self.disk.fail = lambda verb, name: None

    def logs(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.log"))

    def frames(self, name: str) -> list[Found]:
        """What a scan finds in a log, settled or not."""
        octets = (self.folder / name).read_bytes()
        found = scan(lambda size, offset: octets[offset : offset + size], len(octets), decode_segment(octets))
        return found.frames + [frame for batch in found.tail for frame in batch]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.journal.close()


# -- writing -------------------------------------------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_batch_and_its_name_is_safe_before_it(desk: Desk) -> None:
    assert desk.logs() == []
    desk.append()
    assert desk.deeds() == [
        ("create", "1.log"),
        ("write", "1.log"),
        ("sync", "1.log"),
        ("sync", desk.folder.name),
        ("write", "1.log"),
        ("sync", "1.log"),
    ]
    desk.append()
    assert desk.deeds() == [("write", "1.log"), ("sync", "1.log")], "one trip, two calls"


def test_frames_learn_where_they_lie_and_batches_say_which_was_synced(desk: Desk) -> None:
    made = desk.append() + desk.append(desk.frame(), desk.frame()) + desk.append(sync=False) + desk.append(sync=False)
    desk.journal.sync()
    made += desk.append()
    found = desk.frames(desk.logs()[0])
    assert [(frame.offset, frame.length, frame.ident) for frame in made] == [
        (frame.offset, frame.length, frame.ident) for frame in found
    ]
    assert [(frame.batch, frame.synced) for frame in found] == [(1, 0), (2, 1), (2, 1), (3, 2), (4, 2), (5, 4)]
    assert {frame.segment for frame in made} == {desk.journal.news[0].segment}
    assert desk.journal.written == sum(frame.length for frame in made)


def test_it_is_sound_when_nothing_awaits_a_sync(desk: Desk) -> None:
    assert desk.journal.sound
    desk.append()
    assert desk.journal.sound
    desk.append(sync=False)
    assert not desk.journal.sound
    desk.deeds()
    desk.journal.sync()
    desk.journal.sync()
    assert desk.journal.sound and desk.deeds() == [("sync", "1.log")], "and a sync of nothing costs nothing"


def test_more_buffers_than_a_call_takes_are_several_calls_and_one_batch(desk: Desk) -> None:
    made = desk.append(*[desk.frame() for _ in range(800)])
    assert [verb for verb, _ in desk.deeds()][4:] == ["write"] * (1 + 800 * 3 // MAX_BUFFERS) + ["sync"]
    assert [frame.ident for frame in desk.frames(desk.logs()[0])] == [frame.ident for frame in made]


@pytest.mark.parametrize("taken", [0, 1, 79, 150])
def test_a_short_write_is_gone_on_with_once(desk: Desk, taken: int) -> None:
    desk.append()
    desk.disk.short = [taken]
    made = desk.append(desk.frame(), desk.frame())
    assert [frame.ident for frame in desk.frames(desk.logs()[0])][1:] == [frame.ident for frame in made]


def test_a_second_short_write_fails_the_batch(desk: Desk) -> None:
    desk.append()
    desk.disk.short = [100, 50]
    with pytest.raises(OSError, match="only part") as caught:
        desk.append()
    assert caught.value.errno == errno.ENOSPC
    desk.append()
    assert [frame.kind for frame in desk.frames(desk.logs()[1])] == [ABORT, MESSAGE]


def test_a_spool_that_is_not_durable_is_written_and_never_synced(tmp_path: Path) -> None:
    desk = Desk(tmp_path, durable=False)
    for _ in range(30):
        desk.append(desk.frame(10_000))
    desk.append(sync=False)
    assert desk.journal.sound
    desk.journal.seal()
    assert "sync" not in [verb for verb, _ in desk.deeds()] and len(desk.logs()) == 3


# -- segments ------------------------------------------------------------------------------------------------------


def test_a_full_segment_is_sealed_synced_and_indexed_before_the_next_begins(desk: Desk) -> None:
    desk.append(desk.frame(100 * KIB), desk.frame())
    desk.append(Frame(UPDATE, bytes(16), state=b"state", version=1), sync=False)
    desk.deeds()
    desk.append(desk.frame(50 * KIB))
    assert desk.deeds() == [
        ("sync", "1.log"),  # the record
        ("write", "1.log"),
        ("sync", "1.log"),  # the SEAL
        ("create", "1.index"),
        ("write", "1.index"),
        ("create", "2.log"),
        ("write", "2.log"),
        ("sync", "2.log"),
        ("sync", desk.folder.name),
        ("write", "2.log"),
        ("sync", "2.log"),
    ]
    first = desk.folder / desk.logs()[0]
    octets = first.with_suffix(".index").read_bytes()
    prelude = decode_prelude(octets)
    assert prelude is not None and is_whole(octets, prelude) and prelude.size == first.stat().st_size
    assert [frame.kind for frame in decode_index(octets, prelude)] == [MESSAGE, MESSAGE, UPDATE, SEAL]
    found = scan(lambda size, offset: first.read_bytes()[offset : offset + size], prelude.size, prelude.header)
    assert [*found.frames, *found.tail] == list(decode_index(octets, prelude))[:3] and found.sealed
    news = desk.journal.news
    assert [(one.segment.header.number, one.closed, one.size) for one in news] == [
        (1, False, 128),
        (1, True, prelude.size),
        (2, False, 128),
    ]


def test_a_batch_larger_than_a_segment_has_one_to_itself(desk: Desk) -> None:
    desk.append(desk.frame(500 * KIB))
    desk.append()
    assert len(desk.logs()) == 2 and [len(desk.frames(name)) for name in desk.logs()] == [1, 1]


def test_sealing_nothing_does_nothing(desk: Desk) -> None:
    desk.journal.seal()
    assert desk.deeds() == [] and desk.logs() == []
    desk.append()
    desk.journal.seal()
    desk.deeds()
    desk.journal.seal()
    assert desk.deeds() == []


def test_numbers_go_on_from_the_newest_and_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, number=6)
    (tmp_path / "segment-0000000007.log").write_bytes(b"somebody's")
    desk.append()
    assert desk.logs() == ["segment-0000000007.log", "segment-0000000008.log"]
    assert (tmp_path / desk.logs()[0]).read_bytes() == b"somebody's"
    assert desk.journal.news[0].segment.header.number == 8


def test_two_segments_never_bear_one_mark(desk: Desk) -> None:
    for _ in range(20):
        desk.append()
        desk.journal.seal()
    assert len({one.segment.mark for one in desk.journal.news}) == 20


@pytest.mark.parametrize(
    ("free", "limit"), [(1 << 30, 128 * KIB), (800 * KIB, 100 * KIB), (100 * KIB, 64 * KIB), (0, 64 * KIB)]
)
def test_where_space_is_short_segments_are_small(desk: Desk, free: int, limit: int) -> None:
    desk.disk.room = Space(free, 1 << 30, -1)
    desk.append()
    assert desk.journal.limit == limit and desk.journal.batch_limit == limit


def test_an_index_that_cannot_be_written_is_done_without(desk: Desk) -> None:
    desk.disk.fail = lambda verb, name: OSError(errno.ENOSPC, "full") if name.endswith(".index") else None
    desk.append()
    desk.journal.seal()
    desk.disk.fail = lambda verb, name: (
        OSError(errno.EIO, "broken") if (verb, name[-6:]) == ("write", ".index") else None
    )
    desk.append()
    desk.journal.seal()
    assert len(desk.logs()) == 2 and list(desk.folder.glob("*.index")) == []


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write", "sync"])
def test_after_a_failure_the_segment_is_left_and_an_abort_comes_first(desk: Desk, verb: str) -> None:
    desk.append()
    desk.append(sync=False)
    desk.fail(verb)
    with pytest.raises(OSError, match="broken"):
        desk.append()
    assert desk.journal.sound and desk.journal.news[-1].closed
    first = desk.journal.news[0].segment
    desk.heal()
    desk.deeds()
    size = Path(first.path).stat().st_size
    (after,) = desk.append()
    assert desk.deeds() == [
        ("create", "2.log"),
        ("write", "2.log"),
        ("sync", "2.log"),
        ("sync", desk.folder.name),
        ("write", "2.log"),
        ("sync", "2.log"),  # the ABORT, before anything else
        ("write", "2.log"),
        ("sync", "2.log"),
    ]
    abort, found = desk.frames(desk.logs()[1])
    assert (abort.kind, abort.ident, abort.version, abort.batch) == (ABORT, first.header.nonce, 3, 1)
    assert (found.ident, found.batch) == (after.ident, 2)
    assert Path(first.path).stat().st_size == size, "never written again"


def test_a_failed_sync_of_records_voids_none_of_them(desk: Desk) -> None:
    desk.append()
    desk.append(sync=False)
    desk.fail("sync")
    with pytest.raises(OSError, match="broken"):
        desk.journal.sync()
    desk.heal()
    desk.append()
    assert [frame.kind for frame in desk.frames(desk.logs()[1])] == [MESSAGE], "what they say is true in any case"
    assert len(desk.frames(desk.logs()[0])) == 2


@pytest.mark.parametrize("verb", ["create", "write", "sync"])
@pytest.mark.parametrize("call", range(3))
def test_while_the_abort_fails_nothing_else_is_written(desk: Desk, verb: str, call: int) -> None:
    desk.append()
    desk.fail("write")
    with pytest.raises(OSError, match="broken"):
        desk.append()
    for _ in range(3):
        if (verb == "create" and call) or (verb, call) == ("write", 2):
            return  # there are not so many before the ABORT is safe
        left = call

        def fail(done: str, name: str) -> OSError | None:
            nonlocal left
            left -= done == verb
            return OSError(errno.EIO, "broken") if done == verb and left < 0 else None

        desk.disk.fail = fail
        with pytest.raises(OSError, match="broken"):
            desk.append()
        desk.heal()
        for name in desk.logs()[1:]:
            assert MESSAGE not in [frame.kind for frame in desk.frames(name)]
    desk.heal()
    (after,) = desk.append()
    abort, found = desk.frames(desk.logs()[-1])
    assert (abort.kind, found.ident) == (ABORT, after.ident)
    opened = [one.segment for one in desk.journal.news if not one.closed]
    closed = [one.segment for one in desk.journal.news if one.closed]
    assert len(opened) == 2 and closed == opened[:1], "segments that came to nothing are not news"


@pytest.mark.parametrize(("verb", "call"), [("create", 0), ("write", 0), ("sync", 0), ("sync", 1)])
def test_a_segment_that_cannot_be_opened_leaves_no_file_and_no_descriptor(desk: Desk, verb: str, call: int) -> None:
    left = call

    def fail(done: str, name: str) -> OSError | None:
        nonlocal left
        left -= done == verb
        return OSError(errno.ENOSPC, "full") if left == -1 and done == verb else None

    desk.disk.fail = fail
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="full"):
        desk.append()
    assert desk.logs() == [] and desk.journal.news == []
    assert set(Path("/proc/self/fd").iterdir()) == before
    desk.heal()
    (made,) = desk.append()
    assert [frame.ident for frame in desk.frames(desk.logs()[0])] == [made.ident], "nothing was void: no ABORT"


@pytest.mark.parametrize("verb", ["write", "sync"])
def test_a_seal_that_fails_leaves_the_segment_to_a_scan(desk: Desk, verb: str) -> None:
    (made,) = desk.append()
    desk.fail(verb)
    with pytest.raises(OSError, match="broken"):
        desk.journal.seal()
    desk.heal()
    desk.append()
    assert list(desk.folder.glob("*.index")) == []
    assert [frame.ident for frame in desk.frames(desk.logs()[0])] == [made.ident]
    assert [frame.kind for frame in desk.frames(desk.logs()[1])] == [ABORT, MESSAGE]


def test_closing_says_that_the_open_segment_will_not_grow(desk: Desk) -> None:
    desk.append()
    size = (desk.folder / desk.logs()[0]).stat().st_size
    desk.journal.close()
    assert [(one.closed, one.size) for one in desk.journal.news] == [(False, 128), (True, size)]
    desk.journal.close()
    assert len(desk.journal.news) == 2
