"""Doors: which stay, which are made anew, when they open, and how those go that are not wanted any more."""

import socket

import pytest

from fastrelay.config import Listener
from fastrelay.doors import Doors
from fastrelay.errors import ConfigError
from tests.unit.rooms import settle_down


class Door:
    def __init__(self, listener: Listener, hostname: str) -> None:
        self.listener, self.hostname = listener, hostname
        self.sessions = 0
        self.calls: list[object] = []

    def open(self) -> None:
        self.calls.append("open")

    def pause(self) -> None:
        self.calls.append("pause")

    def retire(self) -> None:
        self.calls.append("retire")

    def drain(self, seconds: float) -> None:
        self.calls.append(seconds)

    def cut(self) -> None:
        self.calls.append("cut")

    def tick(self) -> None:
        pass


class House:
    def __init__(self) -> None:
        self.made: list[Door] = []
        self.doors = Doors(self.make, lambda: 30.0)

    def make(self, listener: Listener, sock: socket.socket, hostname: str) -> Door:
        sock.close()
        if listener.certificate == "broken":
            raise ConfigError("certificate broken")
        self.made.append(Door(listener, hostname))
        return self.made[-1]

    def take(self, *listeners: Listener, hostname: str = "h") -> None:
        self.doors.swap(self.doors.prepare([(one, socket.socket()) for one in listeners], hostname))
        settle_down()


A, B = Listener(address="127.0.0.1:1"), Listener(address="127.0.0.1:2")


def test_they_open_when_the_house_does_and_later_ones_at_once() -> None:
    house = House()
    house.take(A)
    assert house.made[0].calls == []
    house.doors.open()
    house.take(A, B)
    a, b = house.made
    assert a.calls == ["open"] and b.calls == ["open"] and house.doors.all == [a, b]


def test_what_is_the_same_stays_and_what_differs_is_made_anew() -> None:
    house = House()
    house.doors.open()
    house.take(A, B)
    a, b = house.made
    a.sessions = b.sessions = 1
    house.take(A, Listener(address=B.address, max_recipients=200))
    assert a.calls == ["open"] and b.calls == ["open", "retire"], "its sessions go on, nobody hurries them"
    assert house.doors.all == [a, house.made[2], b] and house.doors.sessions == 2
    b.sessions = 0
    house.doors.tick()
    assert house.doors.all == [a, house.made[2]]
    house.take(A, hostname="other")
    assert len(house.made) == 4, "the name is in every greeting"


def test_a_listener_that_is_gone_drains() -> None:
    house = House()
    house.doors.open()
    house.take(A, B)
    house.take(A)
    assert house.made[1].calls == ["open", "retire", 30.0]


def test_one_that_cannot_be_made_changes_nothing() -> None:
    house = House()
    house.doors.open()
    house.take(A)
    with pytest.raises(ConfigError):
        house.take(A, Listener(address=A.address, certificate="broken"))
    assert house.doors.all == [house.made[0]] and house.made[0].calls == ["open"]
    prepared = house.doors.prepare([(A, socket.socket()), (B, socket.socket())], "h")
    house.doors.forget(prepared)
    assert house.made[0].calls == ["open"] and house.made[1].calls == ["retire"]
