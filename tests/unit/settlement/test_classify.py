"""Permanence, scope and certainty for every phase and kind of answer."""

import pytest

from fastrelay.errors import MachineShort, PeerClosed, PeerError, PeerTimeout, TlsFailed
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Phase, Scope
from fastrelay.mail.reply import Reply, reply
from fastrelay.settlement.classify import SCOPES, classify

HOST_SPEAKS = {Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH}


def test_every_phase_has_a_scope() -> None:
    assert set(SCOPES) == set(Phase)


def test_only_a_2xx_to_the_dot_delivers() -> None:
    ok = reply(250, "2.0.0", "queued as 1")
    assert classify(Phase.DOT, ok, "mx", "192.0.2.1") == Delivered(ok, Phase.DOT, Scope.MESSAGE, "mx", "192.0.2.1")
    for phase in Phase:
        if phase is not Phase.DOT:
            assert isinstance(classify(phase, ok), Deferred)


@pytest.mark.parametrize("phase", list(Phase))
def test_4xx_is_kept_with_the_phases_scope(phase: Phase) -> None:
    assert classify(phase, reply(450, "4.2.0", "later")) == Deferred(reply(450, "4.2.0", "later"), phase, SCOPES[phase])


@pytest.mark.parametrize("phase", list(Phase))
def test_5xx_is_final_unless_only_the_host_speaks(phase: Phase) -> None:
    no = reply(554, "5.7.1", "no")
    if phase in HOST_SPEAKS:
        assert classify(phase, no) == Deferred(no, phase, Scope.HOST)
        assert classify(phase, no, every_host=True) == Failed(no, phase, Scope.SITE)
    else:
        assert classify(phase, no) == Failed(no, phase, SCOPES[phase])


@pytest.mark.parametrize("phase", list(Phase))
def test_421_is_the_hosts_state(phase: Phase) -> None:
    assert classify(phase, reply(421, "4.3.2", "closing"), every_host=True) == Deferred(
        reply(421, "4.3.2", "closing"), phase, Scope.HOST
    )


@pytest.mark.parametrize("code", [200, 250, 334, 354, 399])
def test_an_answer_of_the_wrong_kind_is_temporary(code: int) -> None:
    assert isinstance(classify(Phase.RCPT, reply(code, "")), Deferred)


def test_552_to_rcpt_is_too_many_recipients_unless_it_says_otherwise() -> None:
    assert isinstance(classify(Phase.RCPT, reply(552, "", "too many")), Deferred)
    assert isinstance(classify(Phase.RCPT, reply(552, "5.5.3", "too many")), Deferred)
    assert isinstance(classify(Phase.RCPT, reply(552, "5.2.2", "mailbox full")), Failed)
    assert isinstance(classify(Phase.DOT, reply(552, "", "too big")), Failed)


@pytest.mark.parametrize(
    ("phase", "error", "enhanced"),
    [
        (Phase.CONNECT, PeerClosed("cannot connect to 192.0.2.1 port 25: Connection refused"), "4.4.1"),
        (Phase.CONNECT, PeerTimeout("connect timed out after 30 s"), "4.4.1"),
        (Phase.BANNER, PeerTimeout("deadline passed"), "4.4.2"),
        (Phase.STARTTLS, TlsFailed("TLS handshake failed: NO_SHARED_CIPHER"), "4.7.5"),
        (Phase.MAIL, PeerError("not a reply: 'x'"), "4.5.0"),
        (Phase.DATA, PeerClosed("connection lost while reading"), "4.4.2"),
    ],
)
def test_no_answer_is_temporary_and_the_hosts(phase: Phase, error: PeerError, enhanced: str) -> None:
    outcome = classify(phase, error, "mx", "192.0.2.1", every_host=True)
    assert isinstance(outcome, Deferred)
    assert (outcome.scope, outcome.uncertain, outcome.reply.code) == (Scope.HOST, False, 451)
    assert outcome.reply.enhanced == enhanced
    assert str(error) in outcome.reply.text


def test_a_short_machine_speaks_for_itself() -> None:
    short = MachineShort("no resources for another connection", code=451, enhanced="4.3.2", detail="too many files")
    outcome = classify(Phase.QUEUE, short)
    assert isinstance(outcome, Deferred) and outcome.scope is Scope.SITE
    assert outcome.reply == Reply(451, "4.3.2", ("no resources for another connection",))


def test_silence_after_the_dot_is_uncertain() -> None:
    outcome = classify(Phase.DOT, PeerClosed("connection lost"), uncertain=True)
    assert isinstance(outcome, Deferred) and outcome.uncertain
    assert outcome.reply == Reply(451, "4.4.2", ("connection lost while waiting for the reply to the final dot",))
    assert isinstance(outcome, Deferred) and outcome.ours


def test_what_a_peer_asks_for_goes_along() -> None:
    grey = classify(Phase.RCPT, reply(450, "4.2.0", "Greylisted, try again", "in 10 minutes"), "mx", "192.0.2.1")
    assert isinstance(grey, Deferred) and (grey.retry_after, grey.crowded) == (600.0, False)
    for code, phase in ((421, Phase.BANNER), (554, Phase.BANNER), (450, Phase.RCPT)):
        full = classify(phase, reply(code, "", "too many connections from you"), "mx", "192.0.2.1")
        assert isinstance(full, Deferred) and full.crowded, (code, phase)
    assert classify(
        Phase.RCPT, reply(550, "5.1.1", "no such user; try again in 10 minutes"), "mx", "192.0.2.1"
    ) == Failed(
        reply(550, "5.1.1", "no such user; try again in 10 minutes"), Phase.RCPT, Scope.RECIPIENT, "mx", "192.0.2.1"
    )
    ours = classify(Phase.QUEUE, reply(451, "4.4.5", "too many connections; try again in 10 minutes"))
    assert isinstance(ours, Deferred) and not ours.crowded and not ours.retry_after, "nobody said that but we"
