"""verdict.py: an outcome per recipient whatever the peer said, and how the attempt goes on for the others."""

from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.delivery.connection import Trouble
from fastrelay.delivery.hosts import Place
from fastrelay.delivery.verdict import Step, Weighed, weigh
from fastrelay.errors import PeerClosed, PeerError, PeerTimeout
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.settlement.classify import classify

Verdict: TypeAlias = tuple[Phase, Reply] | None

PLACE = Place("mx.example", "192.0.2.1", 25)
TAKEN: Verdict = (Phase.DOT, Reply(250, "2.0.0", ("taken",)))


def said(phase: Phase, code: int, enhanced: str = "") -> Verdict:
    return phase, Reply(code, enhanced, ("words",))


def weighed(verdicts: list[Verdict], trouble: Trouble | None = None, reused: bool = False) -> Weighed:
    return weigh(verdicts, trouble, PLACE, classify, reused=reused)


def words(one: Weighed) -> list[str]:
    """Each outcome in short: kind, scope, and a mark for doubt."""
    return [
        f"{type(outcome).__name__} {outcome.scope.value}"
        + (" uncertain" if isinstance(outcome, Deferred) and outcome.uncertain else "")
        for outcome in one.outcomes
    ]


def lost(phase: Phase, error: type[PeerError] = PeerClosed) -> Trouble:
    return Trouble(phase, error("gone"), phase is Phase.DOT)


def rcpt(code: int, enhanced: str = "") -> Verdict:
    return said(Phase.RCPT, code, enhanced)


# -- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "wanted", "again", "step"),
    [
        pytest.param([TAKEN, TAKEN], ["Delivered message"] * 2, [], Step.DONE, id="taken"),
        pytest.param(
            [TAKEN, rcpt(550), rcpt(450), TAKEN],
            ["Delivered message", "Failed recipient", "Deferred recipient", "Delivered message"],
            [],
            Step.DONE,
            id="each its own",
        ),
        pytest.param(
            [rcpt(550), said(Phase.DATA, 451), rcpt(450)],
            ["Failed recipient", "Deferred message", "Deferred recipient"],
            [],
            Step.DONE,
            id="DATA refused",
        ),
        pytest.param(
            [rcpt(550), said(Phase.DOT, 554)], ["Failed recipient", "Failed message"], [], Step.DONE, id="dot refused"
        ),
        pytest.param([said(Phase.MAIL, 550)] * 2, ["Failed message"] * 2, [], Step.DONE, id="MAIL refused"),
        pytest.param([said(Phase.MAIL, 451)], ["Deferred message"], [], Step.DONE, id="MAIL deferred"),
        pytest.param([said(Phase.MAIL, 421)] * 2, ["Deferred host"] * 2, [0, 1], Step.NEXT_HOST, id="421 to MAIL"),
        pytest.param(
            [rcpt(550), rcpt(421), rcpt(421)],
            ["Failed recipient", "Deferred host", "Deferred host"],
            [1, 2],
            Step.NEXT_HOST,
            id="421 to RCPT: who was refused before keeps it",
        ),
        pytest.param(
            [rcpt(550), said(Phase.DOT, 421)],
            ["Failed recipient", "Deferred host"],
            [1],
            Step.NEXT_HOST,
            id="421 to the dot is an answer: certain, so another host may",
        ),
        pytest.param([said(Phase.DOT, 399)], ["Deferred message"], [], Step.DONE, id="what fits no rule is temporary"),
    ],
)
def test_replies(verdicts: list[Verdict], wanted: list[str], again: list[int], step: Step) -> None:
    one = weighed(verdicts)
    assert (words(one), one.again, one.step) == (wanted, again, step)
    assert {(outcome.host, outcome.address) for outcome in one.outcomes} == {("mx.example", "192.0.2.1")}


# -- refused for their number -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "enhanced", "further"),
    [
        (452, "", True),
        (452, "4.5.3", True),
        (552, "", True),
        (552, "5.5.3", True),
        (452, "4.2.2", False),  # a full mailbox
        (452, "4.3.1", False),  # a full disk
        (552, "5.2.2", False),
        (451, "4.5.3", False),
        (550, "5.5.3", False),
    ],
)
def test_too_many_recipients_go_on_at_once_if_others_were_taken(code: int, enhanced: str, further: bool) -> None:
    refused = rcpt(code, enhanced)
    one = weighed([TAKEN, refused, TAKEN, refused])
    assert (one.again, one.step) == (([1, 3], Step.FURTHER) if further else ([], Step.DONE))
    assert isinstance(one.outcomes[1], Failed if code // 100 == 5 and not further else Deferred)


@pytest.mark.parametrize(
    "verdicts",
    [
        pytest.param([rcpt(452, "4.5.3")], id="alone: it is not the number"),
        pytest.param([rcpt(452, "4.5.3")] * 3, id="nobody was taken: it would never end"),
        pytest.param([said(Phase.DOT, 451), rcpt(452, "4.5.3")], id="accepted and not taken"),
        pytest.param([TAKEN, said(Phase.DOT, 452, "4.5.3")], id="not said to RCPT"),
    ],
)
def test_too_many_recipients_wait_if_it_might_not_end(verdicts: list[Verdict]) -> None:
    one = weighed(verdicts)
    assert (one.again, one.step) == ([], Step.DONE)


# -- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PeerClosed, PeerTimeout, PeerError])
@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT])
def test_trouble_before_the_dot_is_the_hosts(phase: Phase, error: type[PeerError]) -> None:
    one = weighed([None, rcpt(550), None], lost(phase, error))
    assert words(one) == ["Deferred host", "Failed recipient", "Deferred host"]
    assert (one.again, one.step) == ([0, 2], Step.NEXT_HOST)


@pytest.mark.parametrize("error", [PeerClosed, PeerTimeout, PeerError])
def test_trouble_after_the_dot_is_asked_of_nobody_else(error: type[PeerError]) -> None:
    one = weighed([None, rcpt(550), rcpt(452, "4.5.3")], lost(Phase.DOT, error), reused=True)
    assert words(one) == ["Deferred host uncertain", "Failed recipient", "Deferred recipient"]
    assert (one.again, one.step) == ([], Step.DONE)


# -- a connection used before -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "trouble", "nothing"),
    [
        pytest.param([None, None], lost(Phase.MAIL), True, id="gone before MAIL was answered"),
        pytest.param([None, None], lost(Phase.MAIL, PeerTimeout), True, id="a firewall forgot it: silence"),
        pytest.param([None, None], lost(Phase.MAIL, PeerError), False, id="talks nonsense: it is there"),
        pytest.param([None, None], lost(Phase.RCPT), False, id="gone after MAIL was answered"),
        pytest.param([None, None], lost(Phase.DOT), False, id="gone after the dot"),
        pytest.param([said(Phase.MAIL, 421)] * 2, None, True, id="421 to MAIL"),
        pytest.param([said(Phase.MAIL, 451)] * 2, None, False, id="451 to MAIL"),
        pytest.param([rcpt(421)] * 2, None, False, id="421 to RCPT"),
        pytest.param([said(Phase.DOT, 421)] * 2, None, False, id="421 to the dot"),
        pytest.param([TAKEN] * 2, None, False, id="taken"),
    ],
)
def test_a_used_connection_that_came_to_nothing(
    verdicts: list[Verdict], trouble: Trouble | None, nothing: bool
) -> None:
    assert (weighed(verdicts, trouble, reused=True) == Weighed([], [0, 1], Step.RECONNECT)) is nothing
    fresh = weighed(verdicts, trouble)
    assert fresh.step is not Step.RECONNECT and len(fresh.outcomes) == 2, "a fresh one is the host's word"


# -- whatever is said -------------------------------------------------------------------------------------------------

PHASES = st.sampled_from([Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.DOT])
CODES = st.integers(200, 599) | st.sampled_from([250, 421, 450, 452, 550, 552])
REPLIES = st.builds(Reply, CODES, st.sampled_from(["", "4.5.3", "5.5.3", "5.7.1"]), st.just(("words",)))
VERDICTS = st.lists(st.one_of(st.none(), st.just(TAKEN), st.tuples(PHASES, REPLIES)), min_size=1, max_size=6)
TROUBLES = st.builds(lost, PHASES, st.sampled_from([PeerClosed, PeerTimeout, PeerError]))


@settings(max_examples=100, deadline=None)
@given(VERDICTS, TROUBLES, st.booleans())
def test_one_outcome_each_and_nobody_who_may_have_it_is_tried_again(
    verdicts: list[Verdict], trouble: Trouble, reused: bool
) -> None:
    found = weighed(verdicts, trouble if None in verdicts else None, reused)
    assert len(found.again) == len(set(found.again))
    assert bool(found.again) is (found.step is not Step.DONE)
    if found.step is Step.RECONNECT:
        assert reused and not found.outcomes and len(found.again) == len(verdicts)
        return
    assert len(found.outcomes) == len(verdicts)
    for position, (verdict, outcome) in enumerate(zip(verdicts, found.outcomes, strict=True)):
        again = position in found.again
        assert again <= (isinstance(outcome, Deferred) and not outcome.uncertain)
        if isinstance(outcome, Delivered):
            assert verdict is not None and verdict[0] is Phase.DOT and 200 <= verdict[1].code < 300
        if isinstance(outcome, Failed):
            assert verdict is not None and 500 <= verdict[1].code < 600 and outcome.scope is not Scope.HOST
    if found.step is Step.FURTHER:
        assert any(isinstance(outcome, Delivered) for outcome in found.outcomes), "each round delivers to one"
