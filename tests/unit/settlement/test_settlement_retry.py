"""settlement/retry.py: pauses grow, are jittered, capped, and the last attempt comes before the end."""

import random

import pytest

from fastrelay.config import Retry
from fastrelay.settlement.retry import Again, Expired, next_attempt

RETRY = Retry()  # 5 min, x2, 4 h, 10 %, 5 d


@pytest.mark.parametrize(
    ("attempts", "pause"), [(1, 300.0), (2, 600.0), (3, 1200.0), (6, 9600.0), (7, 14400.0), (10_000, 14400.0)]
)
def test_pauses_double_up_to_the_maximum(attempts: int, pause: float) -> None:
    assert next_attempt(attempts, 100.0, 1e9, RETRY, 0.5) == Again(pytest.approx(100.0 + pause))


def test_jitter_spreads_by_its_share_both_ways(chance: random.Random) -> None:
    assert next_attempt(1, 0.0, 1e9, RETRY, 0.0) == Again(pytest.approx(270.0))
    assert next_attempt(1, 0.0, 1e9, RETRY, 1.0) == Again(pytest.approx(330.0))
    dues = {next_attempt(1, 0.0, 1e9, RETRY, chance.random()) for _ in range(100)}
    assert len(dues) > 90 and all(isinstance(due, Again) and 270.0 <= due.due <= 330.0 for due in dues)


def test_the_last_attempt_is_made_before_the_message_expires() -> None:
    assert next_attempt(9, 0.0, 10_000.0, RETRY, 0.5) == Again(9_700.0)


def test_when_no_attempt_is_left_it_waits_for_its_end() -> None:
    assert next_attempt(9, 9_800.0, 10_000.0, RETRY, 0.5) == Again(10_000.0)
    assert next_attempt(9, 10_000.0, 10_000.0, RETRY, 0.5) == Expired()


def test_every_schedule_ends(chance: random.Random) -> None:
    for _ in range(200):
        retry = Retry(
            first=chance.uniform(1, 1000),
            factor=chance.uniform(1, 5),
            max=chance.uniform(10, 20_000),
            jitter=chance.random(),
        )
        now, expires, attempts = 0.0, 500_000.0, 0
        while isinstance(answer := next_attempt(attempts + 1, now, expires, retry, chance.random()), Again):
            assert now <= answer.due <= expires
            now, attempts = max(answer.due, now + 0.5), attempts + 1
        assert now >= expires
