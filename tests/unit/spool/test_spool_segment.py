"""Segments: names that are ours and names that are not; descriptors for reading, bounded and closed once."""

import os
from pathlib import Path

import pytest

from fastrelay.spool import segment as segments
from fastrelay.spool.format import segment_header
from fastrelay.spool.segment import Segment, Shelf, index_number, log_name, number_of
from tests.peers.strongbox import TellingDisk


def made(folder: Path, number: int, *, closed: bool = True) -> Segment:
    """A segment whose file holds its number."""
    one = Segment(segment_header(number, number.to_bytes(16, "big")[::-1], 1.0), str(folder), 3)
    Path(one.path).write_bytes(b"%03d" % number)
    one.closed = closed
    return one


@pytest.mark.parametrize("number", [0, 1, 4711, 9_999_999_999])
def test_a_name_comes_back_as_its_number(number: int) -> None:
    assert number_of(log_name(number)) == number
    assert index_number(log_name(number).replace(".log", ".index")) == number


def test_names_sort_like_their_numbers() -> None:
    names = [log_name(number) for number in (0, 9, 10, 99, 1_000_000_000)]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "name",
    ["", "segment-", "segment-.log", "segment-1.log", "segment-00000000001.log", "segment-000000000x.log",
     "segment--000000001.log", "segment-+000000001.log", "segment- 00000001 .log", "segment-00000_0001.log",
     "segment-0000000001.log~", "segment-0000000001.lo", "segment-0000000001", "Segment-0000000001.log",
     "segment-\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661.log", "xsegment-0000000001.log"],
)  # fmt: skip
def test_other_names_are_not_ours(name: str) -> None:
    assert number_of(name) is None
    assert index_number(name) is None
    assert index_number(name.replace(".log", ".index")) is None


def test_an_index_is_no_log_and_lies_beside_it(tmp_path: Path) -> None:
    one = made(tmp_path, 7)
    assert one.path == f"{tmp_path}/segment-0000000007.log" and one.index_path == f"{tmp_path}/segment-0000000007.index"
    assert number_of(os.path.basename(one.index_path)) is None and index_number(os.path.basename(one.path)) is None
    assert "segment-0000000007" in repr(one)


def test_a_descriptor_is_opened_once_and_kept(tmp_path: Path) -> None:
    disk = TellingDisk()
    shelf, one = Shelf(disk), made(tmp_path, 1)
    fd = shelf.take(one)
    assert disk.read(fd, 3, 0) == b"001" and shelf.take(one) == fd and one.readers == 2
    shelf.give(one)
    shelf.give(one)
    assert one.readers == 0 and one.fd == fd and len(shelf) == 1 and shelf.take(one) == fd
    shelf.give(one)
    shelf.drop(one)
    assert one.fd == -1 and len(shelf) == 0
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    shelf.drop(one)  # a second time nothing happens, to nobody's descriptor


def test_one_that_cannot_be_opened_is_not_taken(tmp_path: Path) -> None:
    shelf, one = Shelf(TellingDisk()), made(tmp_path, 1)
    os.unlink(one.path)
    with pytest.raises(FileNotFoundError):
        shelf.take(one)
    assert one.readers == 0 and one.fd == -1 and len(shelf) == 0


def test_at_rest_the_least_used_beyond_the_bound_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_OPEN", 3)
    shelf, some = Shelf(TellingDisk()), [made(tmp_path, number) for number in range(5)]
    for one in some[:3]:
        shelf.take(one)
        shelf.give(one)
    shelf.take(some[0])  # used again: some[1] is the oldest now
    shelf.give(some[0])
    shelf.take(some[3])
    assert all(one.fd >= 0 for one in some[:4]), "while it is read there may be more"
    shelf.give(some[3])
    assert [one.fd >= 0 for one in some] == [True, False, True, True, False]
    shelf.take(some[1])
    shelf.give(some[1])
    assert [one.fd >= 0 for one in some] == [True, True, False, True, False]
    for one in some:
        shelf.drop(one)


def test_what_is_read_or_still_written_keeps_its_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_OPEN", 1)
    shelf = Shelf(TellingDisk())
    written, read, other = made(tmp_path, 1, closed=False), made(tmp_path, 2), made(tmp_path, 3)
    shelf.take(written)
    shelf.give(written)
    shelf.take(read)
    shelf.take(other)
    shelf.give(other)
    assert written.fd >= 0 and read.fd >= 0
    written.closed = True
    shelf.give(read)
    assert written.fd < 0 and read.fd < 0 and other.fd >= 0
    shelf.drop(other)
