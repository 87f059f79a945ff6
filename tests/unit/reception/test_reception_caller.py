"""caller.py: the name that comes in time, the one that does not, and a bound on how many are looked up."""

from collections.abc import Callable

import pytest

from fastrelay.reception import caller as module
from fastrelay.reception.caller import MAX_UNDER_WAY, UNKNOWN, Callers
from fastrelay.runtime import clock, tasks


def answering(name: str) -> Callable[[str], str]:
    return lambda address: name


def test_a_name_found_before_it_is_asked_for() -> None:
    asked: list[str] = []
    callers = Callers(lambda address: asked.append(address) or "mail.client.example")  # type: ignore[func-returns-value]
    one = callers.begin("192.0.2.1")
    tasks.run_loop_once()
    assert one is not None and one.name() == "mail.client.example" == one.name()
    assert asked == ["192.0.2.1"] and callers.under_way == 0


def test_a_name_that_is_waited_for() -> None:
    gate = tasks.Event()

    def look_up(address: str) -> str:
        gate.wait(20.0)
        return "late.client.example"

    one = Callers(look_up).begin("192.0.2.1")
    tasks.spawn(gate.set)
    assert one is not None and one.name() == "late.client.example"


def test_no_name_is_unknown() -> None:
    one = Callers(answering("")).begin("192.0.2.1")
    assert one is not None and one.name() == UNKNOWN


def test_the_wait_is_counted_from_the_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tasks.Event()
    now = clock.now()
    one = Callers(lambda address: str(gate.wait(20.0))).begin("192.0.2.1")
    monkeypatch.setattr(clock, "now", lambda: now + 60.0)
    assert one is not None and one.name() == UNKNOWN  # at once: its time is over
    gate.set()
    tasks.run_loop_once()


def test_a_lookup_that_breaks_is_loud_and_means_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))

    def break_down(address: str) -> str:
        raise RuntimeError("no such row")

    callers = Callers(break_down)
    one = callers.begin("192.0.2.1")
    assert one is not None and one.name() == UNKNOWN
    assert [str(error) for error in crashes] == ["no such row"] and callers.under_way == 0


def test_a_crowd_at_a_dead_name_server_is_bounded() -> None:
    gate = tasks.Event()
    callers = Callers(lambda address: str(gate.wait(20.0)))
    begun = [callers.begin(f"192.0.2.{n % 256}") for n in range(MAX_UNDER_WAY + 10)]
    assert begun[MAX_UNDER_WAY:] == [None] * 10 and None not in begun[:MAX_UNDER_WAY]
    gate.set()
    for _ in range(3):
        tasks.run_loop_once()
    assert callers.under_way == 0 and callers.begin("192.0.2.1") is not None
    tasks.run_loop_once()


def test_two_seconds_at_most() -> None:
    assert module.NAME_SECONDS == 2.0
