import math
import random
import statistics

import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.sizes import LARGEST, Fixed, Lognormal, Uniform, parse_sizes


def draws(text: str, chance: random.Random, count: int = 4000) -> list[int]:
    sizes = parse_sizes(text)
    return [sizes.draw(chance) for _ in range(count)]


def test_one_size() -> None:
    assert parse_sizes("5KB") == Fixed(5000) and parse_sizes("64KiB") == Fixed(65536)
    assert Fixed(5000).draw(random.Random(0)) == 5000


def test_a_range_is_met_from_end_to_end(chance: random.Random) -> None:
    assert parse_sizes("uniform:1KB-20MB") == Uniform(1000, 20_000_000)
    found = draws("uniform:10B-12B", chance)
    assert set(found) == {10, 11, 12}
    for n in (10, 11, 12):
        assert found.count(n) / 4000 == pytest.approx(1 / 3, abs=0.04)  # five times what luck makes of it


def test_a_lognormal_has_its_median_and_spread(chance: random.Random) -> None:
    found = draws("lognormal:20KB,1.5", chance)
    assert statistics.median(found) == pytest.approx(20_000, rel=0.15)
    assert statistics.stdev(map(math.log, found)) == pytest.approx(1.5, rel=0.1)
    assert max(draws("lognormal:40MB,2", chance)) == LARGEST


def test_weights(chance: random.Random) -> None:
    found = draws("5KB=90,1MB=9,20MB=1", chance)
    assert set(found) <= {5000, 1_000_000, 20_000_000}
    assert found.count(5000) == pytest.approx(3600, rel=0.05) and found.count(20_000_000) == pytest.approx(40, rel=0.6)


@pytest.mark.parametrize("text", ["5KB", "uniform:1KB-20MB", "lognormal:20KB,1.5", "5KB=90,1MB=9,20MB=1", "5001"])
def test_written_as_read(text: str) -> None:
    sizes = parse_sizes(text)
    assert sizes.text == text and parse_sizes(sizes.text) == sizes
    assert sizes.smallest <= sizes.draw(random.Random(1)) <= sizes.largest


def test_a_sigma_by_default() -> None:
    assert parse_sizes("lognormal:20KB") == Lognormal(20_000, 1.0)


@pytest.mark.parametrize(
    "text",
    ["", "5XB", "uniform:1KB", "uniform:2KB-1KB", "uniform:a-b", "lognormal:20KB,0", "lognormal:20KB,x", "normal:1KB",
     "5KB=0", "5KB=90,1MB", "5KB=-1,1KB=2", "=3"],
)  # fmt: skip
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(MisuseError, match="--size"):
        parse_sizes(text)
