"""The peer dies, stalls or lies at each step of a dialogue: the outcome, and that nothing is left behind.

One table: step x misbehaviour -> outcome. Every row is tried on a connection of its own against one host, so what comes
out is the word on that host; what happens on the way to a second host, and on used connections, stands below.
"""

import gc
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from fastrelay.delivery.carrier import Carrier
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.runtime import clock, stream, tasks
from tests.peers.road import BODY, Road, close_ledgers
from tests.peers.smtp_peer import (
    GOOD,
    Act,
    Script,
    Session,
    SmtpPeer,
    closes,
    drips,
    floods,
    resets,
    says,
    says_and_closes,
    stalls,
)

MB = 1_000_000
LARGE = BODY * 2_000  # 10 MB: more than the buffers of both sides hold


@pytest.fixture(autouse=True)
def own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel of the test's own, because the peers turn it by hours."""
    monkeypatch.setattr(stream, "wheel", clock.DeadlineWheel())


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every socket opened in a test is closed at its end."""
    gc.collect()
    before = sockets()
    yield
    close_ledgers()
    assert sockets() <= before  # what another test left may go meanwhile


def sockets() -> set[str]:
    """The sockets of this process, by inode; not collected first: an end that waits for the collector is a leak."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # the one that lists
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


class Wanted(NamedTuple):
    kind: type[Outcome]
    phase: Phase
    scope: Scope
    enhanced: str
    uncertain: bool = False


def seen(outcome: Outcome) -> Wanted:
    doubt = isinstance(outcome, Deferred) and outcome.uncertain
    return Wanted(type(outcome), outcome.phase, outcome.scope, outcome.reply.enhanced, doubt)


def lost(phase: Phase) -> Wanted:
    """The connection ended, or nothing came in time."""
    return Wanted(Deferred, phase, Scope.HOST, "4.4.2", phase is Phase.DOT)


def lied(phase: Phase) -> Wanted:
    """What came was no reply, or not one to what was said."""
    return Wanted(Deferred, phase, Scope.HOST, "4.5.0", phase is Phase.DOT)


def going(phase: Phase) -> Wanted:
    """421 4.3.2: certain whatever it answers."""
    return Wanted(Deferred, phase, Scope.HOST, "4.3.2")


DELIVERED = Wanted(Delivered, Phase.DOT, Scope.MESSAGE, "2.0.0")

ACTS: dict[str, Act] = {
    "stalls": stalls,
    "closes": closes,
    "resets": resets,
    "half a reply, then the end": says_and_closes(b"250-2.0"),
    "garbage": says(b"\x00\xff\xfe nothing SMTP\r\n"),
    "HTTP": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "code 199": says(b"199 once\r\n"),
    "code changes": says(b"250-one\r\n550 two\r\n"),
    "100 MB line": floods(b"x" * 65_536, 100 * MB, b"250-"),
    "endless lines": floods(b"250-more\r\n" * 1000, 100 * MB),
    "421": says(b"421 4.3.2 going down\r\n"),
    "421, then the end": says_and_closes(b"421 4.3.2 going down\r\n"),
    "451": says(b"451 4.7.1 later\r\n"),
    "554": says(b"554 5.7.1 never\r\n"),
    "354": says(b"354 out of turn\r\n"),
    "drips": drips(b"250 2.0.0 drop by drop\r\n"),
}
LOST = ("stalls", "closes", "resets", "half a reply, then the end")
LIED = ("garbage", "HTTP", "code 199", "code changes", "100 MB line", "endless lines")
GOING = ("421", "421, then the end")

STEPS = {
    "banner": Phase.BANNER,
    "ehlo": Phase.EHLO,
    "mail": Phase.MAIL,
    "rcpt": Phase.RCPT,
    "data": Phase.DATA,
    "dot": Phase.DOT,
}
EVERYWHERE = [
    (step, act, wanted(phase))
    for step, phase in STEPS.items()
    for acts, wanted in ((LOST, lost), (LIED, lied), (GOING, going))
    for act in acts
]
HERE = [
    ("banner", "451", Wanted(Deferred, Phase.BANNER, Scope.HOST, "4.7.1")),
    ("banner", "554", Wanted(Failed, Phase.BANNER, Scope.SITE, "5.7.1")),  # no other host is left that might take it
    ("banner", "354", Wanted(Deferred, Phase.BANNER, Scope.HOST, "")),
    ("banner", "drips", DELIVERED),
    ("ehlo", "451", Wanted(Deferred, Phase.EHLO, Scope.HOST, "4.7.1")),
    ("ehlo", "554", DELIVERED),  # then HELO will do
    ("ehlo", "354", Wanted(Deferred, Phase.EHLO, Scope.HOST, "")),
    ("ehlo", "drips", DELIVERED),
    ("mail", "451", Wanted(Deferred, Phase.MAIL, Scope.MESSAGE, "4.7.1")),
    ("mail", "554", Wanted(Failed, Phase.MAIL, Scope.MESSAGE, "5.7.1")),
    ("mail", "354", lied(Phase.MAIL)),
    ("mail", "drips", DELIVERED),
    ("rcpt", "451", Wanted(Deferred, Phase.RCPT, Scope.RECIPIENT, "4.7.1")),
    ("rcpt", "554", Wanted(Failed, Phase.RCPT, Scope.RECIPIENT, "5.7.1")),
    ("rcpt", "354", lied(Phase.RCPT)),
    ("rcpt", "drips", DELIVERED),
    ("data", "451", Wanted(Deferred, Phase.DATA, Scope.MESSAGE, "4.7.1")),
    ("data", "554", Wanted(Failed, Phase.DATA, Scope.MESSAGE, "5.7.1")),
    ("data", "drips", lied(Phase.DATA)),  # 250 to DATA
    ("dot", "451", Wanted(Deferred, Phase.DOT, Scope.MESSAGE, "4.7.1")),
    ("dot", "554", Wanted(Failed, Phase.DOT, Scope.MESSAGE, "5.7.1")),
    ("dot", "354", lied(Phase.DOT)),
    ("dot", "drips", DELIVERED),
]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
@pytest.mark.parametrize(
    ("step", "act", "wanted"), EVERYWHERE + HERE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_one_host(step: str, act: str, wanted: Wanted, pipelining: bool) -> None:
    extensions = ("PIPELINING", "8BITMIME") if pipelining else ("8BITMIME",)
    peer, road = SmtpPeer({step: ACTS[act]}, extensions=extensions), Road()
    carrier = road.carrier()
    (outcome,) = road.to(peer).deliver(carrier)
    assert seen(outcome) == wanted
    assert (outcome.host, outcome.address) == ("mx0.example", "127.0.0.1")
    assert len(peer.sessions) == 1
    ends_clean(road, carrier, peer)


def ends_clean(road: Road, carrier: Carrier, *peers: SmtpPeer) -> None:
    """The runner ends, the worker stops: the ledger counts nothing, no connection is open."""
    carrier.close()
    road.pool.close_idle()
    assert road.in_use() == 0 and road.ledger.unheld == 0
    assert road.pool.statistics()["active"] == road.pool.statistics()["idle"] == road.pool.statistics()["waiting"] == 0
    wait_until(lambda: not any(peer.open for peer in peers))
    for peer in peers:
        peer.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Let the others run until it holds; ten seconds is far more than loopback needs."""
    deadline = clock.now() + 10.0
    while not condition():
        assert clock.now() < deadline, "did not come to pass"
        tasks.run_loop_once()


# -- early and extra replies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ({"banner": says(b"220 hi\r\n250 early\r\n")}, lied(Phase.EHLO)),
        ({"ehlo": says(b"250-hi\r\n250 PIPELINING\r\n250 early\r\n")}, lied(Phase.MAIL)),
        ({"mail": says(b"250 ok\r\n250 extra\r\n")}, lied(Phase.DATA)),  # the reply to RCPT would answer DATA
        ({"rcpt": says(b"250 ok\r\n250 extra\r\n")}, lied(Phase.DATA)),
        ({"rcpt": says(b"250 ok\r\n354 extra\r\n")}, lied(Phase.CONTENT)),  # the true 354 is one too many
        ({"data": says(b"354 go\r\n250 taken already\r\n")}, lied(Phase.CONTENT)),
        ({"content": says(b"250 2.0.0 taken unread\r\n")}, lied(Phase.CONTENT)),
        ({"dot": says(b"250 2.0.0 taken\r\n250 2.0.0 and again\r\n")}, DELIVERED),
        ({"after_dot": closes}, DELIVERED),
        ({"after_dot": resets}, DELIVERED),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_early_and_extra_replies(script: Script, wanted: Wanted) -> None:
    """Nothing said before its time is credited to a command; after the dot's reply nothing can take it back."""
    peer, road = SmtpPeer(script, GOOD), Road()
    carrier, way = road.carrier(), road.to(peer)
    assert seen(*way.deliver(carrier)) == wanted
    assert seen(*way.deliver(carrier)) == DELIVERED
    assert len(peer.sessions) == 2, "a session out of step was used again"
    ends_clean(road, carrier, peer)


# -- while the content is under way -----------------------------------------------------------------------------------


def midway(octets: bytes) -> Act:
    """Some content is read first: what comes in one piece with the 354 is a reply out of turn, not a refusal."""

    def act(session: Session) -> None:
        session._more()
        says_and_closes(octets)(session)

    return act


@pytest.mark.parametrize(
    ("content", "act", "wanted"),
    [
        # small content is in the system's buffers at once, dot included: the peer may have read it
        (BODY, stalls, lost(Phase.DOT)),
        (BODY, closes, lost(Phase.DOT)),
        (BODY, resets, lost(Phase.CONTENT)),  # known before it was sent
        # the peer does not read: the client's end must reach it all the same
        (LARGE, stalls, lost(Phase.CONTENT)),
        (LARGE, closes, lost(Phase.CONTENT)),
        (LARGE, resets, lost(Phase.CONTENT)),
        (LARGE, midway(b"552 5.3.4 enough\r\n"), Wanted(Failed, Phase.CONTENT, Scope.MESSAGE, "5.3.4")),
        (LARGE, midway(b"451 4.3.1 disk full\r\n"), Wanted(Deferred, Phase.CONTENT, Scope.MESSAGE, "4.3.1")),
        (LARGE, midway(b"421 4.3.2 going down\r\n"), going(Phase.CONTENT)),
        (LARGE, midway(b"250 2.0.0 taken unread\r\n"), lost(Phase.CONTENT)),  # no refusal, so it decides nothing
    ],
    ids=lambda value: ("small" if len(value) < MB else "large") if isinstance(value, bytes) else "",
)
def test_the_peer_ends_the_content(content: bytes, act: Act, wanted: Wanted) -> None:
    peer, road = SmtpPeer({"content": act}), Road()
    carrier = road.carrier()
    assert seen(*road.to(peer).deliver(carrier, content=content)) == wanted
    ends_clean(road, carrier, peer)


# -- STARTTLS ---------------------------------------------------------------------------------------------------------

UNSECURED = {
    "stalls": (stalls, lost(Phase.STARTTLS)),
    "closes": (closes, lost(Phase.STARTTLS)),
    "resets": (resets, lost(Phase.STARTTLS)),
    "garbage": (says(b"what\r\n"), lied(Phase.STARTTLS)),
    "extra reply": (says(b"454 4.7.0 no\r\n250 hm\r\n"), lied(Phase.STARTTLS)),
    "454": (says(b"454 4.7.0 no certificate\r\n"), Wanted(Deferred, Phase.STARTTLS, Scope.HOST, "4.7.0")),
    "503": (says(b"503 5.5.1 never\r\n"), Wanted(Failed, Phase.STARTTLS, Scope.HOST, "5.5.1")),
    "no TLS behind 220": (
        says_and_closes(b"220 go\r\nno handshake, only words that are long enough for a record\r\n"),
        Wanted(Deferred, Phase.STARTTLS, Scope.HOST, "4.7.5"),
    ),
}
"""What STARTTLS meets, and the outcome where TLS is required."""
