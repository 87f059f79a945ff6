"""Scanning a segment: each verdict of the format's proof, on octets made for it."""

import zlib
from collections.abc import Sequence

import pytest

from fastrelay.spool import scan as scanning
from fastrelay.spool.format import (
    DONE,
    FILE,
    FRAME_HEADER,
    MESSAGE,
    SEAL,
    SEGMENT_HEADER,
    UPDATE,
    encode_segment,
    segment_header,
)
from fastrelay.spool.frames import Frame, encode_batch, join_marks
from fastrelay.spool.scan import Damage, Scan, body_matches, is_whole, scan

HEADER = segment_header(1, bytes(range(16)), 1.0)


def message(n: int, size: int = 100) -> Frame:
    content = b"%03d " % n * (size // 4)
    return Frame(MESSAGE, bytes([n]) * 16, b"envelope %d" % n, b"", 0, b"prefix", (content,), len(content))


class Log:
    """A segment in the making: `batch` appends one."""

    def __init__(self) -> None:
        self.octets = bytearray(encode_segment(HEADER))
        self.count = 0
        self.reads: list[tuple[int, int]] = []

    def batch(self, *frames: Frame, synced: int = -1, second: int = 7) -> list[Frame]:
        """As a journal writes it whose batches were all synced, if `synced` says nothing else."""
        self.count += 1
        known = self.count - 1 if synced < 0 else synced
        parts, _ = encode_batch(frames, HEADER, len(self.octets), self.count, known, second)
        self.octets += b"".join(parts)
        return list(frames)

    def flip(self, at: int) -> None:
        self.octets[at] ^= 4

    def read(self, size: int, offset: int) -> bytes:
        self.reads.append((size, offset))
        return bytes(self.octets[offset : offset + size])

    def scan(self) -> Scan:
        return scan(self.read, len(self.octets), HEADER)


def idents(frames: Sequence[object]) -> list[int]:
    """The first octet of each id."""
    return [frame.ident[0] for frame in frames]  # type: ignore[attr-defined]


# -- whole segments ------------------------------------------------------------------------------------------------


def test_a_segment_without_a_batch_is_empty() -> None:
    assert Log().scan() == Scan([], [], [], False, 0)


def test_what_a_later_frame_says_was_synced_is_settled_and_the_rest_is_tail() -> None:
    log = Log()
    log.batch(message(1), message(2))
    log.batch(Frame(UPDATE, bytes([1]) * 16, state=b"state", version=1))
    log.batch(message(3), message(4), synced=1, second=70)
    log.batch(message(5), synced=1, second=60)
    found = log.scan()
    assert idents(found.frames) == [1, 2]
    assert [idents(batch) for batch in found.tail] == [[1], [3, 4], [5]]
    assert not found.damage and not found.sealed and found.newest == 70


def test_a_seal_is_no_mail() -> None:
    log = Log()
    log.batch(message(1))
    log.batch(Frame(SEAL, bytes(16)))
    found = log.scan()
    assert idents(found.frames) == [1] and found.tail == [] and found.sealed and not found.damage


def test_an_unfinished_seal_costs_nothing() -> None:
    log = Log()
    log.batch(message(1))
    log.batch(message(2))
    log.batch(Frame(SEAL, bytes(16)))
    del log.octets[-8:]
    found = log.scan()
    assert idents(found.frames) == [1] and [idents(batch) for batch in found.tail] == [[2]]
    assert not found.sealed and [damage.corrupt for damage in found.damage] == [False]


# -- torn ----------------------------------------------------------------------------------------------------------


def test_a_batch_cut_off_anywhere_is_dropped_whole() -> None:
    log = Log()
    log.batch(message(1))
    start = len(log.octets)
    log.batch(message(2), message(3))
    whole = bytes(log.octets)
    for size in range(start + 1, len(whole)):
        log.octets = bytearray(whole[:size])
        found = log.scan()
        assert idents(found.frames) + [n for batch in found.tail for n in idents(batch)] == [1], size
        assert found.damage and not any(damage.corrupt for damage in found.damage)
        assert found.damage[0].offset == start and sum(damage.length for damage in found.damage) == size - start


@pytest.mark.parametrize("damaged", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("part", ["head", "envelope", "prefix", "content"])
def test_one_bad_bit_in_an_unsynced_batch_tears_all_of_it(damaged: int, part: str) -> None:
    log = Log()
    log.batch(message(1))
    some = log.batch(message(2), message(3), message(4))
    frame = some[damaged]
    body = frame.offset + FRAME_HEADER + len(frame.envelope)
    log.flip({"head": frame.offset + 30, "envelope": body - 1, "prefix": body + 2, "content": body + 20}[part])
    after = log.batch(message(5), synced=1)
    found = log.scan()
    assert idents(found.frames) == [1] and [idents(batch) for batch in found.tail] == [[5]]
    assert found.damage and not any(damage.corrupt or damage.claims for damage in found.damage)
    assert min(damage.offset for damage in found.damage) >= some[0].offset
    assert max(damage.offset + damage.length for damage in found.damage) == after[0].offset


# -- corrupt -------------------------------------------------------------------------------------------------------


def test_a_bad_head_in_a_synced_batch_is_corrupt_claims_its_message_and_spares_the_neighbours() -> None:
    log = Log()
    some = log.batch(message(1), message(2), message(3))
    log.batch(message(4))
    log.flip(some[1].offset + 12)
    found = log.scan()
    assert idents(found.frames) == [1, 3] and [idents(batch) for batch in found.tail] == [[4]]
    assert found.damage == [Damage(some[1].offset, some[1].length, True, ((bytes([2]) * 16, b"envelope 2"),))]


def test_bodies_of_synced_batches_are_not_read() -> None:
    log = Log()
    (first,) = log.batch(message(1))
    log.batch(message(2))
    log.flip(first.offset + FRAME_HEADER + len(first.envelope) + 20)
    found = log.scan()
    assert idents(found.frames) == [1] and not found.damage, "it is checked at each read"
    body = log.octets[found.frames[0].body_offset :]
    assert not body_matches(found.frames[0], memoryview(body))


def test_a_stretch_that_ate_a_whole_synced_batch_is_corrupt() -> None:
    log = Log()
    log.batch(message(1))
    (gone,) = log.batch(message(2))
    log.batch(message(3))
    log.octets[gone.offset : gone.offset + gone.length] = bytes(gone.length)
    found = log.scan()
    assert idents(found.frames) == [1] and [idents(batch) for batch in found.tail] == [[3]]
    assert found.damage == [Damage(gone.offset, gone.length, True, ())]


def test_a_segment_cut_short_in_what_was_synced_is_corrupt() -> None:
    log = Log()
    some = log.batch(message(1), message(2))
    log.batch(message(3), synced=1)
    log.octets = log.octets[: some[1].offset + some[1].length - 50]
    found = log.scan()
    assert found.frames == [] and found.tail == [], "nothing left says that it was synced"
    assert [damage.corrupt for damage in found.damage] == [False, False]
    # the same with the word of a frame that stands before: two batches in one place of `synced`
    log = Log()
    first = log.batch(message(1), synced=1)
    assert first[0].offset == SEGMENT_HEADER
    log.octets = log.octets[:-50]
    cut = log.scan()
    assert [(damage.corrupt, damage.claims) for damage in cut.damage] == [(True, ((bytes([1]) * 16, b"envelope 1"),))]


def test_damage_at_the_very_beginning_is_judged_by_what_follows() -> None:
    log = Log()
    (first,) = log.batch(message(1))
    log.flip(first.offset)  # the mark itself
    assert [damage.corrupt for damage in log.scan().damage] == [False]
    log.batch(message(2))
    found = log.scan()
    assert [(damage.corrupt, damage.claims) for damage in found.damage] == [(True, ((bytes([1]) * 16, b"envelope 1"),))]


def test_a_seal_after_damage_does_not_make_the_segment_whole() -> None:
    log = Log()
    (first,) = log.batch(message(1))
    log.batch(message(2))
    log.batch(Frame(SEAL, bytes(16)))
    log.flip(first.offset + 12)
    assert not log.scan().sealed


# -- bodies that lie -----------------------------------------------------------------------------------------------


def forged(mark: bytes, seed: int) -> bytes:
    """A frame as one who knows `mark` and believes in `seed` would put it into a mail."""
    header = HEADER.__class__(1, mark + bytes(8), 1.0, mark, seed)
    parts, _ = encode_batch([message(66)], header, 0, 1, 9, 7)
    return b"".join(parts)


@pytest.mark.parametrize("harm", ["none", "length", "mark"])
@pytest.mark.parametrize("known", ["nothing", "mark"])
def test_a_frame_inside_a_body_is_never_found(harm: str, known: str) -> None:
    """Even of one who has guessed the mark: 2^-64; the seed of the CRC is another 32 bits."""
    octets = forged(b"guessed!", 0) if known == "nothing" else forged(HEADER.mark, zlib.crc32(b"another nonce"))
    for pad in range(8):
        log = Log()
        content = b" " * pad + octets * 3
        (lying,) = log.batch(Frame(MESSAGE, b"L" * 16, b"envelope", b"", 0, b"", (content,), len(content)))
        log.batch(message(2))
        if harm != "none":
            log.flip(lying.offset + (41 if harm == "length" else 3))
        found = log.scan()
        assert 66 not in idents([*found.frames, *[frame for batch in found.tail for frame in batch]])
        assert [idents(batch) for batch in found.tail] == [[2]], "and what follows is found"
        assert (
            all(claim[0] != bytes([66]) * 16 for damage in found.damage for claim in damage.claims) or known == "mark"
        )


def test_a_true_frame_that_is_not_where_one_can_begin_does_not_count() -> None:
    log = Log()
    log.batch(message(1))
    inside = bytes(log.octets[SEGMENT_HEADER:])
    log.octets += bytes(4) + inside + bytes(4)
    found = log.scan()
    assert [idents(batch) for batch in found.tail] == [[1]] and len(found.damage) == 1


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [128, 136, 256, 1024])
def test_the_size_of_the_window_makes_no_difference(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    log = Log()
    some = log.batch(message(1), message(2, 4000), message(3))
    log.batch(Frame(DONE, bytes([1]) * 16, join_marks([HEADER.mark] * 100)))
    log.batch(message(4))
    log.octets += b"\xff" * 3000
    log.flip(some[1].offset + 12)
    want = log.scan()
    assert want.damage and want.frames and want.tail
    monkeypatch.setattr(scanning, "_WINDOW", window)
    assert log.scan() == want


def test_a_long_gap_is_crossed_in_windows_each_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_WINDOW", 64 * 1024)
    log = Log()
    log.batch(message(1))
    start = len(log.octets)
    log.octets += bytes(1024 * 1024)
    log.batch(message(2), synced=0)
    found = log.scan()
    assert [idents(batch) for batch in found.tail] == [[1], [2]]
    assert [(damage.offset, damage.length) for damage in found.damage] == [(start, 1024 * 1024)]
    assert sum(size for size, _ in log.reads) < 2 * len(log.octets)


def test_an_error_of_the_disk_passes_through() -> None:
    log = Log()
    log.batch(message(1))

    def broken(size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        scan(broken, len(log.octets), HEADER)


def test_content_in_a_file_is_not_looked_for_in_the_frame() -> None:
    log = Log()
    log.batch(Frame(MESSAGE, bytes([1]) * 16, b"e", b"", 0, b"prefix", content_size=1 << 31, content_crc=1, flags=FILE))
    log.batch(message(2))
    found = log.scan()
    assert idents(found.frames) == [1] and [idents(batch) for batch in found.tail] == [[2]] and not found.damage


def test_a_batch_is_whole_with_each_frame_in_its_place() -> None:
    log = Log()
    log.batch(message(1), message(2), message(3))
    (batch,) = log.scan().tail
    assert is_whole(batch)
    assert not is_whole(batch[:2]) and not is_whole(batch[1:]) and not is_whole([batch[0], batch[2], batch[1]])
    assert not is_whole([*batch, batch[2]])
