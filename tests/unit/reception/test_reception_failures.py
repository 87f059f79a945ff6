"""Failed logins by address and by account, with the clock in hand."""

from fastrelay.reception.failures import MOST, PER_ACCOUNT, PER_ADDRESS, TRUSTED, WINDOW, Failures


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun() -> tuple[Failures, Clock]:
    clock = Clock()
    return Failures(clock), clock


def test_an_address_is_closed_after_its_failures_and_opens_again() -> None:
    failures, clock = begun()
    words = [failures.failed("192.0.2.1", f"user{n}") for n in range(PER_ADDRESS)]
    assert words == [""] * (PER_ADDRESS - 1) + ["address"]
    assert failures.too_many("192.0.2.1", "user") and not failures.too_many("192.0.2.2", "user")
    clock.now += WINDOW - 0.1
    assert failures.too_many("192.0.2.1", "user")
    clock.now += 0.2
    assert not failures.too_many("192.0.2.1", "user")


def test_the_window_begins_with_the_first_failure() -> None:
    failures, clock = begun()
    for _ in range(PER_ADDRESS - 1):
        failures.failed("192.0.2.1", "user")
    clock.now += WINDOW + 0.1
    assert failures.failed("192.0.2.1", "user") == ""
    assert not failures.too_many("192.0.2.1", "user")


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


def test_a_flood_costs_no_more_than_the_bounds() -> None:
    failures, _ = begun()
    for n in range(MOST + 100):
        failures.failed(f"2001:db8:{n:x}::/64", f"user{n}")
    assert len(failures._addresses) == len(failures._accounts) == MOST
