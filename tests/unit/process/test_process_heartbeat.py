"""The shared page: rows of their slots, read by everyone, freed by the master."""

import os
from collections.abc import Iterator

import pytest

from fastrelay.errors import MisuseError
from fastrelay.process.heartbeat import ALONE, CELLS, FRESH, Page, State

IDENT = bytes(range(16))


@pytest.fixture
def page() -> Iterator[Page]:
    one = Page.create(4)
    yield one
    one.close()


def as_slot(page: Page, slot: int) -> Page:
    """The page as another process has it: its own mapping of the same memory."""
    other = Page(os.dup(page.fd))
    other.claim(slot, 0.0)
    return other


def test_an_empty_page_has_nobody(page: Page) -> None:
    assert page.rows() == [] and page.slot_of(os.getpid()) == -1 and page.pid_of(0) == 0
    assert page.row(3).state is State.FREE and page.restarts == 0


def test_what_a_worker_writes_everyone_reads(page: Page) -> None:
    other = as_slot(page, 2)
    row = page.row(2)
    assert (row.slot, row.pid, row.state) == (2, os.getpid(), State.STARTING)
    other.beat(12.5, 7)
    other.sessions(3)
    other.load(9)
    other.note(5, IDENT)
    other.note(ALONE, IDENT[::-1])
    other.ready()
    row = page.row(2)
    assert (row.state, row.beat, row.progress, row.sessions, row.load) == (State.READY, 12.5, 7, 3, 9)
    assert (row.idents, row.alone) == ((IDENT[::-1], IDENT), IDENT[::-1])
    other.note(ALONE, b"")
    row = page.row(2)
    assert (row.idents, row.alone) == ((IDENT,), b"")
    other.ready(False)
    assert page.row(2).state is State.STARTING
    other.draining()
    assert page.row(2).state is State.DRAINING
    assert page.rows() == [page.row(2)] and page.slot_of(os.getpid()) == 2
    other.close()


def test_neighbours_do_not_touch_one_another(page: Page) -> None:
    others = [as_slot(page, slot) for slot in range(4)]
    for slot, other in enumerate(others):
        other.sessions(slot + 1)
        for cell in range(CELLS):
            other.note(cell, bytes([slot + 1]) * 16)
    assert [row.sessions for row in page.rows()] == [1, 2, 3, 4]
    page.wipe(1)
    assert [row.slot for row in page.rows()] == [0, 2, 3]
    assert page.row(2).idents == (b"\3" * 16,) * CELLS
    for other in others:
        other.close()


def test_a_slot_that_was_left_for_good_is_so_until_it_is_claimed_again(page: Page) -> None:
    other = as_slot(page, 1)
    assert not page.is_left(1)
    page.leave(1)
    assert page.is_left(1) and page.rows() == [] and page.slot_of(os.getpid()) == -1
    assert not page.is_left(0) and not page.is_left(page.slots) and not page.is_left(4711)
    page.row(1)
    other.claim(1, 1.0)
    assert not page.is_left(1)
    page.leave(1)
    page.wipe(1)
    assert not page.is_left(1)
    other.close()


def test_the_admin_child_has_a_row_that_is_no_workers(page: Page) -> None:
    other = as_slot(page, page.admin)
    other.ready()
    other.beat(1.0)
    assert page.rows() == [] and page.slot_of(os.getpid()) == page.admin
    assert page.least_loaded(1.0, 77) == 77
    other.close()


def test_a_slot_beyond_the_page_is_refused(page: Page) -> None:
    for slot in (-1, 5):
        with pytest.raises(MisuseError, match="slots 0 to 3"):
            page.claim(slot, 0.0)


def test_the_least_loaded_is_ready_and_beats(page: Page) -> None:
    others = [as_slot(page, slot) for slot in range(3)]
    for other, sessions in zip(others, (5, 3, 1), strict=True):
        other.sessions(sessions)
        other.beat(100.0)
        other.ready()
    assert page.least_loaded(101.0) == 1
    others[2].draining()
    assert page.least_loaded(101.0) == 3, "one that drains takes nothing"
    others[0].beat(110.0)
    assert page.least_loaded(100.0 + FRESH) == 5, "one that hangs takes nothing"
    others[0].ready(False)
    assert page.least_loaded(100.0 + FRESH, 42) == 42
    for other in others:
        other.close()


def test_a_worker_far_above_the_least_pauses_until_others_have_caught_up(page: Page) -> None:
    busy, idle = as_slot(page, 0), as_slot(page, 1)
    for other in (busy, idle):
        other.beat(1.0)
        other.ready()
    busy.sessions(2)
    assert not busy.may_accept(1.0) and idle.may_accept(1.0)
    idle.sessions(1)
    assert busy.may_accept(1.0)
    idle.sessions(0)
    assert busy.may_accept(2.0 + FRESH), "a sibling that hangs holds nobody up"
    busy.close()
    idle.close()


def test_restarts_are_counted(page: Page) -> None:
    page.count_restart()
    page.count_restart()
    other = as_slot(page, 0)
    assert other.restarts == 2
    other.close()


def test_a_page_of_another_format_is_refused() -> None:
    fd = os.memfd_create("page")
    os.pwrite(fd, b"FRELPAGE\x63\x00\x00\x00" + bytes(4096), 0)
    with pytest.raises(MisuseError, match="format 99"):
        Page(fd)
    os.close(fd)
