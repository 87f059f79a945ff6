"""The name of a client in Received, through a door, a resolver and a name server: true, false, silent and slow."""

import socket

import pytest

from fastrelay.config import Dns, Listener
from fastrelay.load.name_server import NameServer
from fastrelay.metrics import Counts
from fastrelay.reception import caller
from fastrelay.reception.door import Door
from fastrelay.reception.policy import Policy
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.reverse import verified_name
from fastrelay.routing.servers import Server
from fastrelay.runtime import stream
from tests.peers.front_desk import HOSTNAME, FakeIntake, FakeLedger, FakeLog

pytestmark = pytest.mark.usefixtures("turning_wheel")
POINTER = "1.0.0.127.in-addr.arpa"
TRUE = f"{POINTER} 60 PTR Mail.Client.Test\nmail.client.test 60 A 127.0.0.1"
DIALOGUE = [
    (b"", b"220 "),
    (b"EHLO claimed.test\r\n", b"250 "),
    (b"MAIL FROM:<a@claimed.test>\r\nRCPT TO:<b@there.test>\r\nDATA\r\n", b"354 "),
    (b"Subject: x\r\n\r\nHello\r\n.\r\n", b"250 "),
]


def received(names: NameServer, **listener: str) -> bytes:
    """The first line of the Received field a message from 127.0.0.1 gets."""
    settings = Dns(timeout=3.0)
    resolver = Resolver(settings, [Server("127.0.0.1", names.port)])
    intake = FakeIntake()
    listening = socket.create_server(("127.0.0.1", 0))
    door = Door(
        Policy(Listener(**listener), HOSTNAME), [listening], intake, FakeLedger(), FakeLog(), Counts(),
        look_up=lambda client: verified_name(resolver, client),
    )  # type: ignore[arg-type]  # fmt: skip
    port = listening.getsockname()[1]
    door.open()
    client = stream.connect("127.0.0.1", port)
    client.expire_in(20.0)
    for say, answer in DIALOGUE:
        if say:
            client.write(say)
        heard = b""
        while not (heard.endswith(b"\r\n") and heard.splitlines()[-1].startswith(answer)):
            came = client.read()
            assert came, heard
            heard += came
    client.close()
    door.drain(20.0)
    (message,) = intake.messages
    return message.prefix.splitlines()[0]


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (TRUE, b"mail.client.test"),
        (f"{POINTER} 60 PTR mail.bank.test\nmail.bank.test 60 A 127.0.0.9", b"unknown"),
        (f"{POINTER} 60 PTR mail.bank.test", b"unknown"),
        (f"{POINTER} 60 PTR evil\\010name.test", b"unknown"),
        ("other.test 60 A 127.0.0.1", b"unknown"),
        (f"{TRUE}\n@fault * servfail", b"unknown"),
        (f"{TRUE}\n@fault * truncate", b"mail.client.test"),
    ],
    ids=["true", "elsewhere", "nowhere", "no name", "none", "servfail", "over tcp"],
)
def test_a_name_counts_when_it_leads_back(zone: str, name: bytes) -> None:
    with NameServer(zone) as names:
        line = received(names, reverse_lookup="all")
    assert line == b"Received: from claimed.test (" + name + b" [127.0.0.1])"


def test_a_silent_name_server_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "NAME_SECONDS", 0.05)
    with NameServer(f"{TRUE}\n@fault * silent") as names:
        assert received(names, reverse_lookup="all") == b"Received: from claimed.test (unknown [127.0.0.1])"


def test_who_may_relay_costs_no_question() -> None:
    with NameServer(TRUE) as names:
        assert received(names) == b"Received: from claimed.test (unknown [127.0.0.1])"
        assert not names.asked
