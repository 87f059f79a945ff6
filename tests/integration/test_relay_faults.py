"""Faults of the house as an operator meets them: what the client is told, what is kept, what the log says."""

import contextlib
import random
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.peers.sink_process import SinkProcess

STUMBLING = Path(__file__).with_name("stumbling_house.py")
SEAMED = Path(__file__).with_name("seamed_house.py")


class Raw:
    """A client that says exactly what it is told."""

    def __init__(self, relay: RelayProcess) -> None:
        self.sock = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
        self.file = self.sock.makefile("rb")
        assert self.reply().startswith("220")

    def reply(self) -> str:
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def say(self, line: str) -> str:
        self.sock.sendall(line.encode() + b"\r\n")
        return self.reply()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk_is_452_nothing_is_lost_and_it_recovers(relay: Callable[..., RelayProcess], small_disk: Path) -> None:
    with Mailbox() as box:
        one = relay(
            next_hop=f"127.0.0.1:{box.port}",
            workers=1,
            spool=["min_free = '0%'", "segment_size = '256KiB'"],
            listener=["max_message_size = '200KB'"],
        )
        one.config.write_text(
            one.config.read_text().replace(f"path = '{one.folder / 'spool'}'", f"path = '{small_disk}'")
        )
        one.start()
        (small_disk / "foreign").write_bytes(bytes(3_900_000))
        refused = []
        for _ in range(30):
            with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
                try:
                    client.sendmail("a@x.example", "b@x.example", b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 30_000)
                except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                    refused.append((error.smtp_code, error.smtp_error))
        assert refused and {code for code, _ in refused} <= {451, 452}
        assert any(text.startswith(b"4.3.1") for _, text in refused), refused
        accepted = 30 - len(refused)
        (small_disk / "foreign").unlink()

        def taken() -> bool:
            with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
                try:
                    client.sendmail("a@x.example", "after@x.example", b"Subject: after\r\n\r\nx\r\n")
                except smtplib.SMTPException:
                    return False
            return True

        debian.wait_until(taken, 20, "mail to be taken again")
        box.wait(accepted + 1)
        one.wait_empty()
        assert len(box.arrived) == accepted + 1
        assert one.stop() == 0, one.said()


def test_a_stop_on_a_full_disk_is_orderly_and_says_what_it_could_not_write(relay: Callable[..., RelayProcess]) -> None:
    """5 s: the disk is asked three times, a second apart."""
    with Mailbox() as box:
        one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1)
        one.start(program=[sys.executable, SEAMED, one.config, "full"])
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            client.sendmail("a@x.example", "b@x.example", b"Subject: x\r\n\r\nx\r\n")
        one.wait_empty()
        (one.folder / "full").touch()
        assert one.stop() == 75, one.said()
        assert "are not on disk" in one.said() and "exit code 75 while stopping" in one.said()
        assert one.audits() == [(0, 0)] and "Traceback" not in one.said()
        assert not list((one.folder / "run").glob("slot-*.sock"))
        assert [event["recipient"] for event in one.lines("Delivery")] == ["b@x.example"]


def test_writes_that_fail_for_want_of_room_are_452_and_what_is_queued_goes_out(
    relay: Callable[..., RelayProcess],
) -> None:
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1)
    one.start(program=[sys.executable, SEAMED, one.config, "full"])
    with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
        for n in range(5):
            client.sendmail("a@x.example", f"b{n}@x.example", b"Subject: x\r\n\r\nx\r\n")

    def taken(recipient: str) -> bool:
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            try:
                client.sendmail("a@x.example", recipient, b"Subject: x\r\n\r\nx\r\n")
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                assert error.smtp_code == 452 and bytes(error.smtp_error).startswith(b"4.3.1"), error
                return False
        return True

    marker = one.folder / "full"
    marker.touch()
    assert not any(taken("never@x.example") for _ in range(3))
    with box:
        assert len(box.wait(5)) == 5, "a full disk kept mail from going out"
        assert not taken("never@x.example")
        debian.wait_until(lambda: "new mail is refused with 452: " in one.said(), 20, "the operator to be told")
        marker.unlink()
        debian.wait_until(lambda: taken("after@x.example"), 20, "mail to be taken again")
        box.wait(6)
        one.wait_empty()
        assert one.stop() == 0, one.said()
        one.start()  # what was delivered while records could not be written is known to have been
        one.wait_empty()
        assert one.stop() == 0
        assert len(box.arrived) == 6 and box.arrived[-1].recipients == ("after@x.example",)


def test_a_spool_of_a_newer_format_is_refused_untouched(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1).start()
    with smtplib.SMTP("127.0.0.1", one.port) as client:
        client.sendmail("a@x.example", "b@x.example", "Subject: x\r\n\r\nx\r\n")
    assert one.stop() == 0
    segment = next((one.folder / "spool").rglob("segment-*.log"))
    octets = bytearray(segment.read_bytes())
    octets[8:10] = octets[72:74] = (999).to_bytes(2, "little")
    segment.write_bytes(octets)
    (index,) = segment.parent.glob("*.index") or [None]  # type: ignore[list-item]
    if index is not None:
        index.unlink()
    done = debian.run([*PROGRAM, "serve", "-c", one.config])
    assert done.returncode != 0 and b"version 999" in done.stderr, done.stderr
    assert segment.read_bytes() == octets


def test_a_spool_that_is_no_folder_is_named(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1)
    (one.folder / "spool").write_text("a file where the spool should be")
    done = debian.run([*PROGRAM, "serve", "-c", one.config])
    assert done.returncode in (73, 75, 78) and str(one.folder / "spool").encode() in done.stderr, done.stderr


@pytest.mark.parametrize("what", ["the folder", "a slot", "a segment"])
def test_a_spool_that_may_not_be_read_is_named_and_untouched(what: str) -> None:
    """The relay runs without rights, as whoever runs the tests or, where that is root, as nobody."""
    with tempfile.TemporaryDirectory(prefix="fastrelay-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        one = RelayProcess(folder, next_hop="127.0.0.1:9", workers=1)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if debian.is_root() else []
        if as_nobody:
            shutil.chown(folder, 65534, 65534)
        one.start(*as_nobody)
        with smtplib.SMTP("127.0.0.1", one.port) as client:
            client.sendmail("a@x.example", "b@x.example", "Subject: x\r\n\r\nx\r\n")
        assert one.stop() == 0
        spool = folder / "spool"
        segment = next(spool.rglob("segment-*.log"))
        shut = {"the folder": spool, "a slot": segment.parent, "a segment": segment}[what]
        octets = segment.read_bytes()
        before = shut.stat().st_mode
        shut.chmod(0)
        done = debian.run([*as_nobody, *PROGRAM, "serve", "-c", one.config], seconds=30)
        shut.chmod(before)
        assert done.returncode not in (0, 1) and str(shut).encode() in done.stderr, (done.returncode, done.stderr)
        assert segment.read_bytes() == octets


def test_unknown_key_is_78_with_the_nearest(relay: Callable[..., RelayProcess]) -> None:
    one = relay(tables="[dns]\nnameserver = ['127.0.0.1']")
    for verb in ("check", "serve"):
        done = debian.run([*PROGRAM, verb, "-c", one.config])
        assert done.returncode == 78
        assert str(one.config).encode() in done.stderr and b'did you mean "nameservers"' in done.stderr


def test_a_client_that_leaves_in_the_middle_leaves_nothing(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1).start()
    client = Raw(one)
    for line in ("EHLO c.example", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>"):
        assert client.say(line).startswith("250")
    assert client.say("DATA").startswith("354")
    client.sock.sendall(b"Subject: half\r\n\r\n" + b"x" * 100_000 + b"\r\n.")
    client.close()
    other = Raw(one)
    assert other.say("NOOP").startswith("250")
    debian.wait_until(lambda: one.get("/healthz")["workers"][0]["sessions"] == 1, 10, "the session to end")
    assert one.queued() == 0 and not list(one.lines("Reception"))
    other.close()
    assert one.stop() == 0


@pytest.mark.parametrize("where", ["before a command", "in a command", "in the content"])
def test_a_client_that_stalls_is_told_and_leaves_nothing(relay: Callable[..., RelayProcess], where: str) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1, listener=["command_timeout = '1s'", "data_timeout = '1s'"]).start()
    client = Raw(one)
    if where != "before a command":
        for line in ("EHLO c.example", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>"):
            assert client.say(line).startswith("250")
        client.sock.sendall(b"DATA\r\n" if where == "in the content" else b"DA")
    if where == "in the content":
        assert client.reply().startswith("354")
        client.sock.sendall(b"Subject: half\r\n\r\nhalf a line")
    assert client.reply().startswith("421 4.4.2")
    assert client.file.read() == b""
    client.close()
    debian.wait_until(lambda: one.get("/healthz")["workers"][0]["sessions"] == 0, 10, "the session to end")
    assert one.queued() == 0 and not list(one.lines("Reception"))
    assert one.stop() == 0


def test_a_client_that_sends_garbage_is_hung_up_on(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1).start()
    chance = random.Random(5)
    for garbage in (chance.randbytes(200_000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50, b"\x16\x03\x01" * 5_000):
        client = Raw(one)
        with contextlib.suppress(ConnectionError):  # it may be hung up on before all is said
            client.sock.sendall(garbage)
            client.sock.shutdown(socket.SHUT_WR)
            said = client.file.read()
            assert all(line[:1] in b"45" for line in said.splitlines()), said
        client.close()
    with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
        assert client.noop()[0] == 250
    assert one.queued() == 0 and not list(one.lines("Reception"))
    assert one.stop() == 0


def test_limits_are_answered_in_the_dialogue(relay: Callable[..., RelayProcess]) -> None:
    one = relay(
        next_hop="127.0.0.1:9", workers=1, listener=["max_message_size = '10KB'", "max_recipients = 100"]
    ).start()
    client = Raw(one)
    assert client.say("EHLO c.example").startswith("250")
    assert client.say("MAIL FROM:<a@x.example> SIZE=20000").startswith("552 5.3.4")
    assert client.say("X" * 5000).startswith("500 5.5.2")
    assert client.say("MAIL FROM:<a@x.example>").startswith("250")
    for n in range(100):
        assert client.say(f"RCPT TO:<b{n}@x.example>").startswith("250")
    assert client.say("RCPT TO:<one-too-many@x.example>").startswith("452 4.5.3")
    assert client.say("DATA").startswith("354")
    assert client.say("x" * 900 + "\r\n" + ("y" * 900 + "\r\n") * 20 + ".").startswith("552 5.3.4")
    assert client.say("\x00\x01garbage").startswith("50")
    assert client.say("QUIT").startswith("221")
    client.close()
    assert one.queued() == 0
    assert one.stop() == 0


def test_nobody_outside_relay_from_may_relay(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=1, listener=["relay_from = ['192.0.2.0/24']"]).start()
    client = Raw(one)
    client.say("EHLO c.example")
    client.say("MAIL FROM:<a@x.example>")
    for recipient in ("b@x.example", "b%x.example@relay.test", "@relay.test:b@x.example", '"b@x.example"@relay.test'):
        assert client.say(f"RCPT TO:<{recipient}>").startswith("550 5.7.1"), recipient
    client.close()
    assert one.stop() == 0


def test_a_limit_of_connections_holds_over_all_workers(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=4, listener=["max_connections_per_client = 20"]).start()
    clients = [socket.create_connection(("127.0.0.1", one.port), timeout=20) for _ in range(60)]
    greetings = [client.recv(512) for client in clients]
    assert sum(text.startswith(b"220") for text in greetings) == 20
    assert sum(text.startswith(b"421 4.7.0") for text in greetings) == 40
    for client in clients:
        client.close()
    assert one.stop() == 0


def test_a_dot_that_is_not_answered_is_tried_again_and_counted(relay: Callable[..., RelayProcess]) -> None:
    sink = SinkProcess("--disconnect", "dot=50%", "--seed", "3")
    one = relay(next_hop=f"127.0.0.1:{sink.port}", workers=1).start()
    for n in range(6):
        with smtplib.SMTP("127.0.0.1", one.port) as client:
            client.sendmail("a@x.example", f"b{n}@x.example", "Subject: x\r\n\r\nx\r\n")
    one.wait_empty()
    cut = sink.stop()["disconnected"]
    assert cut > 0
    one.wait_metric("fastrelay_possibly_duplicate_total", cut)
    one.wait_metric("fastrelay_messages_delivered_total", 6)
    assert one.stop() == 0


def test_twelve_persistent_sessions_over_four_workers(relay: Callable[..., RelayProcess]) -> None:
    one = relay(next_hop="127.0.0.1:9", workers=4).start()
    clients = [Raw(one) for _ in range(12)]
    spread = sorted(worker["sessions"] for worker in one.get("/healthz")["workers"])
    assert sum(spread) == 12 and spread[0] >= 2 and spread[-1] <= 4, spread
    for client in clients:
        client.close()
    assert one.stop() == 0


def test_a_backlog_that_cannot_be_read_to_its_end_is_read_by_the_next_worker(
    relay: Callable[..., RelayProcess],
) -> None:
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1).start()
    for n in range(20):
        with smtplib.SMTP("127.0.0.1", one.port) as client:
            client.sendmail("a@x.example", f"b{n}@x.example", "Subject: x\r\n\r\nx\r\n")
    assert one.stop() == 0
    with box:
        one.start(program=[sys.executable, STUMBLING, one.config, "load"])
        assert len(box.wait(20)) == 20
        one.wait_empty()
        assert one.stop() == 0
    assert "cannot load the backlog" in one.said() and len(box.arrived) == 20


def test_an_adoption_that_breaks_off_strands_nothing(relay: Callable[..., RelayProcess]) -> None:
    """Takes over 10 s: a slot is left alone so long because its worker may be on its way back."""
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=2).start()
    clients = [smtplib.SMTP("127.0.0.1", one.port) for _ in range(10)]  # kept open, so both workers have some
    for n in range(20):
        clients[n % 10].sendmail("a@x.example", f"b{n}@x.example", "Subject: x\r\n\r\nx\r\n")
    for client in clients:
        client.quit()
    assert one.stop() == 0
    assert len(list((one.folder / "spool").glob("slot-*/segment-*.log"))) == 2
    one.config.write_text(one.config.read_text().replace("workers = 2", "workers = 1"))
    with box:
        one.start(program=[sys.executable, STUMBLING, one.config, "adopt"])
        assert len(box.wait(20, seconds=40)) == 20
        one.wait_empty()
        assert one.stop() == 0
    assert "after its adoption" in one.said() and len(box.arrived) == 20
