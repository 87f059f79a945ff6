import random

import pytest

from fastrelay.load.figures import PRECISION, Latencies


def test_none_is_zero() -> None:
    assert Latencies().summary() == {
        "count": 0,
        "mean": 0.0,
        "p50": 0.0,
        "p90": 0.0,
        "p99": 0.0,
        "p999": 0.0,
        "max": 0.0,
    }


def test_quantiles_are_never_better_than_the_truth_and_less_than_a_percent_worse(chance: random.Random) -> None:
    values = sorted(10 ** chance.uniform(-6, 3) for _ in range(5000))
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        true = values[max(0, round(share * len(values)) - 1)]
        assert true <= latencies.quantile(share) <= true * (1 + PRECISION) + 1e-6
    assert latencies.highest == values[-1]


@pytest.mark.parametrize("micros", [0, 1, 127, 128, 255, 256, 257, 511, 512, 1000, 10**6, 10**9])
def test_one_value_comes_back(micros: int) -> None:
    latencies = Latencies()
    latencies.add((micros + 0.5) / 1e6)
    assert latencies.quantile(0.5) == latencies.highest == (micros + 0.5) / 1e6


def test_merged_equals_counted_together(chance: random.Random) -> None:
    one, two, both = Latencies(), Latencies(), Latencies()
    for n in range(1000):
        value = chance.expovariate(100)
        (one if n % 3 else two).add(value)
        both.add(value)
    one.merge(Latencies.from_wire(two.to_wire()))
    assert one.summary() == both.summary()


def test_clocks_that_disagree_count_as_zero() -> None:
    latencies = Latencies()
    latencies.add(-1.0)
    assert latencies.count == 1 and latencies.quantile(0.5) == 0.0


def test_neighbours_share_a_bucket_only_within_the_precision() -> None:
    for micros in (*range(1, 3000), 2**20 - 1, 2**20, 2**36):
        latencies = Latencies()
        latencies.add((micros + 0.5) / 1e6)
        latencies.add(10**5)
        assert micros / 1e6 < latencies.quantile(0.5) <= (micros * (1 + PRECISION) + 1) / 1e6


def test_bounded_whatever_is_counted(chance: random.Random) -> None:
    latencies = Latencies()
    for _ in range(20_000):
        latencies.add(10 ** chance.uniform(-7, 12))
    wire = latencies.to_wire()[2]
    assert isinstance(wire, list) and len(wire) < 3968
    assert latencies.quantile(1.0) == (2**37 + 2**30) / 1e6 and latencies.highest > 1e9
