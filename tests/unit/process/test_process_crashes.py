"""Counting messages in hand at crashes."""

import pytest

from fastrelay.process import crashes as crashes_module
from fastrelay.process.crashes import CRASHES, Crashes

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def test_who_was_alone_in_hand_is_suspect_at_the_third_crash_and_told_once() -> None:
    crashes = Crashes()
    assert [crashes.note([A]) for _ in range(CRASHES)] == [[], [], [A]] and crashes.suspects == (A,)
    assert crashes.note([A]) == [], "told once"


def test_of_many_in_hand_none_is_accused_and_all_are_wary() -> None:
    crashes = Crashes()
    assert [crashes.note([A, B]) for _ in range(CRASHES)] == [[]] * CRASHES
    assert crashes.suspects == () and set(crashes.wary) == {A, B}


def test_who_is_tried_alone_beside_others_is_accused() -> None:
    crashes = Crashes()
    crashes.note([A, B, C])
    assert [crashes.note([A, B, C], A) for _ in range(CRASHES)] == [[], [], [A]]
    assert [crashes.note([B, C], B) for _ in range(CRASHES)] == [[], [], [B]] and crashes.suspects == (A, B)


def test_the_same_ident_in_two_cells_is_one_crash() -> None:
    crashes = Crashes()
    assert [crashes.note([A, A]) for _ in range(CRASHES)] == [[], [], [A]]


def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes_module, "_REMEMBERED", 3)
    crashes = Crashes()
    crashes.note([A])
    crashes.note([B])
    crashes.note([bytes(16)])
    crashes.note([B])
    crashes.note([b"one too many...."])
    assert crashes.wary == (bytes(16), B, b"one too many....")
    assert crashes.note([B]) == [B], "seen again, so remembered"
    crashes.note([A])
    assert crashes.note([A]) == [], "its first crash was forgotten"
