"""A reload, step by step, against workers that answer as a test says."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fastrelay.config import Config, parse
from fastrelay.errors import ConfigError, MachineShort
from fastrelay.process import orders
from fastrelay.process.children import Child
from fastrelay.process.privileges import STAY
from fastrelay.process.reload import PATIENCE, Reload, Step, Verdict, for_a_life
from fastrelay.process.sockets import bind, canonical
from tests.peers.descriptors import descriptors_left


class Worker:
    """A child's end of the line."""

    def __init__(self, pid: int) -> None:
        ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.child = Child(pid, 0.0, ours)

    def hears(self) -> orders.Order:
        order = orders.receive(self.control)
        assert order is not None
        return order

    def silent(self) -> bool:
        try:
            orders.receive(self.control)
        except BlockingIOError:
            return True
        return False


class Staff:
    """Two workers and the listeners of `config`."""

    class page:
        slots = 12

    def __init__(self, config: Config) -> None:
        self.config = config
        self.identity = STAY
        self.crew = [Worker(1), Worker(2)]
        self.listeners = [bind(listener.address, STAY) for listener in config.listeners]

    @property
    def living_workers(self) -> list[Child]:
        return [worker.child for worker in self.crew]

    @property
    def addresses(self) -> list[str]:
        return [canonical(listener.address) for listener in self.config.listeners]


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staff = Staff(self.config("one"))
        self.applied: list[Reload] = []

    def config(self, *names: str, more: str = "") -> Config:
        return parse(more + "".join(f"[[listener]]\naddress = 'unix:{self.folder}/{name}'\n" for name in names), "file")

    def reload(self, config: Config) -> Reload:
        return Reload(7, config, self.staff, 100.0, lambda reload, now: self.applied.append(reload))  # type: ignore[arg-type]

    def answer(self, reload: Reload, worker: Worker, word: str, text: str = "") -> None:
        orders.send(worker.control, word, 7, text)
        order = orders.receive(worker.child.control)
        assert order is not None
        reload.answered(worker.child, order)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    for sock in one.staff.listeners:
        sock.close()


def test_all_prepare_then_all_swap(house: House) -> None:
    wanted = house.config("one", "two", more="[limits]\nmemory = '1MiB'\n")
    reload = house.reload(wanted)
    first, second = house.staff.crew
    assert reload.look(100.0) is None
    for worker in (first, second):
        order = worker.hears()
        assert (order.word, order.serial, order.config) == ("prepare", 7, wanted)
        assert [sock.getsockname() for sock in order.sockets] == [f"{house.folder}/one", f"{house.folder}/two"]
        for sock in order.sockets:
            sock.close()
    house.answer(reload, first, "prepared")
    assert reload.look(100.1) is None and house.applied == [] and first.silent(), "one is not all"
    house.answer(reload, second, "prepared")
    assert reload.look(100.2) is None and house.applied == [reload] and reload.step is Step.SWAPPING
    assert first.hears().word == second.hears().word == "swap"
    assert reload.listeners[0] is house.staff.listeners[0], "a listener that stays keeps its socket"
    house.answer(reload, first, "swapped")
    assert reload.look(100.3) is None
    house.answer(reload, second, "swapped")
    assert reload.look(100.4) == Verdict(0, ("reloaded file",))
    reload.listeners[1].close()


def test_one_refusal_is_everybodys(house: House) -> None:
    reload = house.reload(house.config("one", "two"))
    first, second = house.staff.crew
    reload.look(100.0)
    house.answer(reload, first, "prepared")
    house.answer(reload, second, "refused", "certificate x: no such file")
    assert reload.look(100.1) == Verdict(78, ("file: certificate x: no such file",))
    assert house.applied == [] and not (house.folder / "two").exists()
    assert [first.hears().word, first.hears().word] == ["prepare", "forget"]


def test_silence_is_no_consent(house: House) -> None:
    reload = house.reload(house.config("one"))
    reload.look(100.0)
    house.answer(reload, house.staff.crew[0], "prepared")
    assert reload.look(100.0 + PATIENCE - 0.1) is None
    verdict = reload.look(100.0 + PATIENCE)
    assert verdict is not None and verdict.code == 75 and "worker process 2 did not answer" in verdict.lines[0]
    assert house.applied == []


def test_one_that_dies_is_not_waited_for_and_one_that_comes_is_asked(house: House) -> None:
    reload = house.reload(house.config("one"))
    first = house.staff.crew[0]
    reload.look(100.0)
    house.answer(reload, first, "prepared")
    third = Worker(3)
    house.staff.crew = [first, third]
    assert reload.look(100.1) is None and third.hears().word == "prepare"
    house.answer(reload, third, "prepared")
    reload.look(100.2)
    assert house.applied == [reload]
    house.staff.crew = [first]
    house.answer(reload, first, "swapped")
    assert reload.look(100.3) == Verdict(0, ("reloaded file",))


def test_an_answer_to_another_reload_counts_for_nothing(house: House) -> None:
    reload = house.reload(house.config("one"))
    first = house.staff.crew[0]
    reload.look(100.0)
    reload.answered(first.child, orders.Order("prepared", 6))
    house.answer(reload, house.staff.crew[1], "prepared")
    assert reload.look(100.1) is None and house.applied == []


def test_what_cannot_change_is_a_line_each(house: House) -> None:
    wanted = house.config("one", more="[server]\nuser = 'x'\nruntime_dir = '/y'\n[spool]\npath = '/z'\n")
    with pytest.raises(ConfigError) as refused:
        house.reload(wanted)
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["server.user", "server.runtime_dir", "spool.path"]
    assert all("needs a restart" in line for line in lines)
    assert for_a_life(wanted, wanted) == []


def test_what_cannot_be_opened_leaves_nothing_behind(house: House) -> None:
    with bind(f"unix:{house.folder}/taken", STAY), pytest.raises(MachineShort, match="address already in use"):
        house.reload(house.config("one", "two", "taken"))
    assert not (house.folder / "two").exists() and (house.folder / "one").exists()
    with pytest.raises(ConfigError, match="at most 12 without a restart"):
        house.reload(house.config("one", more="[server]\nworkers = 13\n"))


def test_a_configuration_travels_whole() -> None:
    text = (
        "[[site]]\nname = 'a'\nmx_suffix = ['.a']\nconnect_rate = '7/min'\n[[route]]\ndomain = '*'\nnext_hop = ['h']\n"
    )
    config = parse(text + "[bounce]\nreturn = 'full'\n" + "".join(f"[[site]]\nname = '{n}'\n" for n in range(5000)))
    fd = orders.sealed(config)
    try:
        assert os.fstat(fd).st_size > 212_992, "more than a socket's buffer"
        assert msgspec.msgpack.decode(os.pread(fd, 1 << 24, 0), type=Config) == config
    finally:
        os.close(fd)


def test_a_machine_without_descriptors_refuses_and_nothing_is_left_open(house: House) -> None:
    with descriptors_left(1), pytest.raises(MachineShort, match="cannot prepare the new configuration"):
        house.reload(house.config("one", "two"))
    assert not (house.folder / "two").exists() and (house.folder / "one").exists()
    house.reload(house.config("one", "two")).drop()
