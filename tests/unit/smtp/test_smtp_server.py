"""The server machine alone: what it asks, what it hands on, what its owner may not do; and that nothing breaks it."""

import random
import re

import pytest

from fastrelay.errors import MisuseError
from fastrelay.mail.reply import reply
from fastrelay.smtp.events import Content, Dropped, Event, Hello, Mail, Rcpt, Refused, Spoiled, StartTls
from fastrelay.smtp.extensions import BASIC, Extension
from fastrelay.smtp.lines import MAX_LINE
from fastrelay.smtp.phases import OUT_OF_ORDER, TRANSITIONS, State, Step
from fastrelay.smtp.server import Server
from fastrelay.smtp.terms import MAX_ERRORS, Terms
from tests.peers.machine import assert_consistent

NO = reply(550, "5.7.1", "No")
LATER = reply(451, "4.3.0", "Later")


def begun(**terms: object) -> Server:
    machine = Server(Terms("relay.example", **terms))  # type: ignore[arg-type]
    machine.greet()
    assert machine.take_output() == b"220 relay.example ESMTP ready\r\n"
    return machine


def in_content(**terms: object) -> Server:
    machine = begun(**terms)
    for octets in (b"EHLO c.example\r\n", b"MAIL FROM:<a@c.example>\r\n", b"RCPT TO:<b@d.example>\r\n", b"DATA\r\n"):
        drive(machine, octets)
    assert machine.state is State.CONTENT
    machine.take_output()
    return machine


def drive(machine: Server, octets: bytes) -> list[Event]:
    """Feed, say yes to MAIL and RCPT, leave what asks more to the caller."""
    machine.feed(octets)
    events: list[Event] = []
    while (event := machine.next_event()) is not None:
        events.append(event)
        if isinstance(event, Mail):
            machine.mail_ok()
        elif isinstance(event, Rcpt):
            machine.rcpt_ok()
        elif isinstance(event, StartTls) or (isinstance(event, Content) and event.last):
            break
    return events


def test_events_bear_what_was_said() -> None:
    machine = begun()
    assert drive(machine, b"EHLO c.example\r\n") == [Hello()]
    assert (machine.helo, machine.extended) == ("c.example", True)
    assert drive(machine, b"mail FROM:<a@c.example> size=12 Body=8bitmime\r\n") == [Mail("a@c.example", 12, "8BITMIME")]
    assert drive(machine, b"RCPT TO:<b@d.example>\r\n") == [Rcpt("b@d.example")]
    assert drive(machine, b"DATA\r\n") == []
    assert drive(machine, b"..x\r\n") == [Content(b".x\r\n", False)]
    assert drive(machine, b"y\r\n.\r\n") == [Content(b"y\r\n", True)]
    assert (machine.size, list(machine.recipients)) == (7, ["b@d.example"])
    assert machine.mail == Mail("a@c.example", 12, "8BITMIME")
    machine.take_output()
    machine.taken("id")
    assert machine.take_output() == b"250 2.0.0 Ok: queued as id\r\n"
    assert (machine.state, machine.mail, machine.recipients) == (State.READY, None, {})


def test_nothing_goes_on_before_a_question_is_answered() -> None:
    machine = begun()
    machine.feed(b"EHLO c.example\r\n")
    machine.next_event()
    machine.feed(b"MAIL FROM:<a@c.example>\r\n")
    assert isinstance(machine.next_event(), Mail)
    with pytest.raises(MisuseError, match="Mail waits"):
        machine.next_event()
    with pytest.raises(MisuseError, match="no Rcpt was asked"):
        machine.rcpt_ok()
    with pytest.raises(MisuseError, match="no Rcpt was asked"):
        machine.rcpt_ok("b@d.example")
    with pytest.raises(MisuseError, match="no Content was asked"):
        machine.taken("id")
    with pytest.raises(MisuseError, match="no message is on its way"):
        machine.spoil(NO)
    machine.mail_ok()
    with pytest.raises(MisuseError, match="nothing was asked"):
        machine.refuse(NO)


def test_a_refusal_with_and_without_blame() -> None:
    machine = begun()
    drive(machine, b"EHLO c.example\r\n")
    for blame, errors in ((False, 0), (True, 1)):
        machine.feed(b"MAIL FROM:<a@c.example>\r\n")
        machine.next_event()
        machine.refuse(LATER, blame=blame)
        assert (machine.errors, machine.state, machine.mail) == (errors, State.READY, None)
    drive(machine, b"MAIL FROM:<a@c.example>\r\n")
    machine.feed(b"RCPT TO:<b@d.example>\r\n")
    machine.next_event()
    machine.refuse(NO)
    assert (machine.state, machine.errors) == (State.MAIL, 2)


def test_a_refused_message_ends_the_transaction() -> None:
    machine = in_content()
    assert drive(machine, b"x\r\n.\r\n") == [Content(b"x\r\n", True)]
    machine.refuse(LATER, blame=False)
    assert machine.take_output() == b"451 4.3.0 Later\r\n"
    assert (machine.state, machine.recipients) == (State.READY, {})


def test_a_message_spoiled_by_its_owner_is_swallowed_and_answered_at_its_end() -> None:
    machine = in_content()
    drive(machine, b"x\r\n")
    machine.spoil(LATER)
    assert drive(machine, b"y\r\n") == [] and machine.take_output() == b""
    assert drive(machine, b"z\n\r\n.\r\n") == []  # no second verdict
    assert machine.take_output() == b"451 4.3.0 Later\r\n"
    assert (machine.state, machine.errors) == (State.READY, 0)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"x" * 70 + b"\r\n" + b"x" * 70 + b"\r\n", 552), (b"a\nb\r\n", 550), (b"a\rb\r\n", 550)],
)
def test_a_spoiled_message_is_told_once_with_its_sender(content: bytes, code: int) -> None:
    for cut in (True, False):
        machine = in_content(max_size=100)
        events = drive(machine, content) + drive(machine, b".\r\n") if cut else drive(machine, content + b".\r\n")
        (spoiled,) = (event for event in events if isinstance(event, Spoiled))
        assert (spoiled.reply.code, spoiled.sender) == (code, "a@c.example")
        assert machine.take_output().startswith(b"%d " % code) and machine.state is State.READY


def test_limits_of_an_operator_are_told_for_the_log() -> None:
    machine = begun(max_size=10, max_recipients=1)
    drive(machine, b"EHLO c.example\r\n")
    (refused,) = drive(machine, b"MAIL FROM:<a@c.example> SIZE=11\r\n")
    assert isinstance(refused, Refused) and (refused.command, refused.reply.code) == ("MAIL", 552)
    drive(machine, b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@d.example>\r\n")
    events = drive(machine, b"RCPT TO:<c@d.example>\r\nRCPT TO:<d@d.example>\r\n")
    assert [event.command for event in events if isinstance(event, Refused)] == ["RCPT"]  # once per transaction


def test_hanging_up_is_final() -> None:
    machine = in_content()
    machine.hang_up(reply(421, "4.3.2", "Closing"), "closing")
    machine.hang_up(reply(421, "4.3.2", "Again"), "again")
    machine.feed(b"x\r\n.\r\nQUIT\r\n")
    assert machine.next_event() is None
    assert (machine.take_output(), machine.state, machine.over) == (b"421 4.3.2 Closing\r\n", State.CLOSED, "closing")


def test_tls_forgets_what_was_said_before_it() -> None:
    machine = begun(tls="starttls")
    drive(machine, b"EHLO c.example\r\n")
    assert b"250 STARTTLS\r\n" in machine.take_output()
    (asked,) = drive(machine, b"STARTTLS\r\n")
    assert isinstance(asked, StartTls)
    machine.tls_ok()
    machine.feed(b"MAIL FROM:<evil@c.example>\r\n")  # between the command and the handshake: CVE-2011-0411
    machine.tls_started()
    machine.take_output()
    assert (machine.state, machine.helo, machine.tls, machine.next_event()) == (State.START, "", True, None)
    drive(machine, b"EHLO c.example\r\n")
    assert b"STARTTLS" not in machine.take_output()
    drive(machine, b"STARTTLS\r\n")
    assert machine.take_output().startswith(b"503 ")


def test_starttls_has_its_order() -> None:
    machine = begun(tls="starttls")
    drive(machine, b"STARTTLS\r\n")
    assert machine.take_output() == b"503 5.5.1 EHLO first\r\n"
    drive(machine, b"EHLO c.example\r\n")
    drive(machine, b"MAIL FROM:<a@c.example>\r\n")
    machine.take_output()
    drive(machine, b"STARTTLS\r\n")
    assert machine.take_output() == b"503 5.5.1 Not in a transaction\r\n"
    drive(machine, b"STARTTLS now\r\n")
    assert machine.take_output().startswith(b"501 ")


def test_each_step_is_allowed_or_has_its_words() -> None:
    commands = {Step.MAIL: b"MAIL FROM:<a@c>\r\n", Step.RCPT: b"RCPT TO:<b@d>\r\n", Step.DATA: b"DATA\r\n"}
    reach = [b"", b"EHLO c\r\n", b"MAIL FROM:<a@c>\r\n", b"RCPT TO:<b@d>\r\n"]
    for step, command in commands.items():
        for state in (State.START, State.READY, State.MAIL, State.RCPT):
            machine = begun()
            for octets in reach[: state + 1]:
                drive(machine, octets)
            assert machine.state is state
            machine.take_output()
            drive(machine, command)
            said = machine.take_output().decode()
            if state in TRANSITIONS[step]:
                assert said[0] in "23" and machine.state is TRANSITIONS[step][state]
            else:
                assert said == f"503 5.5.1 {OUT_OF_ORDER[step][state]}\r\n" and machine.state is state


def by_chunks(**terms: object) -> Server:
    machine = begun(**terms)
    for octets in (b"EHLO c.example\r\n", b"MAIL FROM:<a@c.example>\r\n", b"RCPT TO:<b@d.example>\r\n"):
        drive(machine, octets)
    machine.take_output()
    return machine


def test_a_message_in_one_chunk_is_one_content() -> None:
    machine = by_chunks()
    assert drive(machine, b"BDAT 8 LAST\r\n..x\r\n.\r\nQUIT\r\n") == [Content(b"..x\r\n.\r\n", True)]
    assert machine.take_output() == b"" and machine.state is State.CHUNK
    machine.taken("id")
    drive(machine, b"")
    assert machine.take_output() == b"250 2.0.0 Ok: queued as id\r\n221 2.0.0 Bye\r\n"


def test_a_chunk_is_answered_after_its_owner_has_had_it() -> None:
    machine = by_chunks()
    machine.feed(b"BDAT 5\r\nabc\r\nNOOP\r\n")
    assert machine.next_event() == Content(b"abc\r\n", False)
    assert machine.take_output() == b""
    machine.spoil(LATER)
    assert machine.next_event() is None
    assert machine.take_output() == b"451 4.3.0 Later\r\n250 2.0.0 Ok\r\n"
    assert machine.state is State.READY and machine.errors == 0


def test_reset_between_chunks_says_so() -> None:
    machine = by_chunks()
    assert drive(machine, b"BDAT 5\r\nabc\r\nRSET\r\nRSET\r\n") == [Content(b"abc\r\n", False), Dropped()]
    machine = by_chunks()
    assert drive(machine, b"RSET\r\n") == [], "nothing of it had come"


def test_a_size_that_is_too_large_is_known_before_the_chunk_comes() -> None:
    machine = by_chunks(max_size=1000)
    assert drive(machine, b"BDAT 1001 LAST\r\n") == [Spoiled(machine.terms.too_large, "a@c.example", "BDAT")]
    assert machine.take_output() == b"", "no reply before the octets"
    assert drive(machine, b"x" * 1001) == []
    assert machine.take_output() == b"552 5.3.4 Message larger than 1000 octets\r\n"


@pytest.mark.parametrize("before", [b"", b"EHLO c.example\r\n", b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n"])
def test_a_chunk_without_end_is_cut_off(before: bytes) -> None:
    machine = begun(max_size=1000)
    for line in [*before.splitlines(True), b"BDAT 99999999999 LAST\r\n"]:
        drive(machine, line)
    for _ in range(30):
        drive(machine, b"x" * 60_000)
    assert machine.state is State.CLOSED and machine.over == "a refused chunk that does not end"
    assert machine.take_output().endswith(b"421 4.3.0 The refused message does not end, closing\r\n")
    machine = by_chunks(max_size=1000)
    drive(machine, b"BDAT 99999999999 LAST\r\n")
    for _ in range(30):
        drive(machine, b"x" * 60_000)
    assert machine.over == "a refused message that does not end"


def test_empty_chunks_in_any_number_cost_no_stack() -> None:
    machine = by_chunks()
    drive(machine, b"BDAT 0\r\n" * 5000)
    assert machine.state is State.CLOSED and machine.over == "too many commands without mail"


def test_without_the_offer_a_chunk_ends_the_connection() -> None:
    machine = by_chunks(extensions=BASIC - {Extension.CHUNKING})
    drive(machine, b"BDAT 5 LAST\r\nabcde")
    assert machine.take_output() == b"502 5.5.1 Command not implemented\r\n"
    assert machine.over == "BDAT without CHUNKING"


def test_an_unfinished_line_costs_no_more_than_a_line() -> None:
    machine = begun()
    for _ in range(100):
        drive(machine, b"x" * 60_000)
        assert len(machine.lines._octets) <= MAX_LINE
    drive(machine, b"\r")
    drive(machine, b"\n")
    assert machine.take_output() == b"500 5.5.2 Line too long\r\n"


WORDS = [
    b"EHLO c.example", b"HELO c", b"MAIL FROM:<a@c.example>", b"MAIL FROM:<> SIZE=5", b"RCPT TO:<b@d.example>", b"DATA",
    b"RCPT TO:<nonsense>", b"RSET", b"NOOP", b"HELP", b"VRFY x", b"EXPN y", b".", b"..", b"", b"Hello", b"x" * 3000,
    b"\xff\xfe", b"a\nb", b"a\rb", b"\0", b"STARTTLS", b"AUTH PLAIN x", b"BDAT 0", b"BDAT 7", b"BDAT 12 LAST",
]  # fmt: skip

TO_CONTENT = [b"RSET", b"EHLO c.example", b"MAIL FROM:<a@c.example>", b"RCPT TO:<b@d.example>", b"DATA"]


def test_any_dialogue_in_any_cut(chance: random.Random) -> None:
    """Random lines: every answer is a reply, every state has its invariants, and the same lines waited for one by one
    and cut octet by octet are answered alike."""
    for _ in range(150):
        phrases = (chance.choice((TO_CONTENT, [word])) for word in chance.choices(WORDS, k=chance.randrange(1, 20)))
        lines = [line + b"\r\n" for phrase in phrases for line in phrase]
        said = []
        for chunks in (lines, [bytes((octet,)) for line in lines for octet in line]):
            machine = begun(max_recipients=3)
            octets = b""
            for chunk in chunks:
                for event in drive(machine, chunk):
                    if isinstance(event, Content) and event.last:
                        machine.taken("id")
                        drive(machine, b"")
                octets += machine.take_output()
                assert_consistent(machine)
                assert machine.errors <= MAX_ERRORS and (machine.over != "") == (machine.state is State.CLOSED)
            assert re.fullmatch(rb"([2345]\d\d[ -][ -~]*\r\n)*", octets)
            said.append(octets)
        assert said[0] == said[1], lines
