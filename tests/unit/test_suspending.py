"""suspending.py: the file's news become the schedule's bars."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fastrelay.process.suspensions import Suspension, Suspensions
from fastrelay.runtime import clock
from fastrelay.schedule.bars import Bars
from fastrelay.suspending import Suspending


class Schedule:
    def __init__(self) -> None:
        self.bars: Bars | None = None
        self.calls = 0

    def bar(self, bars: Bars | None) -> None:
        self.bars = bars
        self.calls += 1

    def names(self) -> Sequence[str]:
        return [bar.name for bar in self.bars.all] if self.bars is not None else []


def test_the_schedule_learns_what_changes_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = clock.now()
    passed = [0.0]
    monkeypatch.setattr(clock, "now", lambda: began + passed[0])
    file, schedule, said = Suspensions(tmp_path), Schedule(), list[str]()
    one = Suspending(Suspensions(tmp_path), schedule, lambda ident: None, lambda level, text: said.append(text))
    one.look()
    assert schedule.calls == 0
    wall = clock.wall()
    file.add(Suspension("domain", "a.test", wall, wall + 50, "r"), wall)
    file.add(Suspension("site", "big", wall, 0.0, "r"), wall)
    one.look()
    one.look()
    assert schedule.names() == ["a.test", "big"] and schedule.calls == 1
    assert schedule.bars is not None
    assert schedule.bars.all[0].until == pytest.approx(clock.now() + 50, abs=5)
    file.end("site", "big", wall)
    one.look()
    assert schedule.names() == ["a.test"]
    passed[0] = 60.0
    one.look()
    assert schedule.bars is None
    assert said == []


def test_a_file_that_cannot_be_read_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    file, schedule, said = Suspensions(tmp_path), Schedule(), list[str]()
    one = Suspending(Suspensions(tmp_path), schedule, lambda ident: None, lambda level, text: said.append(text))
    file.add(Suspension("site", "big", 0.0, 0.0, "r"), 1.0)
    one.look()
    (tmp_path / "control.json").write_bytes(b"{}")
    one.look()
    one.look()
    assert schedule.names() == ["big"] and len(said) == 1 and "stays so" in said[0]
    (tmp_path / "control.json").unlink()
    one.look()
    assert schedule.names() == []
