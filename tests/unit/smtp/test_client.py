"""The client machine: every dialogue fed whole, octet by octet, pipelined and step by step."""

from base64 import b64encode
from collections.abc import Iterator

import pytest

from fastrelay.errors import Impossible, PeerError
from fastrelay.mail.outcome import Phase
from fastrelay.mail.reply import reply
from fastrelay.smtp.client import MAX_GROUP, Client, State
from fastrelay.smtp.offer import Offer, parse_offer
from fastrelay.smtp.sasl.client import Exchange, Secret, begin

PIPELINED = b"250-mx.example greets you\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n"
PLAIN = b"250 mx.example\r\n"


def ready(ehlo: bytes = PIPELINED) -> Client:
    client = Client("relay.example")
    assert client.receive(b"220 mx.example ESMTP\r\n") == b"EHLO relay.example\r\n"
    assert client.receive(ehlo) == b""
    assert client.state is State.READY
    return client


def converse(client: Client, first: bytes, answers: bytes) -> Iterator[bytes]:
    """Everything written, one command group after the other, each answered from `answers` line by line."""
    lines = answers.splitlines(keepends=True)
    out = first
    while out:
        yield out
        count = out.count(b"\r\n")
        said, lines = b"".join(lines[:count]), lines[count:]
        out = client.receive(said)


def feed(client: Client, octets: bytes, cut: int) -> bytes:
    return b"".join(client.receive(octets[at : at + cut]) for at in range(0, len(octets), cut))


def test_the_session_opens_however_the_octets_come() -> None:
    for cut in (1, 3, 1000):
        client = Client("relay.example")
        assert client.phase is Phase.BANNER
        assert feed(client, b"220-hello\r\n220 mx.example\r\n", cut) == b"EHLO relay.example\r\n"
        assert client.phase is Phase.EHLO
        assert feed(client, PIPELINED, cut) == b""
        assert client.state is State.READY and client.peer_name == "mx.example"
        assert client.offer == Offer(pipelining=True, size_offered=True, size=1000000, eightbit=True)


def test_helo_where_ehlo_is_not_known() -> None:
    client = Client("relay.example")
    client.receive(b"220 old\r\n")
    assert client.receive(b"502 5.5.2 what?\r\n") == b"HELO relay.example\r\n"
    assert client.receive(b"250 old.example\r\n") == b""
    assert (client.state, client.offer, client.peer_name) == (State.READY, Offer(), "old.example")


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ([b"554 no\r\n"], Phase.BANNER),
        ([b"421 busy\r\n"], Phase.BANNER),
        ([b"354 odd\r\n"], Phase.BANNER),
        ([b"220 hi\r\n", b"421 busy\r\n"], Phase.EHLO),
        ([b"220 hi\r\n", b"450 later\r\n"], Phase.EHLO),
        ([b"220 hi\r\n", b"550 no\r\n", b"550 never\r\n"], Phase.EHLO),
    ],
)
def test_a_session_refused(said: list[bytes], phase: Phase) -> None:
    client = Client("relay.example")
    for octets in said:
        client.receive(octets)
    assert client.state is State.CLOSED
    assert client.refusal is not None and client.refusal[0] is phase
    assert client.refusal[1].code == int(said[-1][:3])


def test_a_peer_that_talks_ahead_is_out_of_protocol() -> None:
    with pytest.raises(PeerError, match="not yet sent"):
        Client("relay.example").receive(b"220 hi\r\n250 mx\r\n")
    with pytest.raises(PeerError, match="not yet sent"):
        ready(PIPELINED + b"250 and more\r\n")
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    with pytest.raises(PeerError, match="not yet sent"):
        client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 delivered, honestly\r\n")
    assert client.verdicts == [None]
    client = ready(PLAIN)
    client.begin("a@b.example", ["c@d.example"])
    with pytest.raises(PeerError, match="not yet sent"):
        client.receive(b"250 ok\r\n250 ok\r\n")


def test_a_pipelined_transaction_is_one_write_and_ends_ready() -> None:
    client = ready()
    for _ in range(2):
        out = client.begin("a@b.example", ["c@d.example"], size=5000, eightbit=True)
        assert out == (b"MAIL FROM:<a@b.example> SIZE=5000 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        assert client.phase is Phase.MAIL
        assert client.receive(b"250 2.1.0 Ok\r\n250 2.1.5 ") == b""
        assert client.phase is Phase.RCPT
        assert client.receive(b"Ok\r\n") == b""
        assert client.phase is Phase.DATA
        assert client.receive(b"354 go ahead\r\n") == b""
        assert (client.state, client.phase) == (State.CONTENT, Phase.CONTENT)
        assert b"".join(client.content([b"Subject: x\r\n\r\n", b".dot\r\nend"])) == (
            b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"
        )
        client.sent()
        assert client.phase is Phase.DOT
        client.receive(b"250 2.0.0 queued\r\n")
        assert client.state is State.READY
        assert client.verdicts == [(Phase.DOT, reply(250, "2.0.0", "queued"))]


def test_step_by_step_without_pipelining_and_without_parameters_not_offered() -> None:
    client = ready(PLAIN)
    first = client.begin("", ["c@d.example", "e@d.example"], size=5000, eightbit=True, smtputf8=True)
    got = list(converse(client, first, b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n"))
    assert got == [b"MAIL FROM:<>\r\n", b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<e@d.example>\r\n", b"DATA\r\n"]
    assert client.state is State.CONTENT
    client.sent()
    client.receive(b"450 4.3.0 later\r\n")
    assert client.verdicts == [(Phase.DOT, reply(450, "4.3.0", "later")), (Phase.RCPT, reply(550, "5.1.1", "no"))]


@pytest.mark.parametrize("ehlo", [PIPELINED, PLAIN])
def test_each_recipient_has_its_own_verdict(ehlo: bytes) -> None:
    client = ready(ehlo)
    first = client.begin("a@b.example", [f"r{n}@d.example" for n in range(4)])
    answers = b"250 ok\r\n250 ok\r\n451 4.2.1 later\r\n550 5.1.1 no\r\n252 2.1.5 perhaps\r\n354 go\r\n"
    list(converse(client, first, answers))
    client.sent()
    client.receive(b"250 2.0.0 done\r\n")
    assert [v and (v[0], v[1].code) for v in client.verdicts] == [
        (Phase.DOT, 250),
        (Phase.RCPT, 451),
        (Phase.RCPT, 550),
        (Phase.DOT, 250),
    ]


def test_data_refused_is_for_those_accepted_and_rset_comes_before_the_next_mail() -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example", "e@d.example"])
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n451 4.3.0 disk\r\n")
    assert client.state is State.READY
    assert [v and (v[0], v[1].code) for v in client.verdicts] == [(Phase.RCPT, 550), (Phase.DATA, 451)]
    assert client.begin("a@b.example", ["c@d.example"]).startswith(b"RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT")
    assert client.phase is Phase.MAIL
    client.receive(b"250 flushed\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    client.sent()
    client.receive(b"250 ok\r\n")
    assert client.begin("a@b.example", ["c@d.example"]).startswith(b"MAIL")


def test_all_refused_and_data_too_is_the_recipients_word() -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n554 5.5.1 no valid recipients\r\n")
    assert client.state is State.READY
    assert client.verdicts == [(Phase.RCPT, reply(550, "5.1.1", "no"))]


def test_all_refused_yet_354_gets_a_lone_dot() -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    assert client.receive(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n") == b".\r\n"
    assert client.state is State.CANCEL and client.awaiting
    assert client.receive(b"554 5.5.1 no recipients\r\n") == b""
    assert client.state is State.READY
    assert client.verdicts == [(Phase.RCPT, reply(550, "5.1.1", "no"))]
    assert client.begin("a@b.example", ["c@d.example"]).startswith(b"MAIL")


def test_all_refused_step_by_step_sends_no_data_but_rset_next() -> None:
    client = ready(PLAIN)
    first = client.begin("a@b.example", ["c@d.example"])
    assert list(converse(client, first, b"250 ok\r\n550 5.1.1 no\r\n"))[-1] == b"RCPT TO:<c@d.example>\r\n"
    assert client.state is State.READY
    first = client.begin("a@b.example", ["c@d.example"])
    got = list(converse(client, first, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"))
    assert got[:2] == [b"RSET\r\n", b"MAIL FROM:<a@b.example>\r\n"]
    assert client.state is State.CONTENT


@pytest.mark.parametrize("ehlo", [PIPELINED, PLAIN])
def test_mail_refused_is_for_all(ehlo: bytes) -> None:
    client = ready(ehlo)
    first = client.begin("a@b.example", ["c@d.example", "e@d.example"])
    list(
        converse(client, first, b"550 5.7.1 go away\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n503 5.5.1 x\r\n")
    )
    assert client.state is State.READY
    assert client.verdicts == [(Phase.MAIL, reply(550, "5.7.1", "go away"))] * 2
    assert client.begin("a@b.example", ["c@d.example"]).startswith(b"MAIL")


@pytest.mark.parametrize(
    ("answers", "phase", "first_refused"),
    [
        (b"421 4.3.2 bye\r\n", Phase.MAIL, False),
        (b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n", Phase.RCPT, True),
        (b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n421 4.3.2 bye\r\n", Phase.DATA, True),
    ],
)
def test_421_closes_and_leaves_what_was_decided(answers: bytes, phase: Phase, first_refused: bool) -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example", "e@d.example"])
    client.receive(answers)
    assert client.state is State.CLOSED
    bye = (phase, reply(421, "4.3.2", "bye"))
    assert client.verdicts == [(Phase.RCPT, reply(550, "5.1.1", "no")) if first_refused else bye, bye]


def test_421_to_the_dot_closes() -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.sent()
    client.receive(b"421 4.3.2 bye\r\n")
    assert client.state is State.CLOSED
    assert client.verdicts == [(Phase.DOT, reply(421, "4.3.2", "bye"))]


def test_more_replies_than_commands_end_the_session_but_not_the_verdict() -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.sent()
    client.receive(b"250 2.0.0 done\r\n550 surprise\r\n")
    assert client.state is State.CLOSED
    assert client.verdicts == [(Phase.DOT, reply(250, "2.0.0", "done"))]


@pytest.mark.parametrize("answers", [b"354 go\r\n", b"250 ok\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n"])
def test_an_answer_of_the_wrong_kind_is_out_of_protocol(answers: bytes) -> None:
    client = ready()
    client.begin("a@b.example", ["c@d.example"])
    with pytest.raises(PeerError):
        client.receive(answers)


def test_a_large_envelope_goes_in_groups() -> None:
    for ehlo in (PIPELINED, PLAIN):
        client = ready(ehlo)
        recipients = [f"recipient-{n:04}@{'d' * 50}.example" for n in range(1000)]
        first = client.begin("a@b.example", recipients)
        groups = list(converse(client, first, b"250 ok\r\n" * 1001 + b"354 go\r\n"))
        assert all(len(group) <= MAX_GROUP for group in groups)
        assert (len(groups) < 10) is (ehlo is PIPELINED)
        assert b"".join(groups).count(b"RCPT TO:") == 1000
        assert groups[-1].endswith(b"DATA\r\n") and client.state is State.CONTENT


def test_mail_refused_ends_a_large_envelope_after_its_first_group() -> None:
    client = ready()
    first = client.begin("a@b.example", [f"recipient-{n:04}@{'d' * 50}.example" for n in range(1000)])
    groups = list(converse(client, first, b"451 later\r\n" + b"503 no\r\n" * 1001))
    assert len(groups) == 1 and client.state is State.READY


def test_starttls() -> None:
    client = ready(b"250-mx\r\n250 STARTTLS\r\n")
    assert client.offer.starttls
    assert client.start_tls() == b"STARTTLS\r\n"
    assert client.phase is Phase.STARTTLS
    assert client.receive(b"220 ready\r\n250 injected\r\n") == b""
    assert client.state is State.HANDSHAKE
    assert client.secured() == b"EHLO relay.example\r\n"
    assert client.offer == Offer()
    assert client.receive(PIPELINED) == b""
    assert client.offer.pipelining


def test_starttls_refused_leaves_the_session_as_it_was() -> None:
    client = ready(b"250-mx\r\n250 STARTTLS\r\n")
    client.start_tls()
    client.receive(b"454 4.7.0 not now\r\n")
    assert client.state is State.READY
    assert client.refusal == (Phase.STARTTLS, reply(454, "4.7.0", "not now"))
    client.start_tls()
    client.receive(b"421 bye\r\n")
    assert client.state is State.CLOSED


def test_an_early_refusal_of_the_content_counts() -> None:
    too_big = (Phase.CONTENT, reply(552, "5.3.4", "too big"))
    for octets, wanted in ((b"552 5.3.4 too big\r\n", too_big), (b"250 ok\r\n", None), (b"552 half", None)):
        client = ready()
        client.begin("a@b.example", ["c@d.example"])
        client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
        client.interrupted(octets)
        assert client.state is (State.CLOSED if wanted else State.CONTENT)
        assert client.verdicts == [wanted]


def test_an_address_with_a_line_end_never_leaves() -> None:
    for bad in ("a@b\r\nRCPT TO:<x@y>", "a\n@b", "a\r@b"):
        with pytest.raises(Impossible):
            ready().begin("a@b.example", [bad])
        with pytest.raises(Impossible):
            ready().begin(bad, ["a@b.example"])


def test_what_a_server_offers() -> None:
    offer = parse_offer(["pipelining", "SIZE 35882577", "8bitmime", "STARTTLS", "LIMITS MAILMAX=5 rcptmax=50", "X", ""])
    assert offer == Offer(
        pipelining=True, size_offered=True, size=35882577, eightbit=True, starttls=True, recipients=50, mails=5
    )
    assert parse_offer(["SIZE", "SMTPUTF8"]) == Offer(size_offered=True, smtputf8=True)
    assert parse_offer(["SIZE huge", "LIMITS RCPTMAX", "SIZE"]) == Offer(size_offered=True)
    assert parse_offer(["SIZE 99999999999999999999"]).size == 0
    assert parse_offer(["auth plain Login"]).auth == ("PLAIN", "LOGIN") and parse_offer(["AUTH"]).auth == ()
    assert parse_offer(["dsn"]) == Offer(dsn=True)
    assert parse_offer([]) == Offer()


def authenticating(first: bytes | None = b"\0u\0p", name: str = "PLAIN") -> tuple[Client, Exchange, bytes]:
    client = ready(b"250-mx.example\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256\r\n")
    exchange = begin(Secret("u", "p", mechanisms=[name]), client.offer.auth)
    assert exchange is not None
    if first is not None:
        exchange.first = first
    return client, exchange, client.authenticate(exchange)


def test_a_login_however_the_octets_come() -> None:
    for cut in (1, 1000):
        client, _, said = authenticating(None, "LOGIN")
        assert said == b"AUTH LOGIN\r\n" and client.phase is Phase.AUTH and client.awaiting
        for challenge, answer in ((b"334 VXNlcm5hbWU6\r\n", b"dQ==\r\n"), (b"334 \r\n", b"cA==\r\n")):
            assert feed(client, challenge, cut) == b"" and client.state is State.CHALLENGE
            assert client.phase is Phase.AUTH and not client.awaiting
            assert client.answer_challenge() == answer
        assert feed(client, b"235 2.7.0 ok\r\n", cut) == b""
        assert client.state is State.READY and client.refusal is None


def test_a_response_longer_than_a_command_may_be_waits_for_its_challenge() -> None:
    client, _, said = authenticating(b"x" * 372)
    assert len(said) == 509 and said.startswith(b"AUTH PLAIN eHh4")
    client, _, said = authenticating(b"x" * 373)
    assert said == b"AUTH PLAIN\r\n"
    client.receive(b"334 \r\n")
    assert client.answer_challenge() == b64encode(b"x" * 373) + b"\r\n"
    client.receive(b"235 2.7.0 ok\r\n")
    assert client.state is State.READY


def test_a_refused_login_ends_the_session() -> None:
    for line in (b"535 5.7.8 no\r\n", b"454 4.7.0 later\r\n", b"421 4.3.2 bye\r\n"):
        client, _, _ = authenticating()
        client.receive(line)
        assert client.state is State.CLOSED and client.refusal is not None
        assert client.refusal[0] is Phase.AUTH and client.refusal[1].code == int(line[:3])


@pytest.mark.parametrize(
    "said", [b"334 =\r\n", b"250 ok\r\n", b"354 go\r\n", b"334 \r\n235 ok\r\n", b"235 ok\r\n250 more\r\n"]
)
def test_a_server_out_of_step_in_a_login(said: bytes) -> None:
    client, _, _ = authenticating()
    with pytest.raises(PeerError):
        client.receive(said)


def test_scram_is_not_done_before_the_server_has_proved_itself() -> None:
    client, _, _ = authenticating(None, "SCRAM-SHA-256")
    with pytest.raises(PeerError, match="before its end"):
        client.receive(b"235 2.7.0 ok\r\n")


def test_no_challenge_no_answer() -> None:
    with pytest.raises(Impossible):
        ready().answer_challenge()
