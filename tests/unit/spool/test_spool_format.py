"""Segment headers: two copies, a version that is refused, octets that are no segment."""

import os

import pytest

from fastrelay.spool.format import (
    SEGMENT_HEADER,
    VERSION,
    Foreign,
    Newer,
    decode_segment,
    encode_segment,
    segment_header,
)

NONCE = bytes(range(16))


def test_a_header_comes_back_as_it_was() -> None:
    header = segment_header(7, NONCE, 1_700_000_000.123)
    octets = encode_segment(header)
    assert len(octets) == SEGMENT_HEADER
    assert decode_segment(octets) == header
    assert header.mark == NONCE[:8]


def test_one_flipped_bit_anywhere_costs_nothing() -> None:
    header = segment_header(7, NONCE, 1_700_000_000.0)
    octets = encode_segment(header)
    for bit in range(8 * len(octets)):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_segment(bytes(damaged)) == header


def test_both_copies_damaged_is_foreign() -> None:
    octets = bytearray(encode_segment(segment_header(1, NONCE, 0.0)))
    octets[20] ^= 1
    octets[90] ^= 1
    with pytest.raises(Foreign):
        decode_segment(bytes(octets))


@pytest.mark.parametrize("octets", [b"", b"x", b"fastrly\n", os.urandom(128), b"\0" * 128])
def test_other_octets_are_foreign(octets: bytes) -> None:
    with pytest.raises(Foreign):
        decode_segment(octets)


def test_a_newer_version_is_named_whatever_follows_it() -> None:
    octets = b"fastrly\n" + (VERSION + 1).to_bytes(2, "little") + os.urandom(118)
    with pytest.raises(Newer) as caught:
        decode_segment(octets)
    assert caught.value.version == VERSION + 1
