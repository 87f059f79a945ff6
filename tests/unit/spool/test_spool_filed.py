"""A content in a file as delivery gets it: piece by piece, checked before the first and at each."""

import errno
import tracemalloc
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.runtime import tasks
from fastrelay.smtp.data import stuff_pieces
from fastrelay.spool.filed import BLOCK, Filed
from fastrelay.spool.reading import Message
from tests.peers.strongbox import DONE, KIB, Box, TellingDisk, finished, octets_of, told

SIZE = 5 * BLOCK + 1000
BODY = octets_of(3, SIZE)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path, disk=TellingDisk(), inline_limit=64 * KIB)
    box.start()
    return box


def large(box: Box) -> tuple[bytes, Message, Path]:
    ident = box.put(BODY)
    return ident, box.store.read(ident), box.path / "slot-000" / "bodies" / ident.hex()


def test_it_is_a_sequence_of_the_prefix_and_the_blocks(box: Box) -> None:
    _, message, _ = large(box)
    parts = message.parts
    assert isinstance(parts, Filed) and message.size == SIZE + 6
    assert len(parts) == 7 and parts[0] == b"prefix" and len(parts[1]) == BLOCK and parts[-1] == BODY[-1000:]
    for _ in range(2):  # as often as a delivery tries another host
        assert b"".join(parts) == b"prefix" + BODY
    assert parts[5:] == [BODY[4 * BLOCK : 5 * BLOCK], BODY[5 * BLOCK :]]
    with pytest.raises(IndexError):
        parts[7]


def test_it_lends_two_pieces_whatever_its_size(box: Box) -> None:
    _, message, _ = large(box)
    assert message.lent == box.store.statistics()["memory"] == 2 * BLOCK
    box.store.returned(message)
    assert box.store.statistics()["memory"] == 0


def test_sending_it_holds_a_few_pieces_in_memory_and_not_the_whole(tmp_path: Path) -> None:
    box = Box(tmp_path, inline_limit=64 * KIB)
    box.start()
    body = (b"x" * 76 + b"\r\n.") * 200_000
    ident = box.put(body)
    size = len(body)
    tracemalloc.start()
    try:
        message = box.store.read(ident)
        sent = sum(len(octets) for piece in stuff_pieces(message.parts) for octets in piece)
        box.store.returned(message)
        assert box.store.head(ident, 1000) == b"prefix" + body[:994]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 15_000_000 and sent == size + 6 + 200_000 + 5
    assert peak < 8 * BLOCK


@pytest.mark.parametrize("cold", [False, True])
def test_a_piece_that_changed_after_the_first_reading_is_not_handed_out(box: Box, cold: bool) -> None:
    told(box).cold = cold
    ident, message, path = large(box)
    assert message.parts[3] == BODY[2 * BLOCK : 3 * BLOCK]
    with path.open("r+b") as file:
        file.seek(2 * BLOCK + 5)
        file.write(b"!")
    assert message.parts[1] == BODY[:BLOCK]
    with pytest.raises(SpoolDamaged, match=ident.hex()):
        message.parts[3]
    assert box.store.state(ident).held
    assert [fields["messages"] for _, fields in box.notes] == [[ident.hex()]]
    box.store.returned(message)
    with pytest.raises(SpoolDamaged):
        box.store.read(ident)
    assert box.store.statistics()["memory"] == 0


def test_a_file_cut_short_after_the_first_reading_is_damage(box: Box) -> None:
    _, message, path = large(box)
    with path.open("r+b") as file:
        file.truncate(3 * BLOCK + 7)
    with pytest.raises(SpoolDamaged):
        list(message.parts)


def test_a_disk_that_fails_in_the_middle_is_a_short_machine_and_no_damage(box: Box) -> None:
    ident, message, _ = large(box)
    told(box).fail = lambda verb, name: OSError(errno.EIO, "fails") if verb == "read" else None
    with pytest.raises(MachineShort):
        message.parts[2]
    told(box).fail = lambda verb, name: None
    assert b"".join(message.parts) == b"prefix" + BODY
    assert not box.notes and not box.store.state(ident).held


def test_a_message_that_ends_while_it_is_sent_is_sent_to_the_end(box: Box) -> None:
    ident, message, path = large(box)
    pieces = iter(message.parts)
    got = [next(pieces), next(pieces)]
    box.store.record_synced([(ident, DONE)])
    assert not path.exists()
    assert b"".join([*got, *pieces]) == b"prefix" + BODY
    box.store.returned(message)


def test_what_is_returned_is_closed(box: Box) -> None:
    _, message, path = large(box)
    assert str(path) in open_files()
    box.store.returned(message)
    assert str(path) not in open_files()
    assert isinstance(message.parts, Filed)
    message.parts.close()


def test_one_that_is_damaged_from_the_start_leaves_nothing_open(box: Box) -> None:
    ident = box.put(BODY)
    path = box.path / "slot-000" / "bodies" / ident.hex()
    path.write_bytes(BODY[:-1] + b"!")
    for read in (box.store.read, lambda one: box.store.head(one, 10)):
        with pytest.raises(SpoolDamaged):
            read(ident)
    assert str(path) not in open_files()


def test_reading_a_cold_one_gives_others_their_turns(tmp_path: Path) -> None:
    box = Box(tmp_path, disk=TellingDisk(), inline_limit=64 * KIB, threaded=True)
    box.start()
    told(box).cold = True
    turns = 0
    done = False

    def work() -> None:
        nonlocal done
        ident = box.put(BODY)
        message = box.store.read(ident)
        before = turns
        assert b"".join(message.parts) == b"prefix" + BODY
        assert turns > before
        box.store.returned(message)
        done = True

    def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            tasks.sleep(0)

    finished([tasks.spawn(work), tasks.spawn(others)])
    assert done
    box.stop()


def open_files() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
