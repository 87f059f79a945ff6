"""Replay: highest copy, highest state, DONE beats all, in whatever order frames come."""

import itertools

import msgspec

from fastrelay.mail import state as states
from fastrelay.spool.format import DAMAGED, DONE, FILE, MESSAGE, UPDATE, segment_header
from fastrelay.spool.found import Found
from fastrelay.spool.replay import Replay
from fastrelay.spool.segment import Segment
from tests.peers.strongbox import later

A, B = b"a" * 16, b"b" * 16
ONE, TWO = (Segment(segment_header(n, bytes([n]) * 16, 1.0), "slot", 10_000) for n in (1, 2))
STATES = [b"", *[states.encode(later(version)) for version in (1, 2, 3)]]

Fed = list[tuple[Segment, Found]]


def found(kind: int, ident: bytes, *, version: int = 0, copy: int = 0, flags: int = 0, offset: int = 128) -> Found:
    envelope = b"envelope" if kind == MESSAGE else b""
    return Found(
        offset, 200, kind, flags, copy, 0, 1, 1, 0, version, 0, 0, 0, ident, 0, 0, envelope, STATES[version]
    )  # fmt: skip


def outcome(fed: Fed, present: set[bytes] | None = None) -> dict[bytes, tuple[int, int, int, int, set[bytes]]]:
    replay = Replay(present or set())
    for segment, frame in fed:
        replay.feed(segment, frame)
    replay.finish()
    return {
        ident: (held.segment.header.number, held.copy, held.flags, STATES.index(held.state), set(also))
        for ident, held, also in replay.take()
    }


def always(fed: Fed, present: set[bytes] | None = None) -> dict[bytes, tuple[int, int, int, int, set[bytes]]]:
    """The outcome, the same for every order."""
    outcomes = [outcome(list(order), present) for order in itertools.permutations(fed)]
    assert all(one == outcomes[0] for one in outcomes)
    return outcomes[0]


def test_the_highest_copy_and_the_highest_state_win() -> None:
    fed = [
        (ONE, found(MESSAGE, A)),
        (TWO, found(MESSAGE, A, copy=1, version=1)),
        (ONE, found(UPDATE, A, version=1)),
        (ONE, found(UPDATE, A, version=3)),
        (TWO, found(UPDATE, A, version=2)),
    ]
    assert always(fed) == {A: (2, 1, 0, 3, {ONE.mark})}


def test_a_merged_state_is_newer_than_an_old_update() -> None:
    fed = [(ONE, found(UPDATE, A, version=1)), (TWO, found(MESSAGE, A, copy=1, version=2)), (ONE, found(MESSAGE, A))]
    assert always(fed) == {A: (2, 1, 0, 2, {ONE.mark})}


def test_done_beats_everything() -> None:
    fed = [
        (TWO, found(DONE, A)),
        (ONE, found(MESSAGE, A)),
        (TWO, found(MESSAGE, A, copy=7)),
        (ONE, found(UPDATE, A, version=3)),
        (ONE, found(MESSAGE, B)),
    ]
    assert always(fed) == {B: (1, 0, 0, 0, set())}


def test_a_record_without_its_message_is_nothing() -> None:
    assert always([(ONE, found(UPDATE, A, version=3)), (ONE, found(DONE, B))]) == {}


def test_a_good_copy_beats_a_damaged_one_whatever_its_number() -> None:
    fed = [
        (TWO, found(MESSAGE, A, copy=5, flags=DAMAGED)),
        (ONE, found(MESSAGE, A)),
        (ONE, found(UPDATE, A, version=1)),
    ]
    assert always(fed) == {A: (1, 0, 0, 1, {TWO.mark})}


def test_a_message_whose_body_file_is_gone_is_damaged() -> None:
    assert always([(ONE, found(MESSAGE, A, flags=FILE))], {A})[A][2] == FILE
    assert always([(ONE, found(MESSAGE, A, flags=FILE))], {B})[A][2] == FILE | DAMAGED


def test_what_lies_beyond_the_cut_is_damaged() -> None:
    replay = Replay(set())
    replay.feed(ONE, found(MESSAGE, A, offset=128), cut=328)
    replay.feed(ONE, found(MESSAGE, B, offset=328), cut=328)
    replay.finish()
    assert {ident: held.flags for ident, held, _ in replay.take()} == {A: 0, B: DAMAGED}


def test_copies_no_done_names_are_told() -> None:
    fed = [
        (ONE, found(MESSAGE, A)),
        (TWO, found(MESSAGE, A, copy=1)),
        (TWO, msgspec.structs.replace(found(DONE, A), envelope=ONE.mark)),
        (ONE, found(MESSAGE, B)),
        (TWO, msgspec.structs.replace(found(DONE, B), envelope=ONE.mark)),
    ]
    for order in itertools.permutations(fed):
        replay = Replay(set())
        for segment, frame in order:
            replay.feed(segment, frame)
        assert replay.unnamed() == [(A, (TWO.mark,))]
        replay.feed(TWO, msgspec.structs.replace(found(DONE, A), envelope=TWO.mark))
        assert replay.unnamed() == []
