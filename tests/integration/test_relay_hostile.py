"""What strangers, clients and next hops may put into the house, through the whole program: addresses, reply texts,
refused recipients; and a name server that says nothing. One house for all of it."""

import contextlib
import json
import smtplib
import socket
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import NamedTuple

import pytest

from fastrelay.load.name_server import NameServer
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess
from tests.peers.rude_peer import Gone, RudePeer, Talk

CONTENT = b"Subject: x\r\n\r\nx\r\n"
UGLY = b"550-5.1.1 first\rSubject: forged\r\n550-5.1.1 \xe9\xff\x00\x1b[2J--\r\n550 5.1.1 Bcc: x@y.example\r\n"
LOCALS = (  # what a shell, a format, a template, a path or a log would make something of; RFC 5321 allows each
    "%s%s%n", "${HOME}`id`", "{0.__class__}", "|id", "-oQ/tmp/x", "~root", "*", "/etc/passwd", "'", "=?utf-8?q?x?=",
    '"../../../../tmp/x"', '"$(id)"', '"a b"', '"a;id"', '"<script>"', '"a@b"', '"a%sb c"',
)  # fmt: skip


class House(NamedTuple):
    """A relay and all around it."""

    relay: RelayProcess
    strangers: int  # the port where nobody may relay
    box: Mailbox
    senders: Mailbox  # where sender.test is
    names: NameServer
    ugly: RudePeer
    raw: RudePeer  # where raw.test is: takes all, and keeps the lines it was told


def ugly(talk: Talk) -> None:
    """To RCPT, whose DATA came along and is refused as it must be."""
    talk.sock.sendall(UGLY)
    while (line := talk._line()) != "QUIT":
        talk.sock.sendall(b"503 5.5.1 no recipient\r\n" if line == "DATA" else b"250 2.0.0 ok\r\n")
    raise Gone


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        box, senders = stack.enter_context(Mailbox()), stack.enter_context(Mailbox())
        names = stack.enter_context(NameServer("to.test 60 MX 0 host.test\nhost.test 60 A 127.0.0.1"))
        refusing = stack.enter_context(RudePeer("rcpt", ugly, times=1000))
        raw = stack.enter_context(RudePeer())
        strangers = debian.free_port()
        tables = [
            f"[[listener]]\naddress = '127.0.0.1:{strangers}'\nrelay_from = ['192.0.2.0/24']",
            f"[[route]]\ndomain = 'sender.test'\nnext_hop = ['127.0.0.1:{senders.port}']",
            f"[[route]]\ndomain = 'ugly.test'\nnext_hop = ['127.0.0.1:{refusing.port}']",
            f"[[route]]\ndomain = 'raw.test'\nnext_hop = ['127.0.0.1:{raw.port}']",
            f"[dns]\nnameservers = ['127.0.0.1:{names.port}']\ntimeout = '60s'",
        ]
        one = RelayProcess(
            tmp_path_factory.mktemp("house"),
            workers=1,
            listener=["judge_received = true"],
            delivery=[f"port = {box.port}", "allow_private = true"],
            tables="\n".join(tables),
        )
        try:
            one.start()
            yield House(one, strangers, box, senders, names, refusing, raw)
            assert one.stop() == 0, one.said()
            assert one.audits() == [(0, 0)] and "Traceback" not in one.said()
        finally:
            one.kill()


def send(house: House, *recipients: str, content: bytes = CONTENT, hello: str = "c.test") -> None:
    with smtplib.SMTP("127.0.0.1", house.relay.port, local_hostname=hello, timeout=20) as client:
        client.sendmail("s@sender.test", recipients, content)


def files(house: House) -> dict[str, tuple[int, int]]:
    """Everything in the spool: size and time of the last change."""
    spool = house.relay.folder / "spool"
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in spool.rglob("*") if p.is_file()}


def test_a_thousand_refused_recipients_cost_neither_disk_nor_dns(house: House) -> None:
    """The name of a stranger's address is asked for once and kept; nothing is asked about what it says."""
    before = files(house)
    refused = 0
    for n in range(125):
        commands = ["MAIL FROM:<a@asked.test>"]
        commands += [f"RCPT TO:<{n}.{k}@to{k}.test>" for k in range(8)]
        with socket.create_connection(("127.0.0.1", house.strangers), timeout=20) as sock, sock.makefile("rb") as file:
            sock.sendall(b"EHLO stranger.test\r\n")
            while not file.readline().startswith(b"250 "):
                pass
            sock.sendall("".join(f"{line}\r\n" for line in [*commands, "QUIT"]).encode())
            refused += sum(line.startswith(b"550 5.7.1") for line in file.read().splitlines())
    assert refused == 1000
    assert files(house) == before
    assert {(name, kind) for name, kind, _ in house.names.asked} <= {("1.0.0.127.in-addr.arpa", "PTR")}
    assert sum(house.names.asked.values()) <= 2
    assert house.relay.queued() == 0


def test_nothing_is_asked_between_the_dot_and_its_250(house: House) -> None:
    """A name server that is silent for longer than a client waits: every dot is answered, for mail is routed later."""
    house.names.fault("*", "silent")
    for n in range(10):
        send(house, f"a@slow{n}.test", f"b@fast{n}.test")
    debian.wait_until(lambda: sum(house.names.asked.values()) > 10, 20, "the questions")
    assert house.relay.queued() == 10 and not list(house.relay.lines("TransientFailure"))
    house.names.fault("*", "none")
    house.names.load("\n".join(f"{kind}{n}.test 60 MX 0 host.test" for kind in ("slow", "fast") for n in range(10)))
    house.box.wait(20, 60)
    house.relay.wait_empty()


def test_an_address_is_an_address_and_nothing_else(house: House) -> None:
    """It arrives as it was said, stands in the log and in the lists of an operator as text, and makes no file."""
    around = sorted(Path("/tmp").glob("x*"))
    folders = sorted(str(path) for path in house.relay.folder.rglob("*") if path.is_dir())
    for local in LOCALS:
        with smtplib.SMTP("127.0.0.1", house.relay.port, timeout=20) as client:
            client.ehlo("c.test")
            assert client.docmd("MAIL", f"FROM:<{local}@sender.test>")[0] == 250, local
            assert client.docmd("RCPT", f"TO:<{local}@raw.test>")[0] == 250, local
            assert client.data(CONTENT)[0] == 250
    debian.wait_until(lambda: len(house.raw.messages) == len(LOCALS), 20, "all of them")
    wanted = sorted(f"{local}@raw.test" for local in LOCALS)
    said = house.raw.commands
    assert {f"RCPT TO:<{local}@raw.test>" for local in LOCALS} == {x for x in said if x.startswith("RCPT")}
    senders = [x for x in said if x.startswith("MAIL")]
    assert all(any(x.startswith(f"MAIL FROM:<{local}@sender.test>") for x in senders) for local in LOCALS)
    house.relay.wait_empty()

    def logged() -> list[str]:
        return sorted(e["recipient"] for e in house.relay.lines("Delivery") if e["recipient"].endswith("@raw.test"))

    debian.wait_until(lambda: logged() == wanted, 20, "the lines of the log, each with its address as it was said")
    assert sorted(str(path) for path in house.relay.folder.rglob("*") if path.is_dir()) == folders
    assert sorted(Path("/tmp").glob("x*")) == around


def test_what_a_next_hop_says_makes_no_line_in_a_notice(house: House) -> None:
    """A bare CR, octets beyond ASCII, NUL and an escape in the reply to RCPT; a name in EHLO is refused before."""
    told = len(house.senders.arrived)
    send(house, "r@ugly.test")
    (letter,) = house.senders.wait(told + 1)[told:]
    assert b"\r" not in letter.content.replace(b"\r\n", b"") and b"\n" not in letter.content.replace(b"\r\n", b"")
    assert letter.content.isascii() and b"\x1b" not in letter.content and b"\x00" not in letter.content
    report = message_from_bytes(letter.content, policy=policy.SMTP.clone(raise_on_defect=True))
    assert report["Subject"] != "forged" and report["Bcc"] is None and len(report.get_all("Subject")) == 1
    _, status, original = report.iter_parts()
    _, row = status.get_payload()
    assert row["Status"] == "5.1.1" and row["Subject"] is None and row["Bcc"] is None
    assert "forged" in row["Diagnostic-Code"], "it is told all the same"
    assert original.get_content_type() == "text/rfc822-headers"

    def bounced() -> list[dict[str, object]]:
        return [event for event in house.relay.lines("Bounce") if event["recipient"] == "r@ugly.test"]

    debian.wait_until(lambda: bool(bounced()), 20, "the line of the log")
    (event,) = bounced()
    raw = house.relay.events.read_bytes()
    assert b"\x1b" not in raw and b"\x00" not in raw and b"forged" in json.dumps(event).encode()
    with smtplib.SMTP("127.0.0.1", house.relay.port, timeout=20) as client:
        for name in (b"a\rX-Forged: y", b"a\x0bb", b"a\nX-Forged: y"):
            client.send(b"EHLO " + name + b"\r\n")
            assert client.getreply()[0] in (500, 501), name
    house.relay.wait_empty()


REFUSED = {
    "bare line feed": b"Subject: x\n\r\nx\r\n.\r\n",
    "bare carriage return": b"Subject: x\r\n\r\nx\rx\r\n.\r\n",
    "a loop": b"Received: from x by y; now\r\n" * 101 + b"\r\nx\r\n.\r\n",
    "a line without end": b"Subject: x\r\n\r\n" + b"x" * 100_000 + b"\r\n.\r\n",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_in_the_session_is_not_bounced(house: House, what: str) -> None:
    """Also a bad address among good ones: the client hears of it at once, and nobody else does."""
    told, arrived = len(house.senders.arrived), len(house.box.arrived)
    with smtplib.SMTP("127.0.0.1", house.relay.port, timeout=20) as client:
        client.ehlo("c.test")
        client.docmd("MAIL", "FROM:<s@sender.test>")
        assert client.docmd("RCPT", "TO:<no domain>")[0] == 501
        assert client.docmd("RCPT", "TO:<b@to..test>")[0] == 501
        assert client.docmd("RCPT", "TO:<b@to.test>")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(REFUSED[what])
        code, text = client.getreply()
        assert 500 <= code < 600, (code, text)
    assert house.relay.queued() == 0
    send(house, "after@to.test")
    house.box.wait(arrived + 1)
    house.relay.wait_empty()
    assert len(house.box.arrived) == arrived + 1 and len(house.senders.arrived) == told
