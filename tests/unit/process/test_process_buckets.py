"""process/buckets.py: as many as allowed over all processes, even refill, bounded memory, no count lost or leaked."""

import fcntl
import os
import signal
from collections.abc import Iterator

import msgspec
import pytest

from fastrelay.config import Rate
from fastrelay.process.buckets import BUSY, WAYS, draw
from fastrelay.process.ledger import Ledger
from fastrelay.process.rows import SETS

NOW = 5000.0
HUNDRED = Rate(100, 60)


class Key(msgspec.Struct, frozen=True):
    kind: str
    names: tuple[str, ...]


CLIENT = Key("message", ("192.0.2.1",))


@pytest.fixture
def house() -> Iterator[list[Ledger]]:
    """One ledger as two workers see it."""
    first = Ledger.create(4)
    second = Ledger(first.fd, first.eventfds)
    yield [first, second]
    second.rates.close()
    first.close()


def granted(one: Ledger, key: Key, rate: Rate, now: float, tries: int) -> int:
    return sum(one.rates.spend(key, rate, now) == 0.0 for _ in range(tries))


@pytest.mark.parametrize("rate", [Rate(1, 60), Rate(7, 3600), HUNDRED, Rate(333, 1), Rate(100_000, 86400)])
def test_all_at_once_then_as_they_come_back(rate: Rate) -> None:
    full_at, taken = 0.0, 0
    while not (answer := draw(rate, full_at, NOW))[0]:
        full_at, taken = answer[1], taken + 1
    assert taken == rate.count
    interval = rate.seconds / rate.count
    assert answer[0] == pytest.approx(interval, abs=1e-5) and answer[1] == full_at
    assert draw(rate, full_at, NOW + interval * 0.9)[0] > 0.0
    again, later = draw(rate, full_at, NOW + interval)
    assert again == 0.0 and draw(rate, later, NOW + interval)[0] > 0.0


def test_no_window_sees_more_than_twice_the_rate_and_the_long_run_sees_the_rate() -> None:
    full_at, passed = 0.0, []
    for step in range(6000):
        now = NOW + step * 0.1
        seconds, full_at = draw(HUNDRED, full_at, now)
        if not seconds:
            passed.append(now)
    assert max(sum(begin <= at < begin + 60 for at in passed) for begin in passed) <= 200
    assert 1000 <= len(passed) <= 1100  # 600 s at 100 a minute, and the bucket that was full at first


def test_several_at_once_and_never_more_than_a_bucket_holds() -> None:
    seconds, full_at = draw(HUNDRED, 0.0, NOW, 70)
    assert seconds == 0.0
    seconds, same = draw(HUNDRED, full_at, NOW, 40)
    assert seconds == pytest.approx(6.0) and same == full_at
    assert draw(HUNDRED, full_at, NOW + 6.01, 40)[0] == 0.0
    assert draw(HUNDRED, 0.0, NOW, 5000)[0] == 0.0  # what can never fit goes when the bucket is full
    assert draw(HUNDRED, full_at, NOW, 5000)[0] == pytest.approx(42.0)


def test_less_than_one_a_time() -> None:
    rare = Rate(0.5, 1.0)
    seconds, full_at = draw(rare, 0.0, NOW)
    assert seconds == 0.0 and draw(rare, full_at, NOW)[0] == pytest.approx(2.0)


def test_a_rate_changed_by_a_reload_asks_for_no_more_than_an_empty_bucket() -> None:
    _, full_at = draw(Rate(10, 3600), 0.0, NOW, 10)
    assert draw(Rate(10, 60), full_at, NOW)[0] == pytest.approx(6.0)


def test_two_workers_spend_from_one_bucket(house: list[Ledger]) -> None:
    first, second = house
    assert [granted(one, CLIENT, HUNDRED, NOW, 60) for one in house] == [60, 40]
    assert first.rates.spend(CLIENT, HUNDRED, NOW) == second.rates.spend(CLIENT, HUNDRED, NOW) > 0.0
    assert first.rates.spend(Key("message", ("192.0.2.2",)), HUNDRED, NOW) == 0.0
    assert second.rates.due(CLIENT, HUNDRED, NOW) == pytest.approx(0.6, abs=1e-3)
    assert granted(second, CLIENT, HUNDRED, NOW + 30, 100) == 50


def test_what_is_refunded_may_be_spent_again(house: list[Ledger]) -> None:
    first, second = house
    assert granted(first, CLIENT, HUNDRED, NOW, 200) == 100
    first.rates.refund(CLIENT, HUNDRED)
    assert granted(second, CLIENT, HUNDRED, NOW, 5) == 1
    second.rates.refund(CLIENT, HUNDRED, 3)
    assert granted(first, CLIENT, HUNDRED, NOW, 5) == 3
    first.rates.refund(Key("message", ("nobody",)), HUNDRED)  # of no bucket: harmless


def test_tables_are_apart(house: list[Ledger]) -> None:
    one = house[0]
    assert granted(one, CLIENT, HUNDRED, NOW, 200) == 100
    assert one.failed.due(CLIENT, HUNDRED, NOW) == one.known.due(CLIENT, HUNDRED, NOW) == 0.0
    one.known.put(CLIENT, NOW + 50, NOW)
    assert house[1].known.until(CLIENT) == NOW + 50 and one.failed.until(CLIENT) == 0.0
    assert one.total(CLIENT) == 0


def same_set(first: Ledger, count: int) -> list[Key]:
    """Keys that share a set of buckets."""
    found: list[Key] = []
    number, wanted = 0, -1
    while len(found) < count:
        key = Key("message", (f"2001:db8:{number:x}::/64",))
        home = int.from_bytes(first._rows.digest(key)[:4], "little") % SETS
        wanted = home if wanted < 0 else wanted
        if home == wanted:
            found.append(key)
        number += 1
    return found


def test_a_crowd_of_addresses_forgets_the_least_debt_and_refuses_nobody(house: list[Ledger]) -> None:
    one = house[0]
    heavy, *crowd = same_set(one, WAYS + 40)
    assert granted(one, heavy, HUNDRED, NOW, 200) == 100
    for key in crowd:
        assert one.rates.spend(key, HUNDRED, NOW) == 0.0
    assert one.rates.forgotten == one.statistics()["forgotten"] == 40
    assert one.rates.spend(heavy, HUNDRED, NOW) > 0.0, "who did most is remembered"
    assert house[1].rates.spend(heavy, HUNDRED, NOW) > 0.0
    late = NOW + 61
    for key in same_set(one, WAYS + 40)[1:]:
        one.rates.spend(key, Rate(100, 3600), late)
    assert one.rates.forgotten == 40 + 39, "who has no debt any more goes without being forgotten"


def test_a_bucket_given_to_another_is_found_to_be_gone(house: list[Ledger]) -> None:
    first, second = house
    keys = same_set(first, WAYS + 1)
    assert granted(first, keys[0], HUNDRED, NOW, 2) == 2
    for key in keys[1:]:
        second.rates.spend(key, HUNDRED, NOW, 50)
    assert first.rates.until(keys[0]) == 0.0 and first.rates.due(keys[0], HUNDRED, NOW) == 0.0
    first.rates.refund(keys[0], HUNDRED, 50)
    assert all(second.rates.until(key) == pytest.approx(NOW + 30) for key in keys[1:]), "nobody else's debt is touched"


def test_exact_over_processes_that_run_at_once_and_one_that_is_killed(house: list[Ledger]) -> None:
    one = house[0]
    heard, say = os.pipe()
    pids = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            passed = 0
            for _ in range(3000):
                while (answer := one.rates.spend(CLIENT, Rate(5000, 86400), NOW)) == BUSY:
                    pass
                passed += answer == 0.0
            os.write(say, b"%d\n" % passed)
            os.kill(os.getpid(), signal.SIGKILL)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    os.close(say)
    assert sum(map(int, os.read(heard, 100).split())) == 5000
    os.close(heard)
    assert one.clear_column(0) == 0
    assert one.rates.spend(CLIENT, Rate(5000, 86400), NOW) > 0.0, "the dead are no excuse"


def test_a_lock_that_is_not_to_be_had_is_told_from_a_refusal(house: list[Ledger]) -> None:
    one = house[0]
    heard, say = os.pipe()
    pid = os.fork()
    if not pid:
        fcntl.lockf(one.fd, fcntl.LOCK_EX, 3 * SETS + 1, 0)
        os.write(say, b"locked")
        signal.pause()
    os.read(heard, 6)
    try:
        assert one.rates.spend(CLIENT, HUNDRED, NOW) == BUSY and one.rates.busy == 1
        one.rates.refund(CLIENT, HUNDRED)
        one.rates.put(CLIENT, NOW + 5, NOW)
        assert one.rates.due(CLIENT, HUNDRED, NOW) == 0.0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(heard)
        os.close(say)
    assert one.rates.spend(CLIENT, HUNDRED, NOW) == 0.0, "the lock went with its holder"
