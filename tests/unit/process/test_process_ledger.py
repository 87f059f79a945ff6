"""process/ledger.py: all or nothing, nothing left behind, rows reused, waiters woken in turn."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fastrelay.config import Rate
from fastrelay.errors import MisuseError
from fastrelay.process.ledger import Ledger
from fastrelay.process.limit import Refused, Why
from fastrelay.process.rows import COLUMNS, WINDOW, Rows


class Key(msgspec.Struct, frozen=True):
    kind: str
    names: tuple[str, ...]


class Limit(msgspec.Struct, frozen=True):
    count: int | None = None
    rate: Rate | None = None


SITE, CLIENT = Key("site", ("google",)), Key("client", ("192.0.2.1",))
NOW = 5000.0


@pytest.fixture
def house() -> Iterator[list[Ledger]]:
    """One ledger as three workers see it: slots 0, 1 and 2."""
    first = Ledger.create(12)
    seats = [first, Ledger(first.fd, first.eventfds), Ledger(first.fd, first.eventfds)]
    for slot, one in enumerate(seats):
        one.attach(slot)
    yield seats
    first.close()


def crowded(first: Ledger) -> Ledger:
    """The same ledger where all keys share one window."""

    def by_name(secret: bytes, key: Any) -> bytes:
        return b"\1\0\0\0" + bytes(key.names[0].encode().rjust(12))

    one = Ledger(first.fd, first.eventfds, make_rows=lambda fd: Rows(fd, hashed=by_name))
    one.attach(0)
    return one


@contextlib.contextmanager
def locked_elsewhere(one: Ledger) -> Iterator[None]:
    """Another process holds the lock and does not let go."""
    heard, say = os.pipe()
    wait, go_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        fcntl.lockf(one.fd, fcntl.LOCK_EX, 1, 0)
        os.write(say, b"locked")
        os.close(go_on)
        os.read(wait, 1)
        os._exit(0)
    os.read(heard, 6)
    try:
        yield
    finally:
        os.close(go_on)
        os.waitpid(pid, 0)
        for fd in (heard, say, wait):
            os.close(fd)


def refused(answer: object) -> Refused:
    assert isinstance(answer, Refused) and not answer
    return answer


def test_a_count_holds_over_all_columns(house: list[Ledger]) -> None:
    limit = Limit(5)
    taken = [one for one in house * 4 if one.take([(SITE, limit)], NOW)]
    assert len(taken) == 5 and house[0].total(SITE) == 5
    assert refused(house[2].take([(SITE, limit)], NOW)).why is Why.COUNT
    taken[0].give([SITE])
    assert house[2].take([(SITE, limit)], NOW)
    for one, times in ((house[0], 1), (house[1], 2), (house[2], 2)):
        one.give([SITE] * times)
    assert house[0].total(SITE) == 0


def test_all_or_nothing(house: list[Ledger]) -> None:
    one = house[0]
    assert one.take([(CLIENT, Limit(1))], NOW)
    answer = refused(one.take([(SITE, Limit(5, Rate(1, 60))), (CLIENT, Limit(1))], NOW))
    assert answer.key == CLIENT and answer.retry_at is None
    assert one.total(SITE) == 0
    one.give([CLIENT])
    assert one.take([(SITE, Limit(5, Rate(1, 60))), (CLIENT, Limit(1))], NOW), "the rate was not used up either"


def test_the_same_key_twice_counts_twice(house: list[Ledger]) -> None:
    assert not house[0].take([(SITE, Limit(1)), (SITE, Limit(1))], NOW)
    assert house[0].total(SITE) == 0
    assert house[0].take([(SITE, Limit(2)), (SITE, Limit(2))], NOW)
    assert house[0].total(SITE) == 2


def test_a_rate_holds_over_all_columns_and_is_not_given_back(house: list[Ledger]) -> None:
    limit = Limit(rate=Rate(2, 1))
    assert house[0].take([(SITE, limit)], NOW)
    house[0].give([SITE])
    answer = refused(house[1].take([(SITE, limit)], NOW + 0.25))
    assert (answer.why, answer.retry_at) == (Why.RATE, NOW + 0.5)
    assert house[1].take([(SITE, limit)], NOW + 0.5)
    assert house[0].statistics()["unheld"] == 1


def test_a_cleared_column_leaves_no_residue(house: list[Ledger]) -> None:
    keys = [Key("site", (f"site-{n}",)) for n in range(500)]
    for key in keys:
        assert house[1].take([(key, Limit(10))], NOW) and house[2].take([(key, Limit(10))], NOW)
    house[0].take([(SITE, Limit(1))], NOW)
    house[1].wait_mark(SITE)
    assert house[0].clear_column(1) == 500
    assert [house[0].total(key) for key in keys] == [1] * 500
    assert not house[0].wanted(SITE), "the dead do not wait"


def test_clearing_wakes_those_who_wait_for_what_the_dead_held(house: list[Ledger]) -> None:
    assert house[1].take([(SITE, Limit(1))], NOW)
    assert not house[2].take([(SITE, Limit(1))], NOW, wait=True)
    house[0].clear_column(1)
    assert house[2].freed() == [SITE]
    assert house[2].take([(SITE, Limit(1))], NOW)


def test_waiting_and_wanted(house: list[Ledger]) -> None:
    holder, other, third = house
    assert holder.take([(SITE, Limit(1))], NOW)
    assert not holder.wanted(SITE)
    assert not other.take([(SITE, Limit(1))], NOW, wait=True)
    assert third.wait_mark(SITE) == 1
    assert holder.wanted(SITE) and not other.wanted(SITE)
    assert other.freed() == [] and third.freed() == []
    holder.give([SITE])
    woken = [one for one in (other, third) if one.freed() == [SITE]]
    assert len(woken) == 1, "one give wakes one waiter"
    assert woken[0].take([(SITE, Limit(1))], NOW)
    assert woken[0].wanted(SITE)
    woken[0].give([SITE])
    assert sum(one.freed() == [SITE] for one in (other, third)) == 1


def test_waiters_are_woken_in_turn(house: list[Ledger]) -> None:
    holder, *others = house
    turns: list[int] = []
    for _ in range(6):
        assert holder.take([(SITE, Limit(1))], NOW)
        for one in others:
            one.wait_mark(SITE)
        holder.give([SITE])
        turns += [slot for slot, one in enumerate(others, 1) if one.freed()]
    assert turns == [1, 2, 1, 2, 1, 2]


def test_who_gives_up_waiting_is_not_woken(house: list[Ledger]) -> None:
    assert house[0].take([(SITE, Limit(1))], NOW)
    house[1].wait_mark(SITE)
    house[1].wait_over(SITE)
    assert not house[0].wanted(SITE)
    house[0].give([SITE])
    assert house[1].freed() == []
    assert house[1].wait_mark(CLIENT) == 0, "nobody holds it: nothing to wait for"


def test_idle_rows_are_reused_and_a_full_neighbourhood_refuses(
    house: list[Ledger],
) -> None:
    one = crowded(house[0])
    for n in range(WINDOW):
        limit = Limit(3) if n else Limit(rate=Rate(1, 60))
        assert one.take([(Key("k", (str(n),)), limit)], NOW)
    answer = refused(one.take([(Key("k", ("late",)), Limit(3))], NOW + 1))
    assert answer.why is Why.FULL and one.statistics()["full"] == 1
    assert one.take([(Key("k", ("late",)), Limit(3))], NOW + 61), "the row with only a rate is idle by now"
    one.give([Key("k", ("7",))])
    assert one.take([(Key("k", ("later",)), Limit(3))], NOW + 61)
    assert one.total(Key("k", ("7",))) == 0 and one.total(Key("k", ("8",))) == 1
    assert refused(one.take([(Key("k", ("0",)), Limit(rate=Rate(1, 60)))], NOW + 61)).why is Why.FULL


def test_a_full_ledger_undoes_the_keys_before_it(house: list[Ledger]) -> None:
    one = crowded(house[0])
    for n in range(WINDOW):
        assert one.take([(Key("k", (str(n),)), Limit(2))], NOW)
    assert not one.take([(Key("k", ("5",)), Limit(2)), (Key("k", ("late",)), Limit(2))], NOW)
    assert one.total(Key("k", ("5",))) == 1


def test_names_do_not_run_into_one_another(house: list[Ledger]) -> None:
    assert house[0].take([(Key("a", ("b", "c")), Limit(1))], NOW)
    assert house[0].take([(Key("a", ("bc",)), Limit(1))], NOW)
    assert house[0].take([(Key("ab", ("c",)), Limit(1))], NOW)


def test_forgotten_rows_are_found_again(house: list[Ledger]) -> None:
    one = Ledger(house[0].fd, house[0].eventfds, make_rows=lambda fd: Rows(fd, known=4))
    one.attach(0)
    keys = [Key("client", (str(n),)) for n in range(50)]
    for key in keys:
        assert one.take([(key, Limit(1))], NOW)
    assert not any(house[1].take([(key, Limit(1))], NOW) for key in keys)
    one.give(keys)
    assert all(house[1].take([(key, Limit(1))], NOW) for key in keys)


def test_a_lock_held_too_long_refuses_and_never_blocks_a_give(house: list[Ledger]) -> None:
    one = house[0]
    assert one.take([(SITE, Limit(2))], NOW)
    house[1].wait_mark(SITE)
    with locked_elsewhere(one):
        answer = refused(one.take([(SITE, Limit(2))], NOW))
        assert answer.why is Why.BUSY and answer.retry_at is not None and answer.retry_at > NOW
        one.give([SITE])
    assert one.total(SITE) == 0
    assert house[1].freed() == [], "its mark still stands, so the next give rings again"


def test_one_more_far_below_the_limit_needs_no_lock(house: list[Ledger]) -> None:
    one, limit = house[0], Limit(COLUMNS + 3)
    assert one.take([(SITE, limit)], NOW)
    with locked_elsewhere(one):
        assert one.take([(SITE, limit)], NOW) and one.take([(SITE, limit)], NOW)
        full = "3 and all columns are the limit: under the lock"
        assert refused(one.take([(SITE, limit)], NOW)).why is Why.BUSY, full
        assert refused(one.take([(SITE, Limit(COLUMNS + 9, Rate(5, 1)))], NOW)).why is Why.BUSY, "a rate needs the lock"
        assert refused(house[1].take([(SITE, limit)], NOW)).why is Why.BUSY, "and so does a key not held yet"
    one.give([SITE, SITE, SITE])
    assert one.total(SITE) == 0 and one.statistics()["held"] == 0


def test_who_fell_behind_without_the_lock_takes_back_what_is_too_much(house: list[Ledger]) -> None:
    one, other, limit = house[0], house[1], Limit(COLUMNS + 3)
    assert one.take([(SITE, limit)], NOW)

    class Late:
        """The counts of a process that loses its processor right after its first look."""

        def __init__(self, counts: Any) -> None:
            self.counts, self.looked = counts, False

        def __getitem__(self, at: Any) -> Any:
            seen = self.counts[at]
            if isinstance(at, slice) and not self.looked:
                self.looked, seen = True, seen.tolist()
                while other.take([(SITE, limit)], NOW):
                    pass
            return seen

        def __setitem__(self, at: int, count: int) -> None:
            self.counts[at] = count

    one._counts = Late(one._counts)  # type: ignore[assignment]
    assert refused(one.take([(SITE, limit)], NOW)).why is Why.COUNT
    assert other.total(SITE) == COLUMNS + 3
    one._counts = one._counts.counts  # type: ignore[attr-defined]


def test_only_a_ledger_of_this_format_is_opened(house: list[Ledger]) -> None:
    with pytest.raises(MisuseError, match="12 columns, but 2 eventfds"):
        Ledger(house[0].fd, house[0].eventfds[:2])
    house[0]._rows.memory[8:12] = (99).to_bytes(4, "little")
    with pytest.raises(MisuseError, match="format 99"):
        Ledger(house[0].fd, house[0].eventfds)
    fd = os.memfd_create("of another program")
    os.pwrite(fd, bytes(house[0]._rows.memory[:4096]), 0)
    with pytest.raises(MisuseError, match="format 99"):
        Ledger(fd, house[0].eventfds)  # shorter than ours
    os.close(fd)


def test_a_slot_beyond_the_columns_is_refused(house: list[Ledger]) -> None:
    with pytest.raises(MisuseError, match="slots 0 to 11"):
        house[0].attach(12)
    with pytest.raises(MisuseError):
        Ledger.create(129)
