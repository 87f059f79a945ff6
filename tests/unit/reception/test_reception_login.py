"""AUTH through a session: who may relay then, what stands in envelope, Received and event log, and what never does."""

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest

from fastrelay.mail.envelope import Envelope
from fastrelay.reception.derivation import Derivation
from fastrelay.reception.failures import PAUSES, PER_ADDRESS
from fastrelay.reception.session import Session
from fastrelay.runtime import tasks
from fastrelay.smtp.sasl import client, scram
from tests.peers.front_desk import FakeIntake, FakeLog, ScriptStream, desk_of, logins_of
from tests.unit.rooms import until

MESSAGE = [
    b"MAIL FROM:<a@c.example>\r\n",
    b"RCPT TO:<b@d.example>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n.\r\n",
    b"QUIT\r\n",
]
STRANGER = ("192.0.2.0/24",)


def plain(user: str, password: str) -> bytes:
    return b"AUTH PLAIN " + b64encode(f"\0{user}\0{password}".encode()) + b"\r\n"


class House:
    """One session, its neighbours and what became of it."""

    def __init__(self, chunks: list[Any], *, peer: str = "127.0.0.1", **listener: Any) -> None:
        self.intake, self.log = FakeIntake(), FakeLog()
        self.stream = ScriptStream([b"EHLO c.example\r\n", *chunks], peer)
        keys = {"tls": "implicit", "auth": "optional", "relay_from": STRANGER, **listener}
        self.desk = desk_of(self.intake, self.log, **keys)
        self.session = Session(self.desk, self.stream, "1")

    def run(self) -> "House":
        self.session.run()
        return self

    @property
    def codes(self) -> list[str]:
        lines = self.stream.written.decode().split("\r\n")[:-1]
        return [line[:3] for line in lines if line[3:4] != "-"]

    @property
    def envelope(self) -> Envelope:
        (message,) = self.intake.messages
        return message.envelope


def test_the_user_stands_in_envelope_received_and_event() -> None:
    house = House([plain("user", "pencil"), *MESSAGE]).run()
    assert house.envelope.user == "user"
    assert b" with ESMTPSA id " in house.intake.messages[0].prefix
    (event,) = house.log.of("Reception")
    assert event["user"] == "user"
    assert house.desk.counts.logins_ok == 1


def test_outside_tls_the_word_is_esmtpa() -> None:
    house = House([plain("user", "pencil"), *MESSAGE], tls="none", auth_plaintext=True).run()
    assert b" with ESMTPA id " in house.intake.messages[0].prefix


def test_nobody_stands_there_who_did_not_log_in() -> None:
    house = House(MESSAGE, relay_from=("127.0.0.0/8",)).run()
    assert house.envelope.user == "" and b" with ESMTPS id " in house.intake.messages[0].prefix
    assert "user" not in house.log.of("Reception")[0]


def test_a_login_between_two_messages_shows_in_the_second() -> None:
    house = House([*MESSAGE[:-1], plain("user", "pencil"), *MESSAGE], relay_from=("127.0.0.0/8",)).run()
    words = [message.prefix.split(b" with ")[1].split(b" ")[0] for message in house.intake.messages]
    assert words == [b"ESMTPS", b"ESMTPSA"]
    assert [message.envelope.user for message in house.intake.messages] == ["", "user"]


def test_scram_as_a_client_does_it() -> None:
    exchange = client.Scram(client.Secret("user", "pencil"))
    assert exchange.first is not None
    house = House([])

    def answer() -> bytes:
        challenge = b64decode(house.stream.written.split(b"\r\n")[-2].removeprefix(b"334 "), validate=True)
        return b64encode(exchange.answer(challenge)) + b"\r\n"

    house.stream._chunks += [b"AUTH SCRAM-SHA-256 " + b64encode(exchange.first) + b"\r\n", answer, answer, *MESSAGE]
    house.run()
    assert exchange.done and house.envelope.user == "user"


@pytest.mark.parametrize(("user", "password"), [("user", "wrong"), ("stranger", "pencil")])
def test_scram_with_a_wrong_password_or_as_a_stranger(user: str, password: str) -> None:
    exchange = client.Scram(client.Secret(user, password))
    assert exchange.first is not None
    house = House([])

    def answer() -> bytes:
        challenge = b64decode(house.stream.written.split(b"\r\n")[-2].removeprefix(b"334 "))
        assert challenge.endswith(b"i=4096")
        return b64encode(exchange.answer(challenge)) + b"\r\n"

    house.stream._chunks += [b"AUTH SCRAM-SHA-256 " + b64encode(exchange.first) + b"\r\n", answer]
    house.run()
    assert house.codes[-1] == "535" and not exchange.done


def test_failures_pause_longer_and_longer_and_the_last_one_is_the_end() -> None:
    slept: list[float] = []
    house = House([plain("user", f"wrong{n}") for n in range(9)])
    house.desk.logins = logins_of(house.log, pauses=PAUSES, sleep=slept.append)
    house.run()
    assert slept == [1.0, 2.0, 4.0]
    assert house.codes == ["220", "250", "535", "535", "535", "421"]
    assert house.desk.counts.logins_failed == 3
    assert house.log.events[-1]["reason"] == "too many failed logins"


def test_who_has_too_many_failures_hears_454_and_in_the_end_421() -> None:
    house = House([plain("user", "pencil")] * 25)
    assert house.desk.logins is not None
    for n in range(PER_ADDRESS):
        house.desk.logins._failures.failed("127.0.0.1", f"guess{n}")
    house.run()
    assert house.codes[2] == "454" and house.codes[-1] == "421" and len(house.codes) < 25


def test_a_shortage_of_derivation_is_no_fault_of_the_client() -> None:
    house = House([plain("user", "pencil"), *MESSAGE], relay_from=("127.0.0.0/8",))
    assert house.desk.logins is not None
    house.desk.logins._derivation.under_way = 10_000
    house.run()
    assert "454 4.7.0 Too many logins at once" in house.stream.written.decode()
    assert house.session._machine.errors == 0 and house.envelope.user == ""
    assert house.desk.counts.throttled["auth"] == 1


def test_other_sessions_go_on_while_one_derives() -> None:
    busy = House([plain("user", "pencil"), *MESSAGE])
    other = House(MESSAGE, relay_from=("127.0.0.0/8",))
    began, may_end = threading.Event(), threading.Event()

    def derive(password: bytes, salt: bytes, iterations: int) -> scram.Keys:
        began.set()
        assert may_end.wait(20.0)
        return scram.derive(password, salt, iterations)

    busy.desk.logins = logins_of(busy.log, derivation=Derivation(derive))
    over = tasks.Event()

    def serve() -> None:
        busy.run()
        over.set()

    tasks.spawn(serve)
    until(began.is_set)
    other.run()
    assert other.codes[-1] == "221" and not over.is_set()
    assert busy.intake.messages == []
    may_end.set()
    assert over.wait(20.0)
    assert busy.envelope.user == "user"


@pytest.mark.parametrize("way", [Session.leave, Session.cut])
def test_a_house_that_closes_does_not_wait_for_an_exchange(way: Callable[[Session], None]) -> None:
    house = House([])

    def close() -> bytes:
        way(house.session)
        assert house.stream.perished == 1
        return b"*\r\n"

    house.stream._chunks += [b"AUTH LOGIN\r\n", close, *MESSAGE]
    house.run()
    assert house.codes[-1] == "421" and house.intake.messages == []


SECRETS = ("pencil", "hunter2", "s3cret")


def test_no_secret_is_written_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    words = [b64encode(one.encode()).decode() for one in SECRETS]
    house = House(
        [
            plain("user", "s3cret"),
            plain("hunter2", "pencil"),  # the password in the field of the user
            b"AUTH LOGIN hunter2\r\n",
            b"AUTH PLAIN pencil!\r\n",
            b"AUTH LOGIN\r\n", words[1].encode() + b"\r\n", b"*\r\n",
            b"AUTH s3cret s3cret\r\n",
            b"AUTH PLAIN " + b64encode(b"\0user\0pencil\0s3cret") + b"\r\n",
            plain("user", "pencil"),
            *MESSAGE,
        ]
    ).run()  # fmt: skip
    shown = repr(house.log.events) + repr(house.log.lines) + "".join(capfd.readouterr()) + repr(house.envelope)
    shown += repr(house.session._machine.asked) + house.stream.written.decode()
    for secret in (*SECRETS, *words):
        assert secret not in shown
    assert house.envelope.user == "user"
    failed = [event for event in house.log.of("Rejection") if event["response"]["command"] == "AUTH"]
    assert [event.get("user") for event in failed] == ["user", None]
    assert [event["response"]["code"] for event in failed] == [535, 535]
