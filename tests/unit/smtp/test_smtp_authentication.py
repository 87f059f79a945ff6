"""AUTH at the machine alone: what it asks, what its owner may answer, and that no octets break it."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.errors import MisuseError
from fastrelay.mail.reply import reply
from fastrelay.smtp.events import AuthClaim, AuthLookup, Event, Mail
from fastrelay.smtp.lines import MAX_LINE
from fastrelay.smtp.phases import State
from fastrelay.smtp.sasl import client, scram
from fastrelay.smtp.server import Server
from fastrelay.smtp.terms import Terms

VERIFIER = scram.make_verifier(b"pencil", 4096)
LATER = reply(454, "4.7.0", "Later")
OK = b"AUTH PLAIN " + b64encode(b"\0user\0pencil") + b"\r\n"


def begun(**terms: object) -> Server:
    machine = Server(Terms("relay.example", auth="optional", **terms), tls=True)  # type: ignore[arg-type]
    machine.feed(b"EHLO c.example\r\n")
    machine.next_event()
    assert machine.next_event() is None
    machine.take_output()
    return machine


def said(machine: Server, octets: bytes) -> Event | None:
    machine.feed(octets)
    return machine.next_event()


def test_a_claim_bears_the_password_and_hides_it() -> None:
    event = said(begun(), OK)
    assert event == AuthClaim("user", "PLAIN", b"pencil")
    assert "pencil" not in repr(event) and "pencil" not in f"{event}"


def test_yes_no_and_not_now() -> None:
    machine = begun()
    said(machine, OK)
    machine.refuse(LATER, blame=False)
    assert (machine.take_output(), machine.state, machine.errors, machine.user) == (b"454 4.7.0 Later\r\n", 1, 0, "")
    said(machine, OK)
    machine.auth_no()
    assert machine.take_output().startswith(b"535 5.7.8 ") and machine.state is State.READY and machine.errors == 1
    said(machine, OK)
    machine.auth_ok()
    assert machine.take_output() == b"235 2.7.0 Authentication succeeded\r\n"
    assert machine.state is State.READY and machine.user == "user"
    assert isinstance(said(machine, b"MAIL FROM:<>\r\n"), Mail)


def test_no_for_the_last_time_is_the_end() -> None:
    machine = begun()
    said(machine, OK)
    machine.auth_no(last=True)
    assert machine.take_output().split(b"\r\n")[1].startswith(b"421 4.7.0 ")
    assert machine.state is State.CLOSED and machine.over == "too many failed logins"


def test_scram_asks_for_a_verifier_then_tells_what_was_proved() -> None:
    for password, proved in (("pencil", True), ("wrong", False)):
        machine = begun()
        peer = client.Scram(client.Secret("user", password))
        assert peer.first is not None
        assert said(machine, b"AUTH SCRAM-SHA-256 %b\r\n" % b64encode(peer.first)) == AuthLookup("user")
        machine.auth_verifier(VERIFIER)
        challenge = scram.unbase64(machine.take_output()[4:-2])
        event = said(machine, b64encode(peer.answer(challenge)) + b"\r\n")
        if proved:
            assert event is None
            assert peer.answer(scram.unbase64(machine.take_output()[4:-2])) == b""
            event = said(machine, b"\r\n")
        assert event == AuthClaim("user", "SCRAM-SHA-256", proved=proved)


def test_answers_to_what_was_not_asked_are_misuse() -> None:
    machine = begun()
    for answer in (machine.auth_ok, machine.auth_no, lambda: machine.auth_verifier(VERIFIER)):
        with pytest.raises(MisuseError):
            answer()
    said(machine, OK)
    with pytest.raises(MisuseError):
        machine.auth_verifier(VERIFIER)
    with pytest.raises(MisuseError):
        machine.next_event()


def test_long_lines_are_for_the_exchange_alone() -> None:
    machine = begun()
    said(machine, b"AUTH PLAIN\r\n")
    assert machine.lines.most == 12_288
    said(machine, b"*\r\n")
    assert machine.lines.most == MAX_LINE
    machine.take_output()
    said(machine, b"AUTH PLAIN\r\n")
    said(machine, b"A" * 20_000)
    assert len(machine.lines._octets) < 12_288  # what cannot be a line is not kept
    said(machine, b"\r\n")
    assert b"500 5.5.6 " in machine.take_output() and machine.lines.most == MAX_LINE


def test_tls_and_ehlo_after_a_login() -> None:
    machine = begun()
    said(machine, OK)
    machine.auth_ok()
    said(machine, b"EHLO other.example\r\n")
    assert machine.user == "user"
    machine.next_event()
    machine.tls_started()
    assert machine.user == ""


def test_a_listener_without_auth_knows_no_such_command() -> None:
    machine = Server(Terms("relay.example"), tls=True)
    machine.feed(b"EHLO c.example\r\n")
    assert machine.next_event() is not None
    machine.take_output()
    assert said(machine, OK) is None
    assert machine.take_output() == b"502 5.5.1 Command not implemented\r\n"


LINES = st.sampled_from(
    [
        b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH SCRAM-SHA-256", b"AUTH X", b"AUTH", b"*", b"", b"=", b"NOOP", b"QUIT",
        OK[:-2], b"AUTH PLAIN =", b64encode(b"user"), b64encode(b"\0user\0pencil"), b64encode(b"n,,n=user,r=abc"),
        b64encode(b"c=biws,r=abc,p=AAAA"), b"A" * 13_000, b"\xff\xfe", b"MAIL FROM:<a@b.example>", b"EHLO again",
    ]
)  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=40).map(lambda one: one.replace(b"\r\n", b"")), max_size=12), st.booleans())
def test_each_line_has_its_reply_and_no_login_falls_from_the_sky(lines: list[bytes], yes: bool) -> None:
    machine = begun()
    for line in lines:
        if machine.state is State.CLOSED:
            return
        machine.feed(line + b"\r\n")
        while (event := machine.next_event()) is not None:
            if isinstance(event, AuthLookup):
                machine.auth_verifier(VERIFIER)
            elif isinstance(event, AuthClaim):
                assert not event.proved
                if yes and event.password == b"pencil":
                    machine.auth_ok()
                else:
                    machine.auth_no()
            elif isinstance(event, Mail):
                machine.refuse(LATER)
        replies = machine.take_output().split(b"\r\n")[:-1]
        ends = [one for one in replies if one[3:4] == b" "]
        if machine.state is not State.CLOSED:  # a talker that is not SMTP has no reply
            assert len(ends) == 1
            assert (machine.state is State.AUTH) == ends[-1].startswith(b"334 ")
        assert not machine.user or yes
