"""limits.py: what a connection takes, how long its place is waited for, when it has served enough."""

from typing import NamedTuple

import pytest

from fastrelay.config import Delivery, Rate
from fastrelay.delivery import limits
from fastrelay.delivery.limits import LEASE_MESSAGES, LEASE_SECONDS, LOOK_AGAIN, PATIENCE, SHORT_REST
from fastrelay.mail.outcome import Deferred, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import LimitKey
from fastrelay.process.limit import Why

NOW = 1000.0
SETTINGS = Delivery(connections=5, connect_rate=Rate(100, 60), messages_per_connection=100, connection_lifetime=300.0)


class Refusal(NamedTuple):
    why: Why
    retry_at: float | None


COUNT = Refusal(Why.COUNT, None)


def test_a_connection_takes_one_of_the_sites_count_and_rate() -> None:
    ((key, limit),) = limits.wants("example", SETTINGS)
    assert key == limits.key_of("example") == LimitKey("site", ("example",))
    assert (limit.count, limit.rate) == (5, Rate(100, 60))


@pytest.mark.parametrize(
    ("refusal", "now", "wanted"),
    [
        pytest.param(COUNT, NOW, LOOK_AGAIN, id="count: a give rings, and a look now and then"),
        pytest.param(COUNT, NOW + PATIENCE - 0.25, 0.25, id="count: not beyond patience"),
        pytest.param(COUNT, NOW + PATIENCE, None, id="count: patience is at its end"),
        pytest.param(Refusal(Why.RATE, NOW + 7.0), NOW, 7.0, id="rate: exactly as long"),
        pytest.param(Refusal(Why.RATE, NOW + PATIENCE), NOW, PATIENCE, id="rate: at the very end"),
        pytest.param(Refusal(Why.RATE, NOW + PATIENCE + 0.5), NOW, None, id="rate: it would take too long"),
        pytest.param(Refusal(Why.BUSY, NOW), NOW, 0.001, id="never 0: others must have a turn"),
        pytest.param(Refusal(Why.BUSY, NOW - 1.0), NOW, 0.001, id="never less than 0"),
        pytest.param(Refusal(Why.RATE, NOW + PATIENCE), NOW + PATIENCE, None, id="rate: patience is at its end"),
    ],
)
def test_wait_for(refusal: Refusal, now: float, wanted: float | None) -> None:
    assert limits.wait_for(refusal, now, NOW + PATIENCE) == wanted


@pytest.mark.parametrize(
    ("refusal", "again", "words"),
    [
        (None, LOOK_AGAIN, "others wait before for a connection to example"),
        (COUNT, LOOK_AGAIN, "all 5 connections to example are in use"),
        (Refusal(Why.RATE, NOW + 42.0), 42.0, "no further connection to example yet (rate; 100 in 60 s)"),
        (Refusal(Why.BUSY, NOW - 1.0), 0.0, "no further connection to example yet (busy; 100 in 60 s)"),
    ],
)
def test_refused_says_which_limit_and_counts_as_no_attempt(refusal: Refusal | None, again: float, words: str) -> None:
    outcome = limits.refused(refusal, NOW, "example", SETTINGS)
    assert outcome == Deferred(Reply(451, "4.4.5", (words,)), Phase.QUEUE, Scope.SITE, retry_after=again)


def test_a_machine_that_is_short_is_no_attempt_either() -> None:
    words = Reply(451, "4.3.2", ("no resources",))
    outcome = limits.machine_short(Deferred(words, Phase.QUEUE, Scope.SITE, "mx", "192.0.2.1"))
    assert outcome == Deferred(words, Phase.QUEUE, Scope.SITE, retry_after=SHORT_REST)


@pytest.mark.parametrize(
    ("messages", "age", "wanted"),
    [(0, 0.0, False), (99, 299.9, False), (100, 0.0, True), (0, 300.0, True), (101, 301.0, True)],
)
def test_worn(messages: int, age: float, wanted: bool) -> None:
    assert limits.is_worn(messages, NOW, NOW + age, SETTINGS) is wanted


@pytest.mark.parametrize(
    ("messages", "age", "wanted"),
    [
        (1, 0.0, False),
        (LEASE_MESSAGES - 1, LEASE_SECONDS - 0.1, False),
        (LEASE_MESSAGES, 0.0, True),
        (1, LEASE_SECONDS, True),
    ],
)
def test_ripe(messages: int, age: float, wanted: bool) -> None:
    assert limits.is_ripe(messages, NOW, NOW + age) is wanted
