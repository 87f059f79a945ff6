"""Claiming a slot: not before the master has cleared what its last holder left."""

import os
import socket
from collections.abc import Iterator

import pytest

from fastrelay.config import Config
from fastrelay.errors import MachineShort
from fastrelay.process import seat as seats
from fastrelay.process.heartbeat import Page, State
from fastrelay.process.ledger import Ledger
from fastrelay.process.seat import CLEARED, Seat


@pytest.fixture
def seat() -> Iterator[Seat]:
    page, ledger = Page.create(4), Ledger.create(4)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield Seat(Config(), 0, [], page, ledger, -1, theirs)
    page.close()
    ledger.close()
    ours.close()
    theirs.close()


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.naps = 0
        monkeypatch.setattr(seats.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(seats.time, "sleep", self.nap)

    def nap(self, seconds: float) -> None:
        self.naps += 1
        self.now += seconds


def left_by_a_dead(seat: Seat, slot: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 999_999)
        seat.page.claim(slot, 1.0)


def test_a_free_slot_is_claimed_at_once(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seat.claim(1)
    assert clock.naps == 0 and seat.page.slot == 1 and seat.page.row(1).pid == os.getpid()
    assert seat.page.row(1).beat == 100.0
    seat.ready()
    assert seat.page.row(1).state is State.READY


def test_a_slot_the_master_has_not_cleared_yet_is_waited_for(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_dead(seat, 1, monkeypatch)
    clock = Clock(monkeypatch)
    nap = clock.nap

    def nap_and_wipe(seconds: float) -> None:
        nap(seconds)
        if clock.naps == 3:
            seat.page.wipe(1)

    monkeypatch.setattr(seats.time, "sleep", nap_and_wipe)
    seat.claim(1)
    assert clock.naps == 3 and seat.page.row(1).pid == os.getpid()


def test_a_slot_that_is_never_cleared_is_an_error(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_dead(seat, 1, monkeypatch)
    clock = Clock(monkeypatch)
    with pytest.raises(MachineShort, match="slot 1 still counts as held by process 999999"):
        seat.claim(1)
    assert 100.0 + CLEARED <= clock.now < 101.0 + CLEARED
