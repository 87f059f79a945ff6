"""Frames written and read back; every bit of a head guarded; a body cannot pass for a frame."""

from fastrelay.spool.format import DONE, FILE, FRAME_HEADER, MESSAGE, UPDATE, encode_segment, segment_header
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Frame, content_crc, decode_frame, encode_batch, guess_frame, join_marks, split_marks

HEADER = segment_header(1, bytes(range(16)), 1.0)
IDENT = b"i" * 16


def message(**more: object) -> Frame:
    fields = {"envelope": b"envelope", "prefix": b"prefix", "content": (b"content",), "content_size": 7} | more
    return Frame(MESSAGE, IDENT, **fields)  # type: ignore[arg-type]


def written(*frames: Frame) -> bytes:
    parts, _ = encode_batch(frames, HEADER, 128, batch=5, synced=4, second=99)
    return b"".join(parts)


def test_a_message_comes_back_whole() -> None:
    frame = message(state=b"state", version=3, copy=2)
    octets = written(frame)
    found = decode_frame(octets, 0, 128, HEADER)
    assert found == Found(
        offset=128,
        length=len(octets),
        kind=MESSAGE,
        flags=0,
        copy=2,
        place=0,
        count=1,
        batch=5,
        synced=4,
        version=3,
        second=99,
        prefix_size=6,
        content_size=7,
        ident=IDENT,
        prefix_crc=content_crc([b"prefix"]),
        content_crc=content_crc([b"content"]),
        envelope=b"envelope",
        state=b"state",
    )
    assert octets[found.body_offset - 128 :][:13] == b"prefixcontent"
    assert frame.offset == 128 and frame.length == len(octets) == frame.octets


def test_every_frame_starts_at_a_multiple_of_eight() -> None:
    for size in range(20):
        frames = [message(content=(b"x" * size,), content_size=size), Frame(DONE, IDENT, join_marks([b"m" * 8]))]
        octets = written(*frames)
        assert len(octets) % 8 == 0 and frames[1].offset % 8 == 0
        second = decode_frame(octets, frames[1].offset - 128, frames[1].offset, HEADER)
        assert second is not None and second.place == 1 and second.count == 2
        assert split_marks(second.envelope) == [b"m" * 8]


def test_content_is_handed_through_and_never_copied() -> None:
    content = (b"a" * 5000, b"b" * 3000)
    parts, _ = encode_batch([message(content=content, content_size=8000)], HEADER, 128, 1, 0, 0)
    assert any(part is content[0] for part in parts) and any(part is content[1] for part in parts)


def test_content_in_a_file_takes_no_room_in_the_frame() -> None:
    frame = message(content=(), content_size=1 << 30, content_crc=77, flags=FILE)
    octets = written(frame)
    found = decode_frame(octets, 0, 128, HEADER)
    assert found is not None and found.inline == 0 and found.content_size == 1 << 30 and found.content_crc == 77
    assert len(octets) < 200


def test_every_flipped_bit_of_a_head_is_found() -> None:
    octets = written(message(state=b"state"))
    for bit in range(8 * (FRAME_HEADER + len(b"envelopestate"))):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_frame(bytes(damaged), 0, 128, HEADER) is None


def test_every_truncation_is_found() -> None:
    octets = written(Frame(UPDATE, IDENT, state=b"state", version=1))
    for size in range(FRAME_HEADER + 5):
        assert decode_frame(octets[:size], 0, 128, HEADER) is None


def test_a_frame_of_another_segment_does_not_count() -> None:
    other = segment_header(2, bytes(range(8)) + b"otherend", 1.0)
    assert other.mark == HEADER.mark
    assert decode_frame(written(message()), 0, 128, other) is None
    assert len(encode_segment(other)) == 128


def test_a_guess_reads_what_a_damaged_message_claims() -> None:
    octets = bytearray(written(message()))
    octets[FRAME_HEADER - 1] ^= 1
    assert guess_frame(bytes(octets)) == (IDENT, b"envelope")
    assert guess_frame(bytes(octets[:85])) is None
    assert guess_frame(b"\xff" * 200) is None


def test_a_guess_survives_a_wrong_bit_wherever_it_reads_nothing() -> None:
    octets = written(message(state=b"state"))
    reads = {*range(32, 36), *range(48, 64), *range(FRAME_HEADER, FRAME_HEADER + 8)}  # its size, the id, itself
    for bit in range(8 * len(octets)):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        assert (guess_frame(bytes(damaged)) == (IDENT, b"envelope")) == (bit // 8 not in reads), bit
