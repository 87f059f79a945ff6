"""Indexes: what they say is what was written, or nothing is believed."""

import pytest

from fastrelay.spool.format import ABORT, DONE, FILE, FRAME_HEADER, MESSAGE, UPDATE, encode_segment, segment_header
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Entry, Frame, decode_frame, encode_batch, join_marks
from fastrelay.spool.index import (
    PRELUDE_READ,
    decode_index,
    decode_prelude,
    encode_index,
    entry_of,
    is_whole,
    prelude_size,
)

HEADER = segment_header(3, bytes(range(16)), 1_700_000_000.5)
OTHER = b"o" * 16


def offset(entry: Entry) -> int:
    return int.from_bytes(entry[:8], "little")


def segment(*frames: Frame) -> tuple[bytes, list[Entry]]:
    """A log of one batch, and its index entries."""
    parts, entries = encode_batch(frames, HEADER, 128, 1, 0, 99)
    return encode_segment(HEADER) + b"".join(parts), entries


def some() -> list[Frame]:
    return [
        Frame(MESSAGE, b"a" * 16, b"envelope", b"state", 2, b"prefix", (b"content",), 7),
        Frame(MESSAGE, b"b" * 16, b"", content_size=1 << 30, content_crc=5, flags=FILE, copy=3),
        Frame(UPDATE, b"c" * 16, state=b"more state", version=9),
        Frame(DONE, b"d" * 16, join_marks([b"m" * 8, b"n" * 8])),
        Frame(ABORT, OTHER, version=17),
    ]


def read(octets: bytes) -> list[Found]:
    prelude = decode_prelude(octets)
    assert prelude is not None and is_whole(octets, prelude)
    return list(decode_index(octets, prelude))


def test_an_index_says_of_each_frame_what_the_log_says() -> None:
    log, entries = segment(*some())
    octets = b"".join(encode_index(HEADER, len(log), 99, entries))
    found = read(octets)
    assert found == [decode_frame(log, at, at, HEADER) for at in map(offset, entries)] and None not in found
    assert b"content" not in octets and b"prefix" not in octets
    prelude = decode_prelude(octets)
    assert prelude is not None
    assert (prelude.header, prelude.size, prelude.frames, prelude.newest) == (HEADER, len(log), 5, 99)
    assert prelude.aborts == ((OTHER, 17),)
    again = [entry_of(frame, log[frame.offset : frame.offset + FRAME_HEADER]) for frame in found]
    assert b"".join(encode_index(HEADER, len(log), 99, again)) == octets, "it is rebuilt from what was read"


def test_an_index_of_nothing() -> None:
    octets = b"".join(encode_index(HEADER, 128, 0, []))
    assert read(octets) == []


def test_the_prelude_is_read_alone_and_says_how_long_it_is() -> None:
    aborts = [Frame(ABORT, bytes([n]) * 16, version=n + 1) for n in range(200)]
    log, entries = segment(*aborts, some()[0])
    octets = b"".join(encode_index(HEADER, len(log), 99, entries))
    size = prelude_size(octets[:PRELUDE_READ])
    assert size > PRELUDE_READ and decode_prelude(octets[:PRELUDE_READ]) is None
    prelude = decode_prelude(octets[:size])
    assert prelude is not None and prelude == decode_prelude(octets) and prelude.start == size
    assert prelude.aborts == tuple((frame.ident, frame.version) for frame in aborts)
    few, entries = segment(*aborts[:195])
    assert prelude_size(b"".join(encode_index(HEADER, len(few), 0, entries))) <= PRELUDE_READ


def test_every_flipped_bit_is_found() -> None:
    log, entries = segment(*some())
    octets = b"".join(encode_index(HEADER, len(log), 99, entries))
    for bit in range(8 * len(octets)):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        prelude = decode_prelude(bytes(damaged))
        assert prelude is None or not is_whole(bytes(damaged), prelude), bit


def test_every_truncation_and_any_addition_is_found() -> None:
    log, entries = segment(*some())
    octets = b"".join(encode_index(HEADER, len(log), 99, entries))
    for changed in [*(octets[:size] for size in range(len(octets))), octets + b"\0", octets + octets]:
        prelude = decode_prelude(changed)
        assert prelude is None or not is_whole(changed, prelude), len(changed)


@pytest.mark.parametrize(
    "octets", [b"", b"fastrix\n", b"fastrly\n" + bytes(400), bytes(400), b"fastrix\n" + bytes(400)]
)
def test_other_octets_are_no_index(octets: bytes) -> None:
    assert decode_prelude(octets) is None


@pytest.mark.parametrize("octets", [b"", b"fastrix\n", b"fastrly\n" + bytes(400), bytes(400)])
def test_other_octets_need_no_prelude(octets: bytes) -> None:
    assert prelude_size(octets) == 0
