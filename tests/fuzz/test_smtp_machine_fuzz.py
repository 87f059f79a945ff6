"""The server machine under any commands in any order with garbage between: only its own words, one reply a line, and
always in step with the client or closed.

Nothing it does may raise: the driver below breaks no rule of its owner, so a MisuseError would be the machine's fault.
"""

import re
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.mail.reply import reply
from fastrelay.smtp.events import Content, Dropped, Event, Hello, Mail, Rcpt, Spoiled, StartTls
from fastrelay.smtp.extensions import BASIC, Extension
from fastrelay.smtp.lines import MAX_LINE
from fastrelay.smtp.phases import State
from fastrelay.smtp.server import Server
from fastrelay.smtp.terms import MAX_ERRORS, Terms
from tests.fuzz.effort import effort
from tests.peers.machine import assert_consistent

NO = reply(550, "5.7.1", "No")
LATER = reply(451, "4.3.0", "Later")

WALK = [b"EHLO c.example", b"MAIL FROM:<a@c.example>", b"RCPT TO:<b@d.example>", b"DATA", b"Subject: x", b"", b"."]
COMMANDS = [
    *WALK, *WALK, b"HELO c", b"MAIL FROM:<> SIZE=5 BODY=8BITMIME", b"MAIL FROM:<a@c.example> SIZE=99999999",
    b"RCPT TO:<postmaster>", b"RCPT TO:<nonsense>", b"RCPT TO:<c@d.example>", b"RSET", b"NOOP", b"HELP", b"VRFY x",
    b"EXPN y", b"QUIT", b"STARTTLS", b"AUTH PLAIN x", b"BDAT 5 LAST", b"BDAT 9", b"BDAT 0",
    b"BDAT 0 LAST", b"BDAT x", b"BDAT 99999", b"TURN", b"GET / HTTP/1.1", b"Subject: hidden",
    "MAIL FROM:<ö@c.example> SMTPUTF8".encode(), "RCPT TO:<ö@d.example>".encode(), "VRFY ö".encode(),
    "EXPN ö".encode(), b"MAIL FROM:<\xc2\x85@c.example> SMTPUTF8", b"VRFY \xff",
    b"XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE]", b"XCLIENT LOGIN=a+20b", b"XCLIENT", b"XCLIENT ADDR=+0D+0A",
    b"mail from:<a@c.example>", b"DATA now", b"QUIT now", b"..", b" ",
]  # fmt: skip
GARBAGE = st.binary(max_size=30) | st.sampled_from(
    [b"\xff\xfe", b"\0", b"a\nb", b"a\rb", b"x" * 1100, b"x" * MAX_LINE, b"\n.\n", b"\r.\r", b"\x16\x03\x01"]
)
LINE = st.sampled_from(COMMANDS) | st.sampled_from(COMMANDS) | GARBAGE.filter(lambda octets: b"\r\n" not in octets)
BEGINNINGS = st.sampled_from([[], WALK[:1], WALK[:2], WALK[:3], WALK[:4], [*WALK]])
LINES = st.tuples(BEGINNINGS, st.lists(LINE, max_size=15)).map(lambda both: [*both[0], *both[1]])
ANSWERS = st.lists(st.sampled_from(["yes", "yes", "yes", "no", "later", "spoil", "hang up"]), min_size=1, max_size=9)
TERMS = st.sampled_from(
    [Terms("relay.example", max_size=2000, max_recipients=2), Terms("relay.example", mend=True, tls="starttls"),
     Terms("relay.example", tls="required"),
     Terms("relay.example", tls="starttls", extensions=BASIC | {Extension.XCLIENT})]
)  # fmt: skip

COUNTED = (State.CHUNK, State.ASTRAY)

REPLIES = re.compile(rb"(?:[2345]\d\d(?:-[^\r\n]*\r\n[2345]\d\d)*(?: [ -~]*)?\r\n)*\Z")
LAST_LINE = re.compile(rb"^\d\d\d(?: [ -~]*)?\r\n", re.MULTILINE)


class Owner:
    """Decides by a list of answers, over and over, and never breaks the machine's rules."""

    def __init__(self, terms: Terms, answers: list[str]) -> None:
        self.machine = Server(terms)
        self.machine.greet()
        self._answers = answers
        self._asked = 0
        self.messages: list[bytes] = []
        self.content = b""

    def said(self, octets: bytes) -> bytes:
        """Feed, decide, and what is answered."""
        machine = self.machine
        if machine.state is not State.CLOSED:  # the end of a connection is where its owner stops reading
            machine.feed(octets)
        while (event := machine.next_event()) is not None:
            self._decide(event)
            self.check()
        self.check()
        answer = machine.take_output()
        assert REPLIES.match(answer), answer
        return answer

    def _decide(self, event: Event) -> None:
        machine = self.machine
        asks = isinstance(event, Mail | Rcpt | StartTls) or (isinstance(event, Content) and event.last)
        if isinstance(event, Content):
            self.content += event.octets
        if isinstance(event, Spoiled | Dropped | Hello):
            self.content = b""
        answer = self._answers[self._asked % len(self._answers)]
        self._asked += 1
        if answer == "hang up":
            machine.hang_up(LATER, "the owner's will")
        elif not asks:
            if answer == "spoil" and isinstance(event, Content):
                machine.spoil(NO)
                self.content = b""
        elif answer in ("no", "later"):
            machine.refuse(NO if answer == "no" else LATER, blame=answer == "no")
            self.content = b""
        elif isinstance(event, Mail):
            machine.mail_ok()
        elif isinstance(event, Rcpt):
            machine.rcpt_ok()
        elif isinstance(event, StartTls):
            machine.tls_ok()
            machine.tls_started()
        else:
            assert machine.mail is not None and machine.recipients
            machine.taken("id")
            self.messages.append(self.content)
            self.content = b""

    def check(self) -> None:
        """What holds between any two events."""
        machine = self.machine
        assert_consistent(machine)
        assert len(machine.recipients) <= machine.terms.max_recipients
        assert machine.errors <= MAX_ERRORS and bool(machine.over) == (machine.state is State.CLOSED)
        assert machine.asked is None


def replies_in(octets: bytes) -> int:
    return len(LAST_LINE.findall(octets))


@effort(350)
@given(TERMS, LINES, ANSWERS)
def test_one_reply_a_line_in_step_or_closed(terms: Terms, lines: list[bytes], answers: list[str]) -> None:
    owner = Owner(terms, answers)
    assert replies_in(owner.said(b"")) == 1
    for line in lines:
        before = owner.machine.state
        answer = owner.said(line + b"\r\n")
        after = owner.machine.state
        count = replies_in(answer)
        if before is State.CLOSED:
            assert answer == b""
        elif after is State.CLOSED:
            assert count <= 2, "its own reply, and why it ends"
        elif before in COUNTED:
            assert count <= 2, "to the chunk, and to a command behind it"
        elif after in COUNTED:
            assert count == 0, "not before the octets of the chunk"
        elif before is State.CONTENT:
            assert count == (1 if after is not State.CONTENT else 0)
        else:
            assert count == 1, line
    assert all(not re.search(rb"\r(?!\n)|(?<!\r)\n", message) for message in owner.messages)
    in_step(owner)


@effort(350)
@given(TERMS, LINES, ANSWERS, st.lists(st.integers(1, 40), max_size=60))
def test_however_it_is_cut_it_stays_in_step_or_closes(
    terms: Terms, lines: list[bytes], answers: list[str], sizes: list[int]
) -> None:
    owner = Owner(terms, answers)
    octets = b"\r\n".join(lines)  # and no end of the last line
    at = [0, *(n for n in accumulate(sizes) if n < len(octets)), len(octets)]
    for start, end in pairwise(at):
        owner.said(octets[start:end])
        assert len(owner.machine.lines._octets) <= MAX_LINE + 1, "kept of an unfinished line"
    in_step(owner)


def in_step(owner: Owner) -> None:
    """Whatever came before: an end of line, of a message or chunk where one is open, and the next command gets its own
    reply."""
    machine = owner.machine
    end_chunk(owner)
    owner.said(b"\r\n")
    end_chunk(owner)
    if machine.state is State.CONTENT:
        owner.said(b".\r\n")
        assert machine.state is not State.CONTENT
    closed = machine.state is State.CLOSED
    answer = owner.said(b"VRFY someone\r\n")
    if closed:
        assert answer == b""
    else:
        assert answer.startswith((b"252 ", b"530 ")) or machine.state is State.CLOSED


def end_chunk(owner: Owner) -> None:
    machine = owner.machine
    while machine.state in COUNTED:
        assert machine.chunk is not None
        owner.said(b"x" * min(machine.chunk.left, 500))
