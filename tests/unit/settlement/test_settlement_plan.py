"""settlement/plan.py: outcomes sorted, one next time per item, what they say of a site, words that last."""

import random

import pytest

from fastrelay.config import Retry
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply, reply
from fastrelay.mail.state import LAST_REPLY_LIMIT, State, Status, Waiting
from fastrelay.settlement.plan import BELIEVED, SPREAD, End, Sides, changed, decide, last_words, open_of, reach, words

OK = Delivered(reply(250, "2.0.0", "ok"), Phase.DOT, Scope.MESSAGE, "mx")
NO = Failed(reply(550, "5.1.1", "no such user"), Phase.RCPT, Scope.RECIPIENT, "mx")
LATER = Deferred(reply(450, "4.2.0", "later"), Phase.RCPT, Scope.RECIPIENT, "mx")
GONE = Deferred(reply(451, "4.4.2", "lost"), Phase.MAIL, Scope.HOST, "mx")
DEAD = Deferred(reply(451, "4.4.1", "refused"), Phase.CONNECT, Scope.SITE, "mx")
LIMIT = Deferred(reply(451, "4.4.5", "all in use"), Phase.QUEUE, Scope.SITE, retry_after=7.0)
NOWHERE = Deferred(reply(451, "4.4.3", "DNS"), Phase.ROUTE, Scope.RECIPIENT)
AT = Sides(1000.0, 5000.0, 0.5)
RETRY = Retry()


def test_each_recipient_goes_where_its_outcome_says() -> None:
    plan = decide((0, 2, 5), [OK, NO, LATER], 0, 1e6, AT, RETRY)
    assert plan.delivered == [(0, OK)] and plan.ended == [End(2, NO, Status.FAILED)] and plan.waiting == [(5, LATER)]
    assert plan.due == 5300.0 and plan.attempted


def test_one_outcome_too_many_or_too_few_is_our_bug() -> None:
    with pytest.raises(ValueError):
        decide((0, 1), [OK], 0, 1e6, AT, RETRY)


def test_a_limit_of_ours_is_no_attempt() -> None:
    plan = decide((0,), [LIMIT], 3, 1e6, AT, RETRY)
    assert not plan.attempted and plan.due == pytest.approx(5000.0 + 7.0 * 1.05)
    both = decide((0, 1), [LIMIT, LATER], 3, 1e6, AT, RETRY)
    assert both.attempted and both.due == pytest.approx(5000.0 + 300 * 2**3)
    partly = decide((0, 1), [OK, LIMIT], 3, 1e6, AT, RETRY)
    assert not partly.attempted and partly.delivered


def test_a_limit_never_outlives_the_message() -> None:
    assert decide((0,), [LIMIT], 3, 1003.0, AT, RETRY).due == 5003.0


def test_what_the_peer_asks_for_is_granted_within_bounds() -> None:
    """Never sooner than asked, and spread a little: what was greylisted together does not come back in one instant."""

    def due(asked: float, attempts: int = 0) -> float:
        one = Deferred(LATER.reply, LATER.phase, LATER.scope, retry_after=asked)
        return round(decide((0,), [one], attempts, 1e6, AT, RETRY).due - 5000.0, 3)

    spread = 1.0 + SPREAD * AT.chance
    assert due(900.0) == 900.0 * spread and due(0.001) == RETRY.first * spread and due(1e9) == RETRY.max * spread
    assert due(600.0, BELIEVED - 1) == 600.0 * spread < due(600.0, BELIEVED) == RETRY.max
    assert due(1e9, BELIEVED) == RETRY.max * spread


def test_what_the_peer_asks_for_never_outlives_the_message() -> None:
    one = Deferred(LATER.reply, LATER.phase, LATER.scope, retry_after=3600.0)
    assert decide((0,), [one], 0, AT.now + 900.0, AT, RETRY).due == AT.wall + 900.0


def test_time_that_has_run_out_ends_what_would_wait() -> None:
    plan = decide((0, 1), [OK, LATER], 40, 1000.0, AT, RETRY)
    assert plan.ended == [End(1, LATER, Status.EXPIRED)] and not plan.waiting
    held = decide((0,), [LIMIT], 40, 999.0, AT, RETRY)
    assert held.ended == [End(0, LIMIT, Status.EXPIRED)]


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([OK], True),
        ([OK, GONE], True),
        ([GONE, OK], True),
        ([GONE], GONE),
        ([LATER, DEAD], DEAD),
        ([NO], True),
        ([NO, GONE], GONE),
        ([LATER], False),
        ([LIMIT], False),
        ([NOWHERE], False),
        ([LIMIT, NO], True),
    ],
)
def test_what_an_attempt_says_of_its_site(outcomes: list[Outcome], said: object) -> None:
    assert reach(outcomes) is said


def test_an_end_is_never_undone() -> None:
    state = State(4, (int(Status.DELIVERED), Waiting(1, 2.0), Waiting(1, 2.0)), "held")
    after = changed(state, [(0, Waiting(9, 9.0)), (1, Status.FAILED)])
    assert after == State(5, (Status.DELIVERED, Status.FAILED, Waiting(1, 2.0)), "held")
    assert open_of(after, (0, 1, 2)) == (2,) and not after.ended


def test_last_words_survive_the_state() -> None:
    for one in (reply(450, "4.2.0", "try", "later"), reply(421, "", "closing"), Reply(450, "4.2.0", ("",))):
        back = last_words(Waiting(1, 1.0, words(one)))
        assert (back.code, back.enhanced, back.text) == (one.code, one.enhanced, one.text)
    assert last_words(Waiting()).code == 0 and last_words(Status.FAILED).code == 0
    assert last_words(Waiting(1, 1.0, "odd words")) == Reply(0, "", ("odd words",))


def test_words_are_bounded_in_octets(chance: random.Random) -> None:
    for _ in range(100):
        text = "".join(chance.choice("aé€\U0001f600\udc80") for _ in range(chance.randrange(600)))
        kept = words(reply(450, "4.0.0", text))
        assert len(kept.encode()) <= LAST_REPLY_LIMIT
