"""session.py on a stream that plays a script: what reaches the house, when 250 is said, how long a client may take."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fastrelay.errors import Impossible, MachineShort, PeerClosed, PeerTimeout
from fastrelay.reception import session as module
from fastrelay.reception.gathering import HOLD
from fastrelay.reception.session import LINGER, Session
from fastrelay.runtime import clock, tasks
from tests.peers.front_desk import FakeIntake, FakeLog, ScriptStream, Taken, desk_of

EHLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"
OPENING = [EHLO, ENVELOPE]
BODY = b"Subject: x\r\n\r\nHello\r\n"
DOT = b".\r\n"


class Visit:
    """One session, played to its end."""

    def __init__(
        self,
        chunks: list[Any],
        client: str = "127.0.0.1",
        intake: FakeIntake | None = None,
        look_up: Callable[[str], str] | None = None,
        **listener: Any,
    ) -> None:
        self.intake = intake or FakeIntake()
        self.log = FakeLog()
        self.desk = desk_of(self.intake, self.log, look_up, **listener)
        self.stream = ScriptStream(chunks, client)
        self.session = Session(self.desk, self.stream, "s-1")

    def run(self) -> "Visit":
        self.session.run()
        return self

    @property
    def answers(self) -> list[str]:
        return self.stream.written.decode().splitlines()


def visit(chunks: list[Any], **more: Any) -> Visit:
    return Visit(chunks, **more).run()


# -- what reaches the house -------------------------------------------------------------------------------------------


def test_envelope_and_received_field() -> None:
    one = visit(
        [EHLO, b"MAIL FROM:<a@client.example> BODY=8BITMIME\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", BODY + DOT]
    )
    (message,) = one.intake.messages
    envelope = message.envelope
    assert (envelope.sender, message.addresses, envelope.body) == ("a@client.example", ["b@there.example"], "8BITMIME")
    assert (envelope.client, envelope.helo, envelope.session) == ("127.0.0.1", "client.example", "s-1")
    assert message.content == BODY
    assert re.fullmatch(
        rb"Received: from client\.example \(unknown \[127\.0\.0\.1\]\)\r\n"
        rb"\tby relay\.example with ESMTP id " + message.ident.hex().encode() + rb"; [^\r\n]+\r\n",
        message.prefix,
    )
    assert f"250 2.0.0 Ok: queued as {message.ident.hex()}" in one.answers
    assert abs(envelope.created - clock.wall()) < 60


def test_the_envelope_knows_how_long_the_content_took(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1000.0
    monkeypatch.setattr(clock, "now", lambda: at)

    def later() -> bytes:
        nonlocal at
        at += 2.5
        return BODY

    both = [ENVELOPE, later, later, DOT]
    one = visit([EHLO, *both, *both[:2], DOT])
    assert [message.envelope.arriving for message in one.intake.messages] == [5.0, 2.5]


def test_two_recipients_are_not_shown_to_each_other() -> None:
    one = visit([EHLO, ENVELOPE.replace(b"DATA", b"RCPT TO:<secret@there.example>\r\nDATA"), BODY + DOT])
    assert b"secret" not in one.intake.messages[0].prefix and b"for" not in one.intake.messages[0].prefix


def test_a_new_hello_is_a_new_received_field() -> None:
    again = [b"HELO other.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<b@there.example>\r\n", b"DATA\r\n", DOT]
    first, second = visit([*OPENING, BODY + DOT, *again]).intake.messages
    assert b"from client.example" in first.prefix and b"with ESMTP id" in first.prefix
    assert b"from other.example" in second.prefix and b"with SMTP id" in second.prefix


def test_what_comes_whole_or_in_small_pieces_is_one_bytes_object() -> None:
    pieces = [BODY[:5], BODY[5:11], BODY[11:], b".", b"\r\n"]
    for chunks in ([BODY + DOT], pieces):
        one = visit([*OPENING, *chunks])
        assert one.intake.drafts == [] and one.intake.messages[0].content == BODY


def test_what_is_large_goes_to_a_draft_sized_by_what_the_client_said() -> None:
    line = b"x" * 98 + b"\r\n"
    big = line * (HOLD // 100 + 1)
    envelope = ENVELOPE.replace(b"example>\r\nRCPT", b"example> SIZE=50000\r\nRCPT")
    one = visit([EHLO, envelope, BODY, big, big, DOT])
    (draft,) = one.intake.drafts
    assert draft.hint == 50_000 and not draft.discarded
    assert one.intake.messages[0].content == BODY + big + big
    assert one.intake.asked == [50_000]
    assert one.desk.counts.received_bytes == len(BODY + big + big)


def test_the_250_is_said_after_the_house_has_it() -> None:
    intake = FakeIntake()
    seen: list[bytes] = []
    one = Visit([*OPENING, BODY + DOT], intake=intake)
    intake.before_accept = lambda message: seen.append(one.stream.written)
    one.run()
    assert b"queued as" not in seen[0] and one.stream.written.startswith(seen[0]) and b"queued as" in one.stream.written


def test_events_and_counts_of_a_message() -> None:
    one = visit([*OPENING, BODY + DOT, b"QUIT\r\n"])
    (event,) = one.log.of("Reception")
    assert event["id"] == one.intake.messages[0].ident.hex()
    assert (event["sender"], event["recipient"], event["size"]) == ("a@client.example", "b@there.example", len(BODY))
    assert event["peer_address"] == {"name": "client.example", "addr": "127.0.0.1"} and event["session_id"] == "s-1"
    assert one.log.of("Rejection") == []
    counts = one.desk.counts
    assert (counts.received, counts.received_bytes, counts.rejected) == (1, len(BODY), 0)
    assert sum(counts.accept_seconds.counts) == 1


def test_a_mended_message_says_so_in_the_log() -> None:
    one = visit([*OPENING, b"a\nb\r\n.\r\n"], bare_newlines="normalise")
    assert one.log.of("Reception")[0]["mended"] is True and one.intake.messages[0].content == b"a\r\nb\r\n"


# -- the client's name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "client", "asked"),
    [
        ("strangers", "127.0.0.1", 0),
        ("strangers", "192.0.2.1", 1),
        ("all", "127.0.0.1", 1),
        ("all", "192.0.2.1", 1),
        ("all", "unix", 0),
        ("never", "127.0.0.1", 0),
        ("never", "192.0.2.1", 0),
    ],
)
def test_whose_name_is_looked_up(who: str, client: str, asked: int) -> None:
    addresses: list[str] = []
    visit([EHLO], client=client, look_up=lambda address: str(addresses.append(address)), reverse_lookup=who)
    tasks.run_loop_once()
    assert addresses == [client] * asked


def test_a_verified_name_stands_in_received_and_is_waited_for_before_354() -> None:
    said: list[bytes] = []
    one = Visit(
        [*OPENING, BODY + DOT, ENVELOPE, BODY + DOT],
        look_up=lambda address: said.append(one.stream.written) or "mail.client.example",  # type: ignore[func-returns-value]
        reverse_lookup="all",
    )
    first, second = one.run().intake.messages
    for message in (first, second):
        assert message.prefix.startswith(b"Received: from client.example (mail.client.example [127.0.0.1])\r\n")
    assert len(said) == 1 and b"ENHANCEDSTATUSCODES" in said[0] and b"354" not in said[0]


def test_a_client_without_a_name_is_unknown() -> None:
    one = visit([*OPENING, BODY + DOT], look_up=lambda address: "", reverse_lookup="all")
    assert b"(unknown [127.0.0.1])" in one.intake.messages[0].prefix


def test_with_tells_of_smtputf8_message_by_message() -> None:
    beyond = ENVELOPE.replace(b"@client.example>", b"@client.example> SMTPUTF8")
    one = visit([EHLO, ENVELOPE, BODY + DOT, beyond, BODY + DOT, ENVELOPE, BODY + DOT])
    words = [message.prefix.partition(b" with ")[2].split()[0] for message in one.intake.messages]
    assert words == [b"ESMTP", b"UTF8SMTP", b"ESMTP"]
    assert [message.envelope.smtputf8 for message in one.intake.messages] == [False, True, False]


def test_who_wants_to_know_of_names_that_stand_for_others_is_told_before_the_250() -> None:
    aliases = (
        ("staff@relay.example", ("a@there.example", "b@there.example")),
        ("boss@relay.example", ("a@there.example",)),
    )
    envelope = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<%b@relay.example> NOTIFY=SUCCESS\r\nDATA\r\n"
    one = Visit(
        [EHLO, envelope % b"boss", BODY + DOT, envelope % b"staff", BODY + DOT, ENVELOPE, BODY + DOT], aliases=aliases
    )
    told: list[Any] = []
    one.desk.expanded = lambda ident, envelope, names, wall: told.append(
        (ident, [name.address for name in names], one.stream.written.count(b"queued as"), len(one.intake.messages))
    )
    one.run()
    assert told == [(one.intake.messages[1].ident, ["staff@relay.example"], 1, 2)], "committed, and not yet answered"
    boss, staff, _ = (message.envelope.recipients for message in one.intake.messages)
    assert [name.notify for name in boss] == ["SUCCESS"] and [name.notify for name in staff] == ["NEVER", "NEVER"]


# -- what HELO claims -------------------------------------------------------------------------------------------------


def test_a_claim_is_recorded_in_received_and_in_the_log() -> None:
    asked: list[tuple[str, str]] = []

    def check(name: str, address: str) -> str:
        asked.append((name, address))
        return "fail" if name == "liar.example" else "pass"

    by_chunks = ENVELOPE.removesuffix(b"DATA\r\n") + b"BDAT 5 LAST\r\none\r\n"
    one = visit(
        [EHLO, ENVELOPE, BODY + DOT, b"HELO liar.example\r\n", by_chunks],
        check_helo=check, helo_check="record", reverse_lookup="all",
    )  # fmt: skip
    heads = [message.prefix.split(b"\r\n")[0] for message in one.intake.messages]
    assert heads == [
        b"Received: from client.example (unknown [127.0.0.1]) (claimed name: pass)",
        b"Received: from liar.example (unknown [127.0.0.1]) (claimed name: fail)",
    ]
    assert asked == [("client.example", "127.0.0.1"), ("liar.example", "127.0.0.1")]
    assert [event["helo_check"] for event in one.log.of("Reception")] == ["pass", "fail"]


def test_of_a_client_that_may_relay_nothing_is_asked() -> None:
    for how in ("record", "require"):
        one = visit([EHLO, ENVELOPE, BODY + DOT], check_helo=lambda name, address: "fail", helo_check=how)
        assert b"helo" not in one.intake.messages[0].prefix and "helo_check" not in one.log.of("Reception")[0]
    one = visit(
        [EHLO, ENVELOPE, BODY + DOT],
        check_helo=lambda name, address: "fail",
        helo_check="require",
        reverse_lookup="all",
    )
    assert b"(claimed name: fail)" in one.intake.messages[0].prefix, "recorded, not refused"


def test_a_false_claim_of_a_stranger_is_in_the_log() -> None:
    one = visit(
        [EHLO, b"MAIL FROM:<>\r\n"], client="192.0.2.1", check_helo=lambda name, address: "fail", helo_check="require"
    )
    (event,) = one.log.of("Rejection")
    assert event["helo_check"] == "fail" and event["response"]["command"] == "MAIL"


# -- chunks -----------------------------------------------------------------------------------------------------------

BY_CHUNKS = ENVELOPE.removesuffix(b"DATA\r\n")
BIG = (b"x" * 98 + b"\r\n") * 300


def test_a_message_by_chunks_arrives_as_by_data() -> None:
    one = visit([EHLO, BY_CHUNKS + b"BDAT %d LAST\r\n" % len(BODY) + BODY])
    (message,) = one.intake.messages
    assert message.content == BODY and message.envelope.arriving == 0.0
    assert one.log.of("Reception")[0]["size"] == len(BODY) and one.desk.counts.received_bytes == len(BODY)


def test_large_chunks_go_to_a_draft_and_reset_discards_it() -> None:
    chunk = b"BDAT %d\r\n" % len(BIG)
    one = visit(
        [EHLO, BY_CHUNKS, chunk, BIG[:9000], BIG[9000:], b"RSET\r\n", BY_CHUNKS + chunk, BIG, b"BDAT 0 LAST\r\n"]
    )
    (message,) = one.intake.messages
    assert message.content == BIG
    assert [draft.discarded for draft in one.intake.drafts] == [True, False]
    one = visit([EHLO, BY_CHUNKS + chunk + BIG + EHLO, BY_CHUNKS + b"BDAT 6 LAST\r\ntwo\r\n\n"[:-1], b"x"])
    assert one.intake.drafts[0].discarded


def test_octets_held_of_chunks_are_forgotten_too() -> None:
    for gives_up in (b"RSET\r\n", EHLO):
        one = visit([EHLO, BY_CHUNKS + b"BDAT 5\r\none\r\n", gives_up, BY_CHUNKS + b"BDAT 5 LAST\r\ntwo\r\n"])
        assert [message.content for message in one.intake.messages] == [b"two\r\n"]


def test_no_room_in_a_chunk_is_its_answer() -> None:
    """The chunk is answered after it was written, so no 250 is said for octets that had no place."""
    intake = FakeIntake()
    intake.full_at = 40_000
    chunk = b"BDAT %d\r\n" % len(BIG) + BIG
    one = visit(
        [EHLO, BY_CHUNKS + chunk, chunk, b"BDAT 5 LAST\r\ntwo\r\n" + BY_CHUNKS, b"BDAT 5 LAST\r\ntwo\r\n"],
        intake=intake,
    )
    assert [line[:9] for line in one.answers[-6:]] == [
        "250 2.0.0", "452 4.3.1", "503 5.5.1", "250 2.1.0", "250 2.1.5", "250 2.0.0",
    ]  # fmt: skip
    assert intake.drafts[0].discarded and [message.content for message in intake.messages] == [b"two\r\n"]
    assert [event["response"]["command"] for event in one.log.of("Rejection")] == ["BDAT"]


def test_the_name_is_waited_for_also_by_chunks() -> None:
    one = visit(
        [EHLO, BY_CHUNKS + b"BDAT 5 LAST\r\none\r\n"],
        look_up=lambda address: "mail.client.example",
        reverse_lookup="all",
    )
    assert b"(mail.client.example [127.0.0.1])" in one.intake.messages[0].prefix


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_stranger_costs_nothing_and_is_recorded() -> None:
    one = visit([EHLO, ENVELOPE], client="192.0.2.1")
    assert "550 5.7.1 Relaying denied" in one.answers
    assert one.intake.asked == []
    (event,) = one.log.of("Rejection")
    assert event["response"]["code"] == 550 and event["response"]["command"] == "RCPT"
    assert (event["sender"], event["recipient"]) == ("a@client.example", "b@there.example")
    assert one.desk.counts.rejected == 1


def test_a_log_that_is_short_refuses_mail_before_it_is_read() -> None:
    one = Visit([EHLO, b"MAIL FROM:<>\r\n"])
    one.log.short = True
    assert one.run().answers[-1] == "452 4.3.1 Not now, try again later"
    assert one.desk.counts.throttled == {"log": 1}


def test_no_room_in_the_middle_is_said_at_the_end_and_nothing_stays() -> None:
    intake = FakeIntake()
    intake.full_at = 40_000
    big = (b"x" * 98 + b"\r\n") * 300
    one = visit([*OPENING, big, big, b"QUIT\r\n", DOT, *ENVELOPE.splitlines(True), BODY + DOT], intake=intake)
    assert one.answers[one.answers.index("354 End data with <CR><LF>.<CR><LF>") + 1] == "452 4.3.1 no space left"
    assert intake.drafts[0].discarded and len(intake.messages) == 1
    assert len(one.log.of("Rejection")) == 1
    assert one.desk.counts.throttled == {"room": 1}


def test_no_room_in_the_last_piece() -> None:
    intake = FakeIntake()
    intake.full_at = 10
    one = visit([*OPENING, (b"x" * 98 + b"\r\n") * 300, DOT], intake=intake)
    assert one.answers[-1].startswith("452 4.3.1") and intake.drafts[0].discarded and intake.messages == []


def test_a_failed_commit_discards_the_draft() -> None:
    intake = FakeIntake()
    intake.dot = MachineShort("cannot be stored", code=451, enhanced="4.3.0")
    one = visit([*OPENING, (b"x" * 98 + b"\r\n") * 300, DOT], intake=intake)
    assert one.answers[-1] == "451 4.3.0 cannot be stored" and intake.drafts[0].discarded
    assert one.desk.counts.throttled == {"room": 1}


@pytest.mark.parametrize("pieces", [1, 100])
def test_a_loop_in_a_large_message_is_found_in_its_first_piece(pieces: int) -> None:
    header = b"Received: from a.example by b.example\r\n" * 100 + b"\r\n"
    content = header + (b"x" * 98 + b"\r\n") * 300
    size = len(content) // pieces + 1
    one = visit([*OPENING, *(content[at : at + size] for at in range(0, len(content), size)), DOT])
    assert one.answers[-1] == "554 5.4.6 Too many hops, this message loops"
    assert one.intake.messages == [] and all(draft.discarded for draft in one.intake.drafts)
    assert len(one.log.of("Rejection")) == 1


@pytest.mark.parametrize("end", [b"", PeerClosed("reset"), PeerTimeout("silence")])
def test_a_client_gone_before_the_dot_leaves_nothing(end: Any) -> None:
    big = (b"x" * 98 + b"\r\n") * 300
    for content in (BODY, big):
        one = visit([*OPENING, content, *([end] if end else [])])
        assert one.intake.messages == [] and one.stream.closed
        assert all(draft.discarded for draft in one.intake.drafts)


def test_a_broken_house_closes_the_connection_without_an_answer() -> None:
    intake = FakeIntake()

    def break_down(message: Taken) -> None:
        raise Impossible("no such row")

    intake.before_accept = break_down
    one = Visit([*OPENING, BODY + DOT], intake=intake)
    with pytest.raises(Impossible):
        one.run()
    assert one.stream.closed and one.answers[-1].startswith("354")


def test_a_draft_in_the_intakes_hands_is_not_discarded_when_the_task_is_ended() -> None:
    intake = FakeIntake()

    class Ended(BaseException):
        pass

    def end(message: Taken) -> None:
        raise Ended

    intake.before_accept = end
    one = Visit([*OPENING, (b"x" * 98 + b"\r\n") * 300, DOT], intake=intake)
    with pytest.raises(Ended):
        one.run()
    assert not intake.drafts[0].discarded


# -- time -------------------------------------------------------------------------------------------------------------


class Hand:
    """A monotonic clock turned by hand."""

    def __init__(self) -> None:
        self.value = 1000.0

    def __call__(self) -> float:
        return self.value

    def then(self, seconds: float, octets: bytes) -> Any:
        """A chunk that comes so much later."""

        def come() -> bytes:
            self.value += seconds
            return octets

        return come


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    one = Hand()
    monkeypatch.setattr(clock, "now", one)
    return one


def test_a_command_has_one_deadline_however_it_is_cut(hand: Hand) -> None:
    one = visit([*(hand.then(50.0, bytes((octet,))) for octet in EHLO), b"QUIT\r\n"], command_timeout=300.0)
    assert one.stream.deadlines == [("in", 300.0), ("in", 300.0), ("in", 10.0)]  # greeting, EHLO's reply, the last


def test_a_chunk_has_the_time_of_content(hand: Hand) -> None:
    """Each block its deadline, the whole its rate, and what came with the command counts for it too."""
    chunks = [
        EHLO,
        BY_CHUNKS + b"BDAT 1000\r\n",
        hand.then(100.0, b"x" * 498 + b"\r\n"),
        hand.then(100.0, b"y" * 498 + b"\r\n"),
        hand.then(50.0, b"BDAT 2000 LAST\r\n" + (b"z" * 498 + b"\r\n") * 2),
        hand.then(10.0, (b"z" * 498 + b"\r\n") * 2),
    ]
    one = visit(chunks, data_timeout=180.0, min_data_rate=10.0, command_timeout=300.0)
    assert len(one.intake.messages) == 1 and one.intake.messages[0].envelope.arriving == 260.0
    assert [when - 1000.0 for kind, when in one.stream.deadlines if kind == "at"] == [
        180.0,
        180.0 + 500 / 10.0,
        180.0 + 2000 / 10.0,
    ]


def test_a_chunk_of_no_message_has_its_own_time_however_long_ago_the_last_message_came(hand: Hand) -> None:
    too_large = b"MAIL FROM:<a@client.example> SIZE=99999999\r\nRCPT TO:<b@there.example>\r\nBDAT 3 LAST\r\n"
    one = visit([*OPENING, BODY + DOT, hand.then(290.0, too_large), b"x\r\n"], data_timeout=180.0)
    assert [deadline for kind, deadline in one.stream.deadlines if kind == "at"] == [1180.0, 1290.0 + 180.0]
    assert [answer[:3] for answer in one.answers[-3:]] == ["552", "503", "503"]


def test_each_block_of_content_has_its_deadline_and_the_whole_its_rate(hand: Hand) -> None:
    chunks = [*OPENING, hand.then(100.0, b"x" * 498 + b"\r\n"), hand.then(100.0, b"y" * 8 + b"\r\n"), DOT]
    one = visit(chunks, data_timeout=180.0, min_data_rate=500.0)
    blocks = [deadline for kind, deadline in one.stream.deadlines if kind == "at"]
    assert blocks == [1180.0, 1000.0 + 180.0 + 1.0, pytest.approx(1000.0 + 180.0 + 510 / 500)]
    assert len(one.intake.messages) == 1


def test_silence_is_told_and_only_recorded_in_a_transaction() -> None:
    for chunks, recorded in (([], 0), ([EHLO], 0), ([EHLO, ENVELOPE.replace(b"DATA\r\n", b"")], 1), (OPENING, 1)):
        one = visit([*chunks, PeerTimeout("silence")])
        assert one.answers[-1] == "421 4.4.2 relay.example Nothing came in time, closing"
        assert [event["reason"] for event in one.log.of("Rejection")] == ["timeout"] * recorded


@pytest.mark.interpreted
def test_errors_cost_time_from_the_tenth_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.tasks, "sleep", slept.append)
    one = Visit([b"NOPE\r\n"] * 30)
    one.desk.temper = msgspec.structs.replace(one.desk.temper, tarpit_seconds=1.0)
    one.run()
    assert slept == [1.0] * 10  # the eleventh to the twentieth
    assert one.answers[-1] == "421 4.7.0 relay.example Too many errors, closing"
    assert one.log.of("Rejection")[-1]["reason"] == "too many errors"


# -- leaving ----------------------------------------------------------------------------------------------------------


def test_leaving_between_messages_says_421() -> None:
    one = Visit([EHLO, b"NOOP\r\n"])
    one.session.leave()
    assert one.run().answers == ["220 relay.example ESMTP ready", "421 4.3.2 relay.example Closing, come back later"]


def test_leaving_in_a_transaction_lets_it_end() -> None:
    one = Visit([])
    one.stream = ScriptStream([EHLO, ENVELOPE, lambda: one.session.leave() or BODY, DOT, b"NOOP\r\n"])  # type: ignore[func-returns-value]
    one.session = Session(one.desk, one.stream, "s-1")
    one.run()
    assert len(one.intake.messages) == 1
    assert one.answers[-2].startswith("250 2.0.0 Ok: queued as") and one.answers[-1].startswith("421 4.3.2")
    assert one.stream.perished == 0


def test_cut_wakes_whoever_waits_for_the_client() -> None:
    one = Visit([])

    def cut() -> Exception:
        one.session.cut()
        return PeerTimeout("woken")

    one.stream = ScriptStream([EHLO, ENVELOPE, BODY, cut])
    one.session = Session(one.desk, one.stream, "s-1")
    one.run()
    assert one.stream.perished == 1 and one.intake.messages == []
    assert one.answers[-1] == "421 4.3.2 relay.example Closing, come back later"


# -- the last word ----------------------------------------------------------------------------------------------------

WAIT = [(LINGER, 2.0)]


@pytest.mark.parametrize(
    ("chunks", "lingered"),
    [
        ([EHLO, b"QUIT\r\n"], []),
        ([EHLO], []),  # the client closes
        ([b"GET / HTTP/1.1\r\nHost: x\r\n"], []),  # nothing is said to who speaks something else
        ([EHLO, b"QUIT\r\nMAIL FROM:<>\r\n"], WAIT),
        ([EHLO + b"MAIL FROM:<>\r\n"], WAIT),
        ([EHLO, b"BDAT x LAST\r\nabcde"], WAIT),
        ([b"NOPE\r\n"] * 20, WAIT),
        ([EHLO, PeerTimeout("silence")], []),
        ([*OPENING, PeerTimeout("too slow"), b"y"], WAIT),
    ],
    ids=["quit", "gone", "foreign", "behind quit", "ahead", "bdat", "errors", "silence", "drips"],
)
def test_a_stream_lingers_only_where_the_client_may_still_send(chunks: list[Any], lingered: list[Any]) -> None:
    one = visit(chunks)
    assert one.stream.lingered == lingered and one.stream.closed


def test_a_house_that_closes_waits_for_nobody_to_read() -> None:
    one = Visit([])

    def leave() -> Exception:
        one.session.leave()
        return PeerTimeout("woken")

    one.stream = ScriptStream([EHLO, leave, b"MAIL FROM:<>\r\n"])
    one.session = Session(one.desk, one.stream, "s-1")
    one.run()
    assert one.stream.lingered == [(LINGER, 0.0)] and one.answers[-1].startswith("421 4.3.2")


@pytest.mark.parametrize("end", [Session.leave, Session.cut])
def test_a_house_that_closes_ends_who_only_lingers(end: Callable[[Session], None]) -> None:
    one = Visit([EHLO + b"NOOP\r\n"])
    lingered = one.stream.linger

    def linger(octets: int, seconds: float) -> None:
        end(one.session)
        lingered(octets, seconds)

    one.stream.linger = linger  # type: ignore[method-assign]
    assert one.run().stream.perished == 1
