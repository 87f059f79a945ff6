import random

import pytest

from fastrelay.load.figures import Latencies


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


def test_quantiles_are_at_most_a_32nd_low(chance: random.Random) -> None:
    values = sorted(10 ** chance.uniform(-6, 3) for _ in range(5000))
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        true = values[max(0, round(share * len(values)) - 1)]
        assert true * (1 - 1 / 32) - 2e-6 <= latencies.quantile(share) <= true
    assert latencies.highest == values[-1]


@pytest.mark.parametrize("micros", [0, 1, 31, 32, 63, 64, 65, 127, 128, 1000, 10**6, 10**9])
def test_one_value_comes_back(micros: int) -> None:
    latencies = Latencies()
    latencies.add((micros + 0.5) / 1e6)
    assert micros * (31 / 32) <= round(latencies.quantile(0.5) * 1e6) <= micros


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
