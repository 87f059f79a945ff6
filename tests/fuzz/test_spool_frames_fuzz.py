"""Journal and index against octets that are not what was written: flipped, cut, moved, made up.

Whatever happens to a segment, scanning it never raises, gives no frame that was not written, covers what is missing
with damage, and leaves alone what was not touched. Derandomized: every run tries the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.spool.format import (
    DONE,
    FILE,
    MESSAGE,
    SEAL,
    SEGMENT_HEADER,
    UPDATE,
    Foreign,
    Newer,
    SegmentHeader,
    decode_segment,
    encode_segment,
    segment_header,
)
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Entry, Frame, decode_frame, encode_batch, guess_frame
from fastrelay.spool.index import decode_index, decode_prelude, encode_index, is_whole, prelude_size
from fastrelay.spool.scan import Scan, body_matches, scan
from fastrelay.spool.scan import is_whole as is_whole_batch

HEADER = segment_header(7, bytes(range(100, 116)), 1_700_000_000.0)
OTHER = segment_header(8, bytes(range(200, 216)), 1_700_000_000.0)
fuzzed = settings(max_examples=60, deadline=None, derandomize=True, database=None)

number = st.integers(0, 0xFFFFFFFF)


def _forged(header: SegmentHeader) -> bytes:
    """A whole frame, as a mail may carry one that its sender has got from somewhere."""
    frame = Frame(MESSAGE, b"F" * 16, b"forged", content=(b"forged",), content_size=6)
    parts, _ = encode_batch([frame], header, 0, 1, 0xFFFFFFFF, 7)
    return b"".join(parts)


# What nobody outside can know is the nonce: its mark alone is given away here, the seed is not.
_GUESSED = SegmentHeader(7, HEADER.mark + bytes(8), 1.0, HEADER.mark, OTHER.seed)
bodies = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda pad, header, again: b" " * pad + _forged(header) * again,
        st.integers(0, 8),
        st.sampled_from([OTHER, _GUESSED]),
        st.integers(1, 3),
    ),
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from([MESSAGE, MESSAGE, UPDATE, DONE]))
    ident = draw(st.binary(min_size=16, max_size=16))
    if kind != MESSAGE:
        return Frame(kind, ident, draw(st.binary(max_size=24)), draw(st.binary(max_size=40)), draw(number))
    content = draw(bodies)
    half = draw(st.integers(0, len(content)))
    flags = draw(st.sampled_from([0, 0, 0, FILE]))
    return Frame(
        kind,
        ident,
        draw(st.binary(max_size=40)),
        draw(st.binary(max_size=40)),
        draw(number),
        draw(st.binary(max_size=40)),
        () if flags else (content[:half], content[half:]),
        len(content),
        draw(number) if flags else -1,
        draw(st.integers(0, 0xFFFF)),
        flags,
    )


class Log(NamedTuple):
    """A segment as it was written. batches: the frames of each; synced: what its last frame says."""

    octets: bytes
    batches: list[list[Found]]
    entries: list[Entry]
    synced: int


@st.composite
def logs(draw: st.DrawFn) -> Log:
    octets = encode_segment(HEADER)
    batches: list[list[Found]] = []
    entries: list[Entry] = []
    synced = 0
    for batch in range(1, draw(st.integers(1, 5)) + 1):
        some = draw(st.lists(frames(), min_size=1, max_size=4))
        parts, made = encode_batch(some, HEADER, len(octets), batch, synced, 1000 + batch)
        start = len(octets)
        octets += b"".join(parts)
        entries += made
        found = [decode_frame(octets, at, at, HEADER) for at in (int.from_bytes(entry[:8], "little") for entry in made)]
        batches.append([frame for frame in found if frame is not None])
        assert len(batches[-1]) == len(some) and start == batches[-1][0].offset
        if draw(st.booleans()):
            synced = batch
    return Log(octets, batches, entries, batches[-1][-1].synced)


def scanned(octets: bytes) -> Scan:
    return scan(lambda size, offset: octets[offset : offset + size], len(octets), HEADER)


def judge(log: Log, octets: bytes, touched: Callable[[Found], bool]) -> None:
    """A scan of `octets`, which are `log` but for frames that are `touched`."""
    found = scanned(octets)
    written = {frame.offset: frame for batch in log.batches for frame in batch}
    every = [*found.frames, *[frame for batch in found.tail for frame in batch]]
    for frame in every:
        assert written.get(frame.offset) == frame, "a frame that was not written"
    for batch in found.tail:
        assert is_whole_batch(batch) and len(batch) == len(log.batches[batch[0].batch - 1]), "half a batch"
        for frame in batch:
            assert body_matches(frame, memoryview(octets)[frame.body_offset : frame.offset + frame.length])
    seen = {frame.offset for frame in every}
    harmed = [(damage.offset, damage.offset + damage.length) for damage in found.damage]
    for frame in written.values():
        if frame.offset in seen:
            continue
        if frame.offset < len(octets):
            assert any(start <= frame.offset < end for start, end in harmed), "missing, and nothing said"
        alone = touched(frame) if frame.batch <= log.synced else any(map(touched, log.batches[frame.batch - 1]))
        assert alone or frame.batch > max((one.synced for one in every), default=0), "missing though nobody touched it"
    for damage in found.damage:
        assert damage.length > 0 and damage.offset >= SEGMENT_HEADER and damage.offset + damage.length <= len(octets)
        if damage.corrupt:
            assert any(frame.synced for frame in written.values())
    assert not found.sealed


@fuzzed
@given(logs())
def test_what_was_written_is_found(log: Log) -> None:
    found = scanned(log.octets)
    assert found.frames == [frame for batch in log.batches[: log.synced] for frame in batch]
    assert found.tail == log.batches[log.synced :] and not found.damage
    assert found.newest == 1000 + len(log.batches)
    for batch in log.batches:
        for frame in batch:
            assert body_matches(frame, memoryview(log.octets)[frame.body_offset : frame.offset + frame.length])


@fuzzed
@given(logs(), st.data())
def test_flipped_bits(log: Log, data: st.DataObject) -> None:
    octets = bytearray(log.octets)
    places = data.draw(st.sets(st.integers(8 * SEGMENT_HEADER, 8 * len(octets) - 1), min_size=1, max_size=12))
    for bit in places:
        octets[bit // 8] ^= 1 << bit % 8
    judge(
        log, bytes(octets), lambda frame: any(frame.offset <= bit // 8 < frame.offset + frame.length for bit in places)
    )


@fuzzed
@given(logs(), st.data())
def test_cut_off(log: Log, data: st.DataObject) -> None:
    size = data.draw(st.integers(SEGMENT_HEADER, len(log.octets)))
    judge(log, log.octets[:size], lambda frame: frame.offset + frame.length > size)


@fuzzed
@given(logs(), st.data())
def test_a_stretch_of_foreign_octets(log: Log, data: st.DataObject) -> None:
    """Zeros, noise, frames of other segments and frames with a guessed mark, in place of what stood there."""
    foreign = data.draw(
        st.one_of(
            st.binary(min_size=1, max_size=200),
            st.integers(1, 600).map(bytes),
            st.sampled_from([_forged(OTHER), _forged(_GUESSED), HEADER.mark * 20, encode_segment(HEADER)]),
        )
    )
    start = data.draw(st.integers(SEGMENT_HEADER, len(log.octets)))
    octets = log.octets[:start] + foreign + log.octets[start + len(foreign) :]
    end = start + len(foreign)
    judge(log, octets, lambda frame: frame.offset < end and start < frame.offset + frame.length)


@fuzzed
@given(logs(), st.data())
def test_octets_put_in_or_taken_out(log: Log, data: st.DataObject) -> None:
    """Frames that have moved are frames still, where one may begin; none is made of two."""
    start = data.draw(st.integers(SEGMENT_HEADER, len(log.octets)))
    taken = data.draw(st.integers(0, 200))
    octets = log.octets[:start] + data.draw(st.binary(max_size=64)) + log.octets[start + taken :]
    found = scanned(octets)
    written = {(frame.ident, frame.batch, frame.place): frame for batch in log.batches for frame in batch}
    for frame in [*found.frames, *[frame for batch in found.tail for frame in batch]]:
        before = written[frame.ident, frame.batch, frame.place]
        assert frame.offset % 8 == 0, "no frame begins there"
        assert (frame.envelope, frame.state, frame.version) == (before.envelope, before.state, before.version)
        assert (frame.prefix_crc, frame.content_crc, frame.length) == (
            before.prefix_crc,
            before.content_crc,
            before.length,
        )


@fuzzed
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=300).map(lambda octets: HEADER.mark + octets)))
def test_any_octets_at_all(octets: bytes) -> None:
    found = scanned(encode_segment(HEADER) + octets)
    assert not found.frames and not found.tail and not found.sealed
    assert sum(damage.length for damage in found.damage) == len(octets)
    guess_frame(octets)
    with pytest.raises((Foreign, Newer)):
        decode_segment(octets)
    assert decode_prelude(octets) is None
    prelude_size(octets)


@fuzzed
@given(logs(), st.data())
def test_a_sealed_segment_with_a_flipped_bit(log: Log, data: st.DataObject) -> None:
    parts, _ = encode_batch([Frame(SEAL, bytes(16))], HEADER, len(log.octets), 9, len(log.batches), 7)
    octets = bytearray(log.octets + b"".join(parts))
    assert scanned(bytes(octets)).sealed
    bit = data.draw(st.integers(8 * SEGMENT_HEADER, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    found = scanned(bytes(octets))
    written = [frame for batch in log.batches for frame in batch]
    assert all(frame in written for frame in found.frames)
    assert all(damage.corrupt for damage in found.damage) or bit // 8 >= len(log.octets), "all of it had been synced"


# -- indexes -------------------------------------------------------------------------------------------------------


def believed(octets: bytes) -> list[Found] | None:
    """The frames of an index that a start would believe."""
    prelude = decode_prelude(octets)
    return None if prelude is None or not is_whole(octets, prelude) else list(decode_index(octets, prelude))


@fuzzed
@given(logs(), st.data())
def test_an_index_says_what_was_written_or_is_not_believed(log: Log, data: st.DataObject) -> None:
    octets = b"".join(encode_index(HEADER, len(log.octets), 1000, log.entries))
    written = [frame for batch in log.batches for frame in batch]
    assert believed(octets) == written
    assert prelude_size(octets) <= len(octets)
    harm = data.draw(st.sampled_from(["flip", "cut", "splice", "add"]))
    at = data.draw(st.integers(0, len(octets) - 1))
    some = data.draw(st.binary(min_size=1, max_size=100))
    if harm == "flip":
        octets = octets[:at] + bytes([octets[at] ^ 1 << some[0] % 8]) + octets[at + 1 :]
    elif harm == "cut":
        octets = octets[:at]
    elif harm == "splice":
        octets = octets[:at] + some + octets[at + len(some) :]
    else:
        octets += some
    assert believed(octets) in (None, written)
