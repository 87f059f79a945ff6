"""Messages that were in hand at a crash: one at a time, named, and none lost whoever is killed where."""

from typing import Any

from fastrelay.runtime import tasks
from fastrelay.schedule.singly import Singly


class Item:
    def __init__(self, ident: bytes) -> None:
        self.ident = ident


class Work:
    """Attempts that wait until they are let go. log: what is begun, ended, handed back, named."""

    def __init__(self, *wary: bytes) -> None:
        self.log: list[str] = []
        self.named = b""
        self.places: dict[bytes, tasks.Parking] = {}
        self.tasks: dict[bytes, tasks.Task] = {}
        self.singly = Singly(wary, self.attempt, self.interrupted, self.name)

    def name(self, ident: bytes) -> None:
        self.named = ident

    def interrupted(self, hands: Any, item: Any) -> None:
        self.log.append(f"back {item.ident.decode()}")

    def attempt(self, hands: Any, item: Any) -> float:
        self.log.append(f"begin {item.ident.decode()}")
        place = self.places[item.ident] = tasks.Parking()
        place.wait(60.0)
        self.log.append(f"end {item.ident.decode()}")
        return 0.0

    def try_all(self, *idents: bytes) -> None:
        for ident in idents:
            item: Any = Item(ident)
            self.tasks[ident] = tasks.spawn(self.singly.attempt, None, item)
        self.settle()

    def settle(self) -> None:
        for _ in range(5):
            tasks.run_loop_once()

    def let_go(self, ident: bytes) -> None:
        self.places[ident].wake()
        self.settle()

    def kill(self, ident: bytes) -> None:
        tasks.kill(self.tasks[ident])
        self.settle()


def test_wary_ones_in_turn_and_others_beside_them() -> None:
    work = Work(b"a", b"b")
    work.try_all(b"a", b"b", b"x", b"y")
    assert work.log == ["begin a", "begin x", "begin y"] and work.named == b"a"
    work.let_go(b"a")
    assert work.log[3:] == ["end a", "begin b"] and work.named == b"b"
    work.let_go(b"b")
    assert work.named == b""
    work.try_all(b"a", b"b")
    assert work.log[5:] == ["end b", "begin a", "begin b"], "harmless, as it turned out"


def test_killed_while_it_waits_it_is_handed_back_and_the_turn_goes_on() -> None:
    work = Work(b"a", b"b", b"c")
    work.try_all(b"a", b"b", b"c")
    work.kill(b"b")
    work.let_go(b"a")
    assert work.log == ["begin a", "back b", "end a", "begin c"]


def test_killed_as_its_turn_comes_it_passes_it_on() -> None:
    work = Work(b"a", b"b", b"c")
    work.try_all(b"a", b"b", b"c")
    tasks.kill(work.tasks[b"a"])
    tasks.kill(work.tasks[b"b"])
    work.settle()
    assert "back b" in work.log and work.log[-1] == "begin c"


def test_killed_in_its_turn_it_passes_it_on_and_stays_wary() -> None:
    work = Work(b"a", b"b")
    work.try_all(b"a", b"b")
    work.kill(b"a")
    assert work.log == ["begin a", "begin b"]
    work.try_all(b"a")
    assert work.log == ["begin a", "begin b"], "waits its turn again"
    work.let_go(b"b")
    assert work.log[-1] == "begin a" and work.named == b"a"
