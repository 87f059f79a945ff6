"""The whole walk as processes: real clients in, real servers out, routes from a real name server."""

import email
import email.policy
import os
import signal
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest

from fastrelay.load.name_server import NameServer
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.peers.rude_peer import RudePeer, says
from tests.peers.sink_process import SinkProcess

STRICT = email.policy.SMTP.clone(raise_on_defect=True)


def send(relay: RelayProcess, recipients: str | list[str], text: str = "", sender: str = "s@from.example") -> None:
    body = text or f"Subject: hello\r\nTo: <someone@{relay.port}.example>\r\n\r\nhello\r\n"
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.sendmail(sender, recipients, body)


def test_smtp_source_through_two_workers_to_smtp_sink(relay: Callable[..., RelayProcess]) -> None:
    sink = SinkProcess("--processes", "1")
    one = relay(next_hop=f"127.0.0.1:{sink.port}").start()
    source = debian.need("smtp-source")
    for words in ([], ["-d"]):
        done = debian.run([source, *words, "-m", "500", "-s", "20", "-l", "5120", f"127.0.0.1:{one.port}"])
        assert done.returncode == 0, done.stderr
    one.wait_empty()
    one.wait_metric("fastrelay_messages_delivered_total", 1000)
    assert one.metric("fastrelay_orphans") == 0
    assert one.stop() == 0, one.said()
    assert sink.stop()["messages"] == 1000
    kinds = [event["type"] for event in one.lines()]
    assert kinds.count("Reception") == kinds.count("Delivery") == 1000


def test_to_smtp_sink_of_postfix(relay: Callable[..., RelayProcess]) -> None:
    port = debian.free_port()
    words = ["-u", "nobody"] if debian.is_root() else []
    command = [debian.need("smtp-sink"), *words, f"127.0.0.1:{port}", "100"]
    with debian.running(command, ready=lambda: debian.listens(port)):
        one = relay(next_hop=f"127.0.0.1:{port}").start()
        source = debian.need("smtp-source")
        assert debian.run([source, "-m", "200", "-s", "10", f"127.0.0.1:{one.port}"]).returncode == 0
        one.wait_empty()
        one.wait_metric("fastrelay_messages_delivered_total", 200)
        assert one.stop() == 0, one.said()


def test_swaks_content_arrives_unchanged_below_our_received_line(relay: Callable[..., RelayProcess]) -> None:
    with Mailbox() as box:
        one = relay(next_hop=f"127.0.0.1:{box.port}").start()
        done = debian.run(
            [debian.need("swaks"), "--server", f"127.0.0.1:{one.port}", "--from", "a@from.example", "--to",
             "b@to.example,c@to.example", "--helo", "client.example", "--header", "Subject: dots",
             "--body", ".one\n..two\n\n.\nend"]
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        (arrived,) = box.wait(1)
        assert arrived.sender == "a@from.example" and arrived.recipients == ("b@to.example", "c@to.example")
        head, _, body = arrived.content.partition(b"\r\n\r\n")
        received = head.split(b"\r\n")[0:3]
        assert received[0].startswith(b"Received: from client.example (unknown [127.0.0.1])"), received
        assert b"by relay.test" in b" ".join(received) and b"b@to.example" not in b" ".join(received)
        assert b".one\r\n..two\r\n\r\n.\r\nend" in body
        assert one.stop() == 0


def test_routes_by_mx_cname_and_implicit_mx(relay: Callable[..., RelayProcess]) -> None:
    with Mailbox() as box:
        zone = """
            mx.test 300 MX 20 worse.host.test
            mx.test 300 MX 10 best.host.test
            best.host.test 300 A 127.0.0.1
            worse.host.test 300 A 127.0.0.9
            alias.test 300 CNAME mx.test
            plain.test 300 A 127.0.0.1
            nomail.test 300 MX 0 .
            1.0.0.127.in-addr.arpa 300 PTR client.test
            client.test 300 A 127.0.0.1
        """
        with NameServer(zone) as names:
            one = relay(
                listener=["reverse_lookup = 'all'"],
                delivery=[f"port = {box.port}", "allow_private = true"],
                tables=f"[dns]\nnameservers = ['127.0.0.1:{names.port}']",
            ).start()
            send(one, ["a@mx.test", "b@alias.test", "c@plain.test", "d@nomail.test", "e@absent.test"])
            arrived = box.wait(3)
            assert sorted(address for one in arrived for address in one.recipients) == [
                "a@mx.test", "b@alias.test", "c@plain.test"
            ]  # fmt: skip
            assert all(b"(client.test [127.0.0.1])" in one.content.split(b"\r\n")[0] for one in arrived), "by its PTR"
            debian.wait_until(lambda: len(list(one.lines("Bounce"))) == 4, 20, "the bounces, and those of the notices")
            codes = {e["recipient"]: e["response"]["enhanced_code"] for e in one.lines("Bounce") if e["sender"]}
            assert codes == {"d@nomail.test": "5.1.10", "e@absent.test": "5.1.2"}
            one.wait_empty()
            walk = one.command("resolve", "alias.test")
            assert walk.returncode == 0 and b"best.host.test" in walk.stdout and b"CNAME" in walk.stdout
            assert one.stop() == 0


def test_routes_by_a_real_name_server(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    nsd, port = debian.need("nsd"), debian.free_port()
    (tmp_path / "zone").write_text(
        "$TTL 60\n@ SOA ns.real.test. root.real.test. 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n"
        "@ MX 10 mail\nmail A 127.0.0.1\nother CNAME @\n"
    )
    (tmp_path / "nsd.conf").write_text(
        f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n database: ""\n zonesdir: "{tmp_path}"\n'
        f' pidfile: "{tmp_path}/nsd.pid"\n xfrdfile: "{tmp_path}/xfrd"\n xfrdir: "{tmp_path}"\n'
        f' zonelistfile: "{tmp_path}/zonelist"\n'
        f"remote-control:\n control-enable: no\nzone:\n name: real.test\n zonefile: zone\n"
    )
    with Mailbox() as box, debian.running([nsd, "-d", "-c", tmp_path / "nsd.conf"], ready=lambda: debian.listens(port)):
        one = relay(
            delivery=[f"port = {box.port}", "allow_private = true"],
            tables=f"[dns]\nnameservers = ['127.0.0.1:{port}']",
        ).start()
        send(one, ["a@real.test", "b@other.real.test"])
        assert sorted(x for one in box.wait(2) for x in one.recipients) == ["a@real.test", "b@other.real.test"]
        assert one.stop() == 0


def test_what_became_of_recipients_comes_back_as_reports(relay: Callable[..., RelayProcess]) -> None:
    """A failure where nothing was asked, then what RFC 3461 lets a sender ask for: to a hop without DSN, and to one
    with it, which is told what was asked and tells of the success itself."""
    offers = says(b"250-peer.example\r\n250-PIPELINING\r\n250-DSN\r\n250 SIZE\r\n")
    refuse = "550 5.1.1 no such user"
    with (
        Mailbox(refuse=lambda address: refuse if address.startswith("bad") else "") as box,
        RudePeer("ehlo", offers) as knows,
    ):
        tables = f"[[route]]\ndomain = 'dsn.example'\nnext_hop = ['127.0.0.1:{knows.port}']"
        one = relay(next_hop=f"127.0.0.1:{box.port}", tables=tables).start()
        send(one, ["good@to.example", "bad@to.example"])
        send(one, ["bad2@to.example"], sender="")
        assert reports(box, 1) == {"bad@to.example": ("failed", "5.1.1", "text/rfc822-headers")}
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            client.sendmail(
                "s@from.example",
                ["good@to.example", "bad@to.example", "x@dsn.example"],
                "Subject: asked\r\n\r\nhello\r\n",
                ["RET=FULL", "ENVID=E+2B1"],
                ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;old+2Bone@to.example"],
            )
            client.sendmail("s@from.example", ["bad3@to.example"], "\r\nx\r\n", rcpt_options=["NOTIFY=NEVER"])
        assert reports(box, 2) == {
            "good@to.example": ("relayed", "2.0.0", "message/rfc822"),  # aiosmtpd's "250 OK" has no code of RFC 3463
            "bad@to.example": ("failed", "5.1.1", "message/rfc822"),
        }
        letter = email.message_from_bytes([one for one in box.arrived if not one.sender][1].content, policy=STRICT)
        _, status, _ = letter.iter_parts()
        whole, *rows = status.get_payload()
        assert (whole["Original-Envelope-Id"], whole["Reporting-MTA"]) == ("E+1", "dns; relay.test")
        assert {row["Original-Recipient"] for row in rows} == {"rfc822; old+one@to.example"}
        assert letter["Auto-Submitted"] == "auto-replied" and letter["To"] == "s@from.example"
        one.wait_empty()
        assert len(box.arrived) == 4, "the null sender hears nothing, nor who said NEVER, nor does anybody twice"
        assert one.stop() == 0
    assert "RCPT TO:<x@dsn.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old+2Bone@to.example" in knows.commands
    assert [line for line in knows.commands if line.startswith("MAIL") and " RET=FULL ENVID=E+2B1" in line]
    assert {event["recipient"]: event["notice"] for event in one.lines("Bounce") if event["sender"]}.keys() == {
        "bad@to.example", "bad3@to.example"
    }  # fmt: skip
    notices = [(event["recipient"], event.get("notice", "")) for event in one.lines("Delivery") if event["sender"]]
    assert sorted((who, bool(notice)) for who, notice in notices) == [
        ("good@to.example", False), ("good@to.example", True), ("x@dsn.example", False)
    ]  # fmt: skip


def reports(box: Mailbox, count: int) -> dict[str, tuple[str, str, str]]:
    """Action, status and kind of the last part, by recipient, of the last of `count` reports."""
    debian.wait_until(lambda: sum(not one.sender for one in box.arrived) >= count, 20, f"{count} reports")
    report = [one for one in box.arrived if not one.sender][count - 1]
    assert report.recipients == ("s@from.example",)
    _, status, last = email.message_from_bytes(report.content, policy=STRICT).iter_parts()
    return {
        one["Final-Recipient"].removeprefix("rfc822; "): (one["Action"], one["Status"], last.get_content_type())
        for one in status.get_payload()[1:]
    }


def test_a_destination_that_is_down_gets_its_mail_when_it_is_back(relay: Callable[..., RelayProcess]) -> None:
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}").start()
    send(one, "a@to.example")
    debian.wait_until(lambda: bool(list(one.lines("TransientFailure"))), 20, "the first failure")
    failure = next(one.lines("TransientFailure"))
    assert failure["response"]["enhanced_code"] == "4.4.1" and failure["num_attempts"] == 1
    with box:
        box.wait(1)
        one.wait_empty()
    assert one.stop() == 0


def test_dns_down_defers_and_cached_answers_are_still_used(relay: Callable[..., RelayProcess]) -> None:
    with Mailbox() as box, NameServer("up.test 1 MX 0 host.test\nhost.test 1 A 127.0.0.1") as names:
        one = relay(
            workers=1,
            delivery=[f"port = {box.port}", "allow_private = true"],
            tables=f"[dns]\nnameservers = ['127.0.0.1:{names.port}']\ntimeout = '500ms'\nmin_ttl = '100ms'",
        ).start()
        send(one, "a@up.test")
        box.wait(1)
        names.fault("*", "silent")
        send(one, ["b@up.test", "c@unknown.test"])
        box.wait(2)
        debian.wait_until(lambda: bool(list(one.lines("TransientFailure"))), 20, "the deferral")
        failure = next(one.lines("TransientFailure"))
        assert (failure["recipient"], failure["response"]["enhanced_code"]) == ("c@unknown.test", "4.4.3")
        names.fault("*", "none")
        names.load("unknown.test 60 MX 0 host.test")
        box.wait(3)
        assert one.stop() == 0


def test_a_second_start_says_who_holds_the_place(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1).start()
    again = debian.run([*PROGRAM, "serve", "-c", one.config])
    assert again.returncode == 75 and str(one.pid).encode() in again.stderr
    assert one.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_waits_survives_a_stop(relay: Callable[..., RelayProcess], number: signal.Signals) -> None:
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}").start()
    for n in range(20):
        send(one, f"u{n}@d{n % 5}.example")
    assert one.stop(number) == 0, one.said()
    with box:
        one.start()
        box.wait(20)
        one.wait_empty()
        assert one.stop() == 0
    assert sorted(x for arrived in box.arrived for x in arrived.recipients) == sorted(
        f"u{n}@d{n % 5}.example" for n in range(20)
    )


def test_a_dead_workers_mail_is_delivered_by_the_others(relay: Callable[..., RelayProcess]) -> None:
    """Takes over 10 s: a slot is left alone so long because its worker may be on its way back."""

    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=3, retry=["first = '3s'", "max = '3s'"]).start()
    for n in range(30):
        send(one, f"u{n}@to.example")
    os.kill(one.workers()[0], signal.SIGKILL)
    with box:
        box.wait(30, seconds=40)
        one.wait_empty()
        assert len(box.arrived) == 30
        assert one.stop() == 0
