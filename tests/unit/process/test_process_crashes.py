"""Counting messages in hand at crashes."""

from fastrelay.process.crashes import _REMEMBERED, CRASHES, Crashes

A, B = b"a" * 16, b"b" * 16


def test_an_ident_is_suspect_at_its_third_crash_and_told_once() -> None:
    crashes = Crashes()
    assert crashes.note([A, B]) == [] and crashes.note([A]) == []
    assert crashes.suspects == ()
    assert crashes.note([B, A]) == [A] and crashes.suspects == (A,)
    assert crashes.note([A]) == [], "told once"
    assert crashes.note([B]) == [B] and crashes.suspects == (A, B)


def test_the_same_ident_in_two_cells_is_one_crash() -> None:
    crashes = Crashes()
    for _ in range(CRASHES - 1):
        assert crashes.note([A, A]) == []
    assert crashes.note([A, A]) == [A]


def test_bystanders_are_forgotten_oldest_first() -> None:
    crashes = Crashes()
    crashes.note([A])
    crashes.note([B])
    for number in range(_REMEMBERED - 2):
        crashes.note([number.to_bytes(16, "big")])
    crashes.note([B])
    crashes.note([b"one too many...."])
    assert crashes.note([B]) == [B], "seen again, so remembered"
    crashes.note([A])
    assert crashes.note([A]) == [], "its first crash was forgotten"
