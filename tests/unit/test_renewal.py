"""renewal.py: the master's orders as a worker obeys them. A whole reload stands in test_relay_changes.py."""

import socket
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pytest

from fastrelay.config import Config, parse
from fastrelay.renewal import Prepared, Renewal
from fastrelay.runtime import tasks


class Order(NamedTuple):
    word: str
    serial: int = 0
    config: Config | None = None
    sockets: Sequence[socket.socket] = ()


class Doors:
    def __init__(self) -> None:
        self.forgotten = 0

    def prepare(self, wanted: Sequence[tuple[object, socket.socket]], hostname: str) -> list[object]:
        for _, sock in wanted:
            sock.close()
        return []

    def forget(self, prepared: object) -> None:
        self.forgotten += 1


class Rooms:
    """Doors alone: a swap comes upon a room that is missing."""

    def __init__(self) -> None:
        self.doors = Doors()


class House:
    def __init__(self) -> None:
        self.rooms = Rooms()
        self.orders: list[Order | None] = []
        self.answers: list[tuple[str, int, str]] = []
        self.renewed: list[Prepared] = []
        self.lost: list[str] = []
        self.config = parse("", "file")
        self.renewal = Renewal(
            cast(Any, self.rooms),
            self.receive,
            lambda word, serial, text: self.answers.append((word, serial, text)),
            lambda: self.config,
            lambda: cast(Any, None),
            renewed=self.renewed.append,
            lost=self.lost.append,
        )

    def receive(self) -> Order | None:
        if not self.orders:
            raise BlockingIOError
        return self.orders.pop(0)

    def hear(self, *orders: Order | None) -> bool:
        self.orders += orders
        return self.renewal.hear()


WANTED = parse('[log]\nevents = "none"\n', "file")


def prepare(serial: int) -> Order:
    return Order("prepare", serial, WANTED, [socket.socket() for _ in WANTED.listeners])


def test_what_cannot_be_had_is_refused_with_the_reason_and_its_sockets_are_closed() -> None:
    house = House()
    bad = parse('[[credentials]]\nname = "a"\nuser = "u"\npassword_file = "/nowhere/secret"\n', "file")
    ours, theirs = socket.socketpair()
    assert house.hear(Order("prepare", 3, bad, (ours,)))
    ((word, serial, text),) = house.answers
    assert (word, serial) == ("refused", 3) and "/nowhere/secret cannot be read" in text
    assert theirs.recv(1) == b"" and house.hear(Order("swap", 3)) and len(house.answers) == 1
    theirs.close()


def test_only_what_was_prepared_last_is_swapped_and_the_one_before_is_forgotten() -> None:
    house = House()
    house.hear(prepare(1), prepare(2), Order("swap", 1))
    assert [answer[:2] for answer in house.answers] == [("prepared", 1), ("prepared", 2)]
    assert house.rooms.doors.forgotten == 1
    house.hear(Order("forget", 2), Order("swap", 2))
    assert house.rooms.doors.forgotten == 2 and len(house.answers) == 2 and not house.lost


def test_half_a_swap_is_told_and_the_worker_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[str] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(name))
    house = House()
    house.hear(prepare(1), Order("swap", 1))
    assert crashes == ["Worker.swap"] and len(house.lost) == 1 and house.renewed == []
    assert house.answers[-1][:2] == ("swapped", 1), "the master must not wait for a worker that comes again"


def test_a_worker_retires_and_hears_that_the_master_is_gone() -> None:
    house = House()
    assert house.hear(Order("retire")) and house.renewal.retiring
    assert not house.hear(None)
