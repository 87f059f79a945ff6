"""Every code we say is one of the registry and of the class of its reply; what peers say against that is no harm.

The table is that of IANA (RFC 3463, RFC 5248, and the extensions that added to it). The sources are read with `ast`, so
a reply written tomorrow is looked at as well; load/ is not, where sinks imitate what real servers say.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from fastrelay.errors import MachineShort, PeerClosed, PeerError, PeerTimeout, TlsFailed
from fastrelay.mail.envelope import Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase
from fastrelay.mail.reply import Reply
from fastrelay.routing import failures
from fastrelay.settlement.classify import classify
from fastrelay.settlement.status import Action, Ended, status_of
from fastrelay.smtp import commands
from fastrelay.smtp.commands import Unacceptable
from fastrelay.smtp.extensions import BASIC
from fastrelay.smtp.replies import ReplyReader
from tests.peers import sources

MOST = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 10, 7: 30}  # subject -> last detail registered, from 0 on
BELONGS = {  # detail codes that the registry ties to replies
    "1.10": {556},
    "5.6": {500},
    "6.7": {550, 553},
    "7.8": {535, 554},
    "7.9": {534},
    "7.10": {523},
    "7.11": {524, 538},
}
# replies that are put together while the program runs: each is looked at by a test below, or repeats another
MADE = {
    "mail/reply.py",  # reply() itself
    "smtp/replies.py",  # what a peer said
    "settlement/plan.py",  # what a peer said, from a state
    "delivery/hosts.py",  # what a peer said a while ago
    "settlement/classify.py",
    "routing/failures.py",
    "smtp/commands.py",
    "relay.py",  # MachineShort
    "reception/session.py",  # MachineShort
    "reception/logins.py",  # MachineShort
}
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_SAID = re.compile(r"([2-5]\d\d)[ -](\S*)")


def registered(enhanced: str) -> bool:
    _, subject, detail = map(int, enhanced.split("."))
    return subject in MOST and detail <= MOST[subject]


def agree(code: int, enhanced: str) -> bool:
    belongs = BELONGS.get(enhanced.partition(".")[2])
    return enhanced[0] == str(code)[0] and registered(enhanced) and (belongs is None or code in belongs)


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for name, found in sources.nodes().items():
        if not name.startswith("load/"):
            for node in found:
                yield f"{name}:{getattr(node, 'lineno', 0)}", node


def test_every_reply_in_the_sources_has_a_code_of_its_class_and_of_the_registry() -> None:
    wrong, seen, made = [], 0, set()
    for where, node in nodes():
        if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in ("reply", "Reply"):
            continue
        code, enhanced = node.args[:2]
        if not isinstance(code, ast.Constant) or not isinstance(enhanced, ast.Constant):
            made.add(where.partition(":")[0])
            continue
        assert isinstance(code.value, int) and isinstance(enhanced.value, str)
        seen += 1
        if enhanced.value == "":
            if code.value not in (0, 220, 250):  # no reply at all, the greeting, HELO and EHLO
                wrong.append(f"{where}: {code.value} without a code")
        elif not agree(code.value, enhanced.value):
            wrong.append(f"{where}: {code.value} {enhanced.value}")
    assert not wrong and seen > 30
    assert made <= MADE, "a reply put together anew: show here that it is right, and add its file"


def test_every_reply_written_as_octets_has_one_too() -> None:
    wrong, seen = [], 0
    for where, node in nodes():
        if not isinstance(node, ast.Constant) or not isinstance(node.value, bytes):
            continue
        said = _SAID.match(node.value.decode("latin-1"))
        if said is None or not node.value.endswith(b"\r\n"):
            continue
        seen += 1
        code, word = int(said[1]), said[2]
        if 300 <= code < 400:
            continue  # 334 and 354 have none (RFC 2034 3)
        if not _ENHANCED.fullmatch(word) or not agree(code, word):
            wrong.append(f"{where}: {node.value!r}")
    assert not wrong and seen > 8


def test_every_code_anywhere_in_the_sources_is_registered() -> None:
    codes = {
        node.value: where
        for where, node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ENHANCED.fullmatch(node.value)
    }
    assert len(codes) > 20 and not {code: where for code, where in codes.items() if not registered(code)}


def test_a_short_machine_says_codes_that_agree() -> None:
    assert agree(MachineShort("x").code, MachineShort("x").enhanced)
    for where, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "MachineShort":
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            assert agree(given.get("code", 452), given.get("enhanced", "4.3.1")), where


@pytest.mark.parametrize(
    "outcome",
    [
        failures.bad_domain("d"),
        failures.no_such_domain("d"),
        failures.null_mx("d"),
        failures.no_address("d"),
        failures.dead_hosts("d"),
        failures.unusable_mx("d"),
        failures.forbidden("d", "why"),
        failures.loop("d"),
        failures.unanswered("d", "MX", "why"),
        failures.hop_unresolved("d", "h"),
    ],
    ids=lambda outcome: str(outcome.reply.enhanced),
)
def test_what_routing_says(outcome: Outcome) -> None:
    assert agree(outcome.reply.code, outcome.reply.enhanced)
    assert (outcome.reply.code >= 500) is isinstance(outcome, Failed)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "error", [PeerClosed("x"), PeerTimeout("x"), PeerError("x"), TlsFailed("x"), MachineShort("x")]
)
def test_what_is_said_of_a_lost_peer(phase: Phase, error: PeerError) -> None:
    said = classify(phase, error).reply
    assert agree(said.code, said.enhanced) and said.code < 500


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        (commands.mail, b"FROM:<a@@b>"),
        (commands.mail, b"FROM:<a@b.example> SIZE=x"),
        (commands.mail, b"FROM:<a@b.example> RET=x"),
        (commands.mail, b"FROM:<a@b.example> X=y"),
        (commands.rcpt, b"TO:<>"),
        (commands.rcpt, b"TO:<a@b.example> NOTIFY=x"),
        (commands.rcpt, b"TO:<a@b.example> X=y"),
        (commands.hello, b""),
        (commands.chunk, b"x"),
    ],
)
def test_what_is_said_of_a_bad_argument(command: object, argument: bytes) -> None:
    words = (argument,) if command in (commands.hello, commands.chunk) else (argument, BASIC)
    with pytest.raises(Unacceptable) as caught:
        command(*words)  # type: ignore[operator]
    said = caught.value.answer
    assert agree(said.code, said.enhanced) and said.code in (501, 555)


@pytest.mark.parametrize(
    ("line", "phase", "kind", "status"),
    [
        (b"450 5.1.1 no such user\r\n", Phase.RCPT, Deferred, "4.0.0"),  # the reply's own class counts (RFC 2034 4)
        (b"550 4.2.2 mailbox full\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"250 5.0.0 ok\r\n", Phase.DOT, Delivered, "2.0.0"),
        (b"451 2.0.0 ok\r\n", Phase.DOT, Deferred, "4.0.0"),
        (b"550 5.999.999 x\r\n", Phase.RCPT, Failed, "5.999.999"),  # of the syntax, if not of the registry: as it came
        (b"550 5.1000.1 x\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"550 5.1 x\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"550 5.1.1.1 x\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"550 5.1.\xd9\xa1 x\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"550 #5.1.1 x\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"550\r\n", Phase.RCPT, Failed, "5.0.0"),
        (b"421 5.7.1 go away\r\n", Phase.RCPT, Deferred, "4.0.0"),
        (b"550-4.1.1 first\r\n550 5.1.2 last\r\n", Phase.RCPT, Failed, "5.1.2"),
        (b"550-5.1.1 first\r\n550 last\r\n", Phase.RCPT, Failed, "5.0.0"),
    ],
)
def test_a_peer_that_contradicts_itself(line: bytes, phase: Phase, kind: type[Outcome], status: str) -> None:
    reader = ReplyReader()
    reader.feed(line)
    said = reader.take()
    assert isinstance(said, Reply)
    outcome = classify(phase, said)
    assert type(outcome) is kind
    action = {Deferred: Action.DELAYED, Failed: Action.FAILED, Delivered: Action.RELAYED}[kind]
    assert status_of(Ended(Recipient("x@d.test"), outcome.reply, "mx", action=action)) == status
    text = str(outcome.reply)
    assert all(word in text for word in line.decode().split()[1:2]), "what it said is not lost"
