"""The master's hatch: who is let in, what is understood, that nobody makes the master wait."""

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fastrelay.config import Config, Server
from fastrelay.process import hatch
from fastrelay.process.hatch import CALLERS, Answer, Hatch, answer


class House:
    def __init__(self, folder: Path) -> None:
        self.config = Config(server=Server(runtime_dir=str(folder)))
        self.poll = select.poll()
        self.hatch = Hatch(hatch.listen(self.config), self.poll, select.POLLIN)
        self.callers: list[socket.socket] = []

    def call(self, octets: bytes = b"") -> socket.socket:
        caller = socket.socket(socket.AF_UNIX)
        caller.settimeout(5)
        caller.connect(str(hatch.path_of(self.config)))
        self.callers.append(caller)
        if octets:
            caller.sendall(octets)
        return caller

    def turn(self) -> list[str]:
        """What was asked, until nothing more is to be heard."""
        asked = []
        while ready := self.poll.poll(0):
            for fd, _ in ready:
                assert self.hatch.owns(fd)
                asked.append(self.hatch.hear(fd))
        return [word for word in asked if word]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.hatch.close()
    for caller in one.callers:
        caller.close()


def test_it_is_its_owners_alone(house: House) -> None:
    assert os.stat(hatch.path_of(house.config)).st_mode & 0o777 == 0o600


def test_all_who_ask_the_same_hear_the_same(house: House) -> None:
    callers = [house.call(b"reload\n") for _ in range(3)]
    other = house.call(b"upgrade\n")
    assert sorted(house.turn()) == ["reload"] * 3 + ["upgrade"]
    answer(house.hatch.take("reload"), 78, ["x.toml: no", "x.toml: nor that"])
    for caller in callers:
        assert msgspec.json.decode(caller.recv(4096), type=Answer) == Answer(78, ("x.toml: no", "x.toml: nor that"))
        assert caller.recv(1) == b""
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    assert house.hatch.take("reload") == []


@pytest.mark.parametrize("octets", [b"rm -rf\n", b"\xff" * 500, b"reload upgrade\n"])
def test_what_is_not_understood_is_hung_up_on(house: House, octets: bytes) -> None:
    caller = house.call(octets)
    assert house.turn() == []
    with pytest.raises(ConnectionResetError) if len(octets) > 64 else pytest.raises(AssertionError):
        assert caller.recv(1) != b""


def test_one_too_many_is_hung_up_on_and_one_who_left_is_no_matter(house: House) -> None:
    silent = []
    for _ in range(CALLERS + 4):
        silent.append(house.call())
        house.turn()
    assert len(house.hatch.fds) == CALLERS + 1
    assert silent[-1].recv(1) == b""
    for caller in silent:
        caller.close()
    assert house.turn() == [] and len(house.hatch.fds) == 1
    gone = house.call(b"reload\n")
    gone.close()
    assert house.turn() == ["reload"]
    answer(house.hatch.take("reload"), 0, ["done"])


def test_released_it_serves_nobody_and_the_socket_lives(house: House) -> None:
    house.call()
    house.turn()
    house.hatch.release()
    house.call(b"upgrade\n")
    assert house.poll.poll(0) == []
    house.hatch = Hatch(house.hatch.socket, house.poll, select.POLLIN)
    assert house.turn() == ["upgrade"]
