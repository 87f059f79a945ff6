"""pace.py: a block each while, and the whole never slower than the rate."""

import pytest

from fastrelay.reception.pace import content_deadline


@pytest.mark.parametrize(
    ("now", "octets", "rate", "deadline"),
    [
        (100.0, 0, 500.0, 280.0),  # the first block
        (110.0, 500_000, 500.0, 290.0),  # far ahead of the rate: the block alone counts
        (279.0, 1, 500.0, 280.002),  # a drop a moment before: no three more minutes
        (279.0, 50_000, 500.0, 380.0),  # 50,000 octets bought 100 s
        (5000.0, 1, 0.0, 5180.0),  # no rate: blocks alone
    ],
)
def test_deadline(now: float, octets: int, rate: float, deadline: float) -> None:
    assert content_deadline(now, 100.0, octets, block=180.0, rate=rate) == pytest.approx(deadline)


def test_a_client_that_drips_ends_and_one_that_keeps_the_rate_never_does() -> None:
    for drip, ends in ((1, True), (499, True), (501, False)):
        now, octets = 0.0, 0
        while now < 100_000.0 and content_deadline(now, 0.0, octets, block=180.0, rate=500.0) >= now + 1.0:
            now += 1.0
            octets += drip
        assert (now < 100_000.0) is ends
