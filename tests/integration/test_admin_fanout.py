"""Asking every slot over real sockets: the quick, the silent, the garbled, the gone and the endless."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastrelay.admin import fanout
from fastrelay.admin.fanout import Fanout
from fastrelay.control import Door
from fastrelay.errors import MachineShort
from fastrelay.process.heartbeat import Page
from fastrelay.process.privileges import STAY
from fastrelay.process.sockets import bind
from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream
from tests.peers.task import run

Answer = Callable[[Any], Any]


class Place:
    """A spool and a runtime_dir, and workers in them."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.run = folder / "spool", folder / "run"
        self.spool.mkdir()
        self.run.mkdir()
        self.page = Page.create(8)
        self.fanout = Fanout(self.run, self.spool, self.page)
        self.doors: list[Door | Listener] = []

    def path(self, slot: int) -> Path:
        (self.spool / f"slot-{slot:03d}").mkdir()
        (self.spool / f"slot-{slot:03d}" / "segment-0000000001.log").touch()
        return self.run / f"slot-{slot:03d}.sock"

    def worker(self, slot: int, answer: Answer) -> None:
        self.doors.append(Door(answer, self.path(slot)))

    def raw(self, slot: int, serve: Callable[[Stream], object]) -> None:
        listener = Listener(bind(f"unix:{self.path(slot)}", STAY), serve, spawn=tasks.spawn)
        listener.start()
        self.doors.append(listener)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    one = Place(tmp_path)
    yield one
    for door in one.doors:
        door.close()
    one.page.close()


def ask(place: Place, *, pages: bool = False, **request: Any) -> tuple[list[Any], list[int]]:
    return run(lambda: place.fanout.ask_all({"verb": "list", **request}, pages=pages))


def test_nobody_to_ask(place: Place) -> None:
    assert ask(place) == ([], [])


def test_answers_come_in_slot_order_whoever_is_first(place: Place) -> None:
    def slow(request: Any) -> Any:
        tasks.sleep(0.05)
        return {"slot": 1, "asked": request["verb"]}

    place.worker(1, slow)
    place.worker(3, lambda request: {"slot": 3, "asked": request["verb"]})
    assert ask(place) == ([{"slot": 1, "asked": "list"}, {"slot": 3, "asked": "list"}], [])


def test_slots_are_those_of_the_spool_and_of_the_page(place: Place) -> None:
    place.worker(0, lambda request: {"slot": 0})
    for name in ("slot-002", "slot-003", "slot-004"):
        (place.spool / name).mkdir()
    (place.spool / "slot-002" / "segment-0000000001.log").touch()
    (place.spool / "slot-003" / "adopted-7").mkdir()
    (place.spool / "slot-004" / "bodies").mkdir()  # no journal: left behind empty
    (place.spool / "slot-006").touch()
    for name in ("slot-2", "slot-0022", "adopted-1", "master.lock"):
        (place.spool / name).mkdir()
    place.page.claim(5, 0.0)
    assert run(place.fanout.slots) == [0, 2, 3, 5]
    assert ask(place) == ([{"slot": 0}], [2, 3, 5])


def test_a_slot_between_two_workers_is_told_from_one_that_does_not_answer(place: Place) -> None:
    place.page.claim(1, 0.0)
    assert place.fanout.whys([1, 5]) == {
        1: "its worker is starting; try again",
        5: "no worker has it this moment: another takes its mail over within seconds; try again",
    }
    place.page.ready()
    assert place.fanout.whys([1]) == {}


def test_a_spool_that_cannot_be_read_is_no_empty_queue(place: Place) -> None:
    os.rmdir(place.spool)
    with pytest.raises(MachineShort, match="cannot look into"):
        ask(place)


def test_silent_garbled_and_dying_workers_are_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PATIENCE", 0.3)
    place.worker(0, lambda request: {"slot": 0})
    place.worker(1, lambda request: tasks.sleep(60))
    place.raw(2, lambda stream: stream.close())
    place.raw(3, lambda stream: stream.write(b"HTTP/1.1 200 OK\r\n\r\n"))
    place.raw(4, lambda stream: stream.write(b"\0\0\0\4nope"))
    place.raw(5, lambda stream: stream.write((2).to_bytes(4, "big") + b"[]"))

    def half(stream: Stream) -> None:
        stream.write((100).to_bytes(4, "big") + b'{"slot": 6,')
        stream.close()

    place.raw(6, half)

    def drip(stream: Stream) -> None:
        for _ in range(1000):
            stream.write(b"\0")
            tasks.sleep(0.05)

    place.raw(7, drip)
    assert ask(place) == ([{"slot": 0}], [1, 2, 3, 4, 5, 6, 7])


def test_pages_are_asked_for_until_there_is_no_next(place: Place) -> None:
    asked: list[str] = []

    def paged(request: Any) -> Any:
        asked.append(request.get("after", ""))
        following = {"": "05", "05": "09", "09": None}[asked[-1]]
        return {"slot": 0, "changed": 1, "next": following}

    place.worker(0, paged)
    place.worker(1, lambda request: {"slot": 1, "changed": 7, "next": None})
    answers, missing = ask(place, pages=True, select={"all": True})
    assert missing == [] and asked == ["", "05", "09"]
    assert [(a["slot"], a["changed"]) for a in answers] == [(0, 1), (0, 1), (0, 1), (1, 7)]
    asked.clear()
    assert len(ask(place)[0]) == 2 and asked == [""], "a list is one page"


def test_a_worker_that_goes_silent_half_way_is_missing_but_what_it_did_counts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "PATIENCE", 0.3)

    def half(request: Any) -> Any:
        if "after" in request:
            tasks.sleep(60)
        return {"slot": 0, "messages": 1, "next": "05"}

    place.worker(0, half)
    assert ask(place, pages=True) == ([{"slot": 0, "messages": 1, "next": "05"}], [0])


def test_a_cursor_that_does_not_get_on_ends_the_asking(place: Place) -> None:
    place.worker(0, lambda request: {"slot": 0, "next": "05"})
    answers, missing = ask(place, pages=True)
    assert len(answers) == 2 and missing == [0]


def test_many_askers_take_turns_and_none_is_hung_up_on(place: Place) -> None:
    together = most = 0

    def counting(request: Any) -> Any:
        nonlocal together, most
        together += 1
        most = max(most, together)
        tasks.sleep(0.01)
        together -= 1
        return {"slot": 0}

    place.worker(0, counting)

    def body() -> list[Any]:
        got: list[Any] = []
        over = tasks.Event()

        def one() -> None:
            got.append(place.fanout.ask_all({"verb": "list"}))
            if len(got) == 50:
                over.set()

        for _ in range(50):
            tasks.spawn(one)
        assert over.wait(20.0)
        return got

    assert run(body) == [([{"slot": 0}], [])] * 50
    assert most == fanout.AT_ONCE
