"""adoption.py: who is taken over, when, by whom; what an error before and after the rename means."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from fastrelay.adoption import ADOPT_AFTER, Adoption
from fastrelay.errors import MachineShort
from fastrelay.runtime import tasks
from tests.unit.rooms import settle_down


class House:
    """unowned: slots seen. broken: what adopting raises, after as many entries as `before` says."""

    def __init__(self, tmp_path: Path) -> None:
        self.unowned: list[Path] = []
        self.left: set[int] = set()
        self.may = True
        self.broken: Exception | None = None
        self.renames = True
        self.gate: tasks.Event | None = None
        self.taken: list[Path] = []
        self.entries: list[str] = []
        self.lost: list[str] = []
        self.said: list[tuple[str, str]] = []
        self.adoption = Adoption(
            tmp_path,
            self,
            self.entries.append,
            may_adopt=lambda: self.may,
            lost=self.lost.append,
            say=lambda level, text: self.said.append((level, text)),
            is_left=lambda slot: slot in self.left,
            unowned_in=self.seen,
            away=lambda function, *args: function(*args),
        )
        self.folder = tmp_path

    def seen(self, spool: Path) -> Iterable[Path]:
        assert spool == self.folder
        return list(self.unowned)

    def slot(self, number: int) -> Path:
        path = self.folder / f"slot-{number:03d}"
        path.mkdir()
        self.unowned.append(path)
        return path

    def adopt(self, path: Path, /) -> Iterator[str]:
        self.taken.append(path)
        if self.gate is not None:
            self.gate.wait()
        if self.renames:
            path.rmdir()
            self.unowned.remove(path)
            yield "one"
        if self.broken is not None:
            raise self.broken
        yield "two"

    def look(self, now: float) -> None:
        self.adoption.look(now)
        settle_down()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_slot_is_taken_over_once_it_was_without_an_owner_long_enough(house: House) -> None:
    path = house.slot(3)
    house.look(100.0)
    house.look(100.0 + ADOPT_AFTER - 1.0)
    assert house.taken == []
    house.look(100.0 + ADOPT_AFTER)
    assert house.taken == [path] and house.entries == ["one", "two"]
    assert house.said == [("info", "adopted slot-003: 2 messages")] and house.lost == []


def test_one_whose_worker_came_back_begins_anew(house: House) -> None:
    path = house.slot(3)
    house.look(100.0)
    house.unowned.remove(path)
    house.look(105.0)
    house.unowned.append(path)
    house.look(106.0)
    house.look(100.0 + ADOPT_AFTER)
    assert house.taken == []
    house.look(106.0 + ADOPT_AFTER)
    assert house.taken == [path]


def test_the_least_loaded_takes_it_and_one_at_a_time(house: House) -> None:
    first, second = house.slot(3), house.slot(4)
    house.may = False
    house.look(100.0)
    house.look(120.0)
    assert house.taken == []
    house.may, house.gate = True, tasks.Event()
    house.look(121.0)
    house.look(122.0)
    assert house.taken == [first] and house.adoption.under_way
    house.gate.set()
    settle_down()
    assert not house.adoption.under_way
    house.look(123.0)
    assert house.taken == [first, second]


def test_an_error_before_the_rename_leaves_it_to_be_tried_again(house: House) -> None:
    path = house.slot(3)
    house.renames, house.broken = False, MachineShort("the disk is full")
    house.look(100.0)
    house.look(110.0)
    assert house.said == [("error", "cannot adopt slot-003: the disk is full")]
    assert house.lost == [] and not house.adoption.under_way
    house.broken = None
    house.look(111.0)
    house.look(111.0 + ADOPT_AFTER)
    assert house.taken == [path, path] and house.said[-1] == ("info", "adopted slot-003: 1 message")


def test_a_slow_disk_is_looked_at_once_at_a_time_and_one_that_fails_is_looked_at_again(house: House) -> None:
    path, gate, looks = house.slot(3), tasks.Event(), []

    def away(function: Callable[[Path], object], spool: Path) -> object:
        looks.append(spool)
        gate.wait()
        if len(looks) == 1:
            raise OSError(5, "Input/output error")
        return function(spool)

    house.adoption = Adoption(
        house.folder, house, house.entries.append, may_adopt=lambda: True, lost=house.lost.append,
        say=lambda level, text: None, unowned_in=house.seen, away=away,
    )  # fmt: skip
    house.look(100.0)
    house.look(101.0)
    assert len(looks) == 1, "no second look while the first one waits"
    gate.set()
    settle_down()
    house.look(102.0)
    house.look(102.0 + ADOPT_AFTER)
    assert house.taken == [path]


@pytest.mark.parametrize("broken", [MachineShort("cannot read"), KeyError("a bug")])
def test_an_error_after_it_ends_the_worker(house: House, monkeypatch: pytest.MonkeyPatch, broken: Exception) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    house.slot(3)
    house.broken = broken
    house.look(100.0)
    house.look(110.0)
    assert house.entries == ["one"] and len(house.lost) == 1 and "after its adoption" in house.lost[0]
    assert crashes == ([broken] if isinstance(broken, KeyError) else [])


def test_a_slot_whose_worker_was_ended_for_good_is_taken_over_at_once(house: House) -> None:
    house.slot(2)
    left = house.slot(3)
    house.left = {3, 4}
    house.look(100.0)
    assert house.taken == [left]
