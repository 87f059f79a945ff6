import weakref

import pytest

from fastrelay.runtime import tasks
from fastrelay.runtime.crowd import Crowd


def turns() -> None:
    for _ in range(3):
        tasks.run_loop_once()


def test_work_runs_on_resting_tasks() -> None:
    crowd, seen = Crowd(), []

    def work(name: str) -> None:
        seen.append((name, tasks.current()))

    for name in ("a", "b"):
        crowd.spawn(work, name)
        assert len(seen) == len({n for n, _ in seen})  # never at once, always on the next turn
        turns()
    assert [name for name, _ in seen] == ["a", "b"] and seen[0][1] is seen[1][1] and crowd.resting == 1


def test_as_many_at_once_as_come_and_few_rest() -> None:
    crowd, gate, ended = Crowd(most=2), tasks.Event(), []

    def work(n: int) -> None:
        gate.wait()
        ended.append(n)

    for n in range(10):
        crowd.spawn(work, n)
    turns()
    assert not ended and crowd.resting == 0
    gate.set()
    turns()
    assert sorted(ended) == list(range(10)) and crowd.resting == 2


def test_an_error_is_told_and_the_task_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, BaseException]] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: told.append((name, error)))
    crowd, seen = Crowd(), []

    def fails() -> None:
        raise KeyError("x")

    crowd.spawn(fails)
    turns()
    crowd.spawn(seen.append, 1)
    turns()
    assert seen == [1] and crowd.resting == 1
    assert [(name.rpartition(".")[2], repr(error)) for name, error in told] == [("fails", "KeyError('x')")]


def test_a_killed_one_ends_and_does_not_rest() -> None:
    crowd, mine = Crowd(), []

    def waits() -> None:
        mine.append(tasks.current())
        tasks.Event().wait()

    crowd.spawn(waits)
    turns()
    tasks.kill(mine[0])
    turns()
    assert mine[0].dead and crowd.resting == 0


def test_what_work_held_is_let_go() -> None:
    class Thing:
        pass

    crowd, thing = Crowd(), Thing()
    gone = weakref.ref(thing)
    crowd.spawn(lambda held: None, thing)
    turns()
    del thing
    assert crowd.resting == 1 and gone() is None


def test_a_kill_that_comes_late_ends_a_resting_task_and_no_work_is_lost() -> None:
    crowd, mine, seen = Crowd(), [], []
    crowd.spawn(lambda: mine.append(tasks.current()))
    turns()
    tasks.kill(mine[0])
    turns()
    assert mine[0].dead and crowd.resting == 0
    crowd.spawn(seen.append, 1)
    turns()
    assert seen == [1]
