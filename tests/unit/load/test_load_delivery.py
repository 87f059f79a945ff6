import pytest

from fastrelay.load.delivery import Delivery
from fastrelay.load.result import Result
from fastrelay.load.tally import Tally


def delivery(arrived: list[str], accepted: list[str]) -> Delivery:
    result, tally = Result(), Tally(keep_pairs=True)
    result.begun = 10.0
    for n, pair in enumerate(arrived):
        ident, address = pair.split()
        tally.arrived(11.0 + n, 1000, [address.encode()], ident, 10.5)
    return Delivery.of(result, tally, tally.difference(accepted))


def test_all_arrived_once() -> None:
    made = delivery(["r-1 a@x", "r-2 a@x"], ["r-1 a@x", "r-2 a@x"])
    assert made.good and (made.arrived, made.lost, made.twice, made.unknown) == (2, 0, 0, 0)
    assert (made.seconds, made.per_second) == (2.0, 1.0)
    assert made.statistics()["end_to_end_ms"]["max"] == 1500.0


@pytest.mark.parametrize(
    ("arrived", "figures"),
    [(["r-1 a@x"], (1, 1, 0, 0)), (["r-1 a@x", "r-2 a@x", "r-2 a@x"], (3, 0, 1, 0)), ([], (0, 2, 0, 0))],
)
def test_lost_and_doubled_ones_are_told(arrived: list[str], figures: tuple[int, ...]) -> None:
    made = delivery(arrived, ["r-1 a@x", "r-2 a@x"])
    assert (made.arrived, made.lost, made.twice, made.unknown) == figures and not made.good


def test_one_that_nobody_accepted_is_no_fault_of_the_server() -> None:
    made = delivery(["r-1 a@x", "r-9 a@x"], ["r-1 a@x"])
    assert made.unknown == 1 and made.good
