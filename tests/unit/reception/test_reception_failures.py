"""Failed logins by address and by account, with the clock in hand."""

from fastrelay.process.ledger import Ledger
from fastrelay.reception.failures import PER_ACCOUNT, PER_ADDRESS, TRUSTED, WINDOW, Failures
from tests.peers.front_desk import FakeBuckets


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun() -> tuple[Failures, Clock]:
    clock = Clock()
    return Failures(FakeBuckets(), FakeBuckets(), clock), clock


def test_an_address_is_closed_after_its_failures_and_opens_again() -> None:
    failures, clock = begun()
    words = [failures.failed("192.0.2.1", f"user{n}") for n in range(PER_ADDRESS)]
    assert words == [""] * (PER_ADDRESS - 1) + ["address"]
    assert failures.too_many("192.0.2.1", "user") and not failures.too_many("192.0.2.2", "user")
    clock.now += WINDOW / PER_ADDRESS - 0.1
    assert failures.too_many("192.0.2.1", "user")
    clock.now += 0.2
    assert not failures.too_many("192.0.2.1", "user")
    assert failures.failed("192.0.2.1", "user") == "address"
    assert failures.too_many("192.0.2.1", "user")
    clock.now += WINDOW
    assert [failures.failed("192.0.2.1", f"again{n}") for n in range(PER_ADDRESS)] == words


def test_a_failure_beyond_them_is_not_told() -> None:
    failures, _ = begun()
    told = [failures.failed("192.0.2.1", f"user{n}") for n in range(PER_ADDRESS + 5)]
    assert told[PER_ADDRESS:] == [None] * 5
    told = [failures.failed(f"192.0.3.{n}", "user") for n in range(PER_ACCOUNT + 5)]
    assert told[PER_ACCOUNT:] == [None] * 5


def test_an_account_is_closed_to_all_but_who_is_known_there() -> None:
    failures, clock = begun()
    failures.succeeded("192.0.2.200", "user")
    words = [failures.failed(f"192.0.2.{n}", "user") for n in range(PER_ACCOUNT)]
    assert words[-1] == "account" and set(words[:-1]) == {""}
    assert failures.too_many("198.51.100.1", "user") and not failures.too_many("198.51.100.1", "other")
    assert not failures.too_many("192.0.2.200", "user")
    clock.now += TRUSTED + 1
    assert not failures.too_many("198.51.100.1", "user")


def test_who_is_known_has_one_failure_free() -> None:
    failures, _ = begun()
    for n in range(PER_ADDRESS):
        failures.failed("192.0.2.1", f"old{n}")
    failures.succeeded("192.0.2.1", "user")
    assert not failures.too_many("192.0.2.1", "user") and failures.too_many("192.0.2.1", "other")
    failures.failed("192.0.2.1", "user")
    assert failures.too_many("192.0.2.1", "user")


def test_a_success_wipes_no_failures_of_the_address() -> None:
    failures, _ = begun()
    for n in range(PER_ADDRESS):
        failures.failed("192.0.2.1", f"guess{n}")
        failures.succeeded("192.0.2.1", "mine")
    assert failures.too_many("192.0.2.1", "guess99")


def test_workers_count_together_and_know_together() -> None:
    ledger = Ledger.create(2)
    second = Ledger(ledger.fd, ledger.eventfds)
    clock = Clock()
    workers = [Failures(one.failed, one.known, clock) for one in (ledger, second)]
    for n in range(PER_ADDRESS):
        assert workers[n % 2].failed("192.0.2.1", f"user{n}") is not None
    assert all(one.too_many("192.0.2.1", "user") for one in workers)
    workers[0].succeeded("192.0.2.1", "user")
    assert not any(one.too_many("192.0.2.1", "user") for one in workers)
    for table in (second.rates, second.failed, second.known):
        table.close()
    ledger.close()


def test_a_flood_costs_no_more_than_the_bounds() -> None:
    ledger = Ledger.create(1)
    failures = Failures(ledger.failed, ledger.known, Clock())
    for n in range(PER_ADDRESS):
        failures.failed("192.0.2.1", f"user{n}")
    for n in range(9_000):
        failures.failed(f"2001:db8:{n:x}::/64", "u" * 5000 + str(n))
    assert failures.too_many("192.0.2.1", "user"), "who failed most is not forgotten"
    names = [name for key in ledger.failed._known for name in key.names]
    assert max(map(len, names)) <= 64 and len(names) <= 16_384
    ledger.close()
