"""What a run came to: lost, twice and unknown by domain."""

import pytest

from fastrelay.load.account import Account, Line
from fastrelay.load.result import Result
from fastrelay.load.tally import Tally


def result(*pairs: str, **counts: int) -> Result:
    one = Result()
    one.started, one.ended = 10.0, 12.0
    one.accepted = one.recipients = len(pairs)
    one.pairs = list(pairs)
    for name, count in counts.items():
        setattr(one, name, count)
    return one


def tally(*pairs: str, deferred: int = 0) -> Tally:
    one = Tally(keep_pairs=True)
    for pair in pairs:
        ident, _, address = pair.partition(" ")
        one.arrived(13.0, 100, [address.encode()], ident, 11.0)
    one.deferred = deferred
    return one


def test_all_well() -> None:
    account = Account(result("r-1 a@x", "r-2 b@y"), {"x": tally("r-1 a@x"), "y": tally("r-2 b@y", deferred=3)}, 0)
    assert account.good and account.total == Line(2, 2, 3, 0, 0)
    told = account.statistics()
    assert told["good"] and told["seconds"] == 3.0 and told["delivery_ms"]["count"] == 2
    assert list(told["domains"]) == ["x", "y"] and told["domains"]["y"]["deferred"] == 3


def test_lost_and_twice_are_told_by_domain() -> None:
    account = Account(
        result("r-1 a@x", "r-2 b@y", "r-3 c@y"), {"x": tally("r-1 a@x", "r-1 a@x"), "y": tally("r-2 b@y")}, 0
    )
    assert not account.good
    assert account.domains == {"x": Line(1, 2, 0, 0, 1), "y": Line(2, 1, 0, 1, 0)}


@pytest.mark.parametrize("counts", [{"refused": 1}, {"failed": 1}, {"refused_recipients": 1}, {"accepted": 0}])
def test_what_was_not_taken_is_not_well(counts: dict[str, int]) -> None:
    assert not Account(result("r-1 a@x", **counts), {"x": tally("r-1 a@x")}, 0).good


def test_queued_or_unknown_is_not_well() -> None:
    assert not Account(result("r-1 a@x"), {"x": tally("r-1 a@x")}, 1).good
    assert not Account(result("r-1 a@x"), {"x": tally("r-1 a@x", "r-9 z@x")}, 0).good
