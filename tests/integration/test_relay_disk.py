"""A disk in trouble under the whole program: what the client is told, what is kept, what the operator reads,
and how service resumes: the table of RELIABILITY.md. Every call of a course of work is failed in tests/faults/."""

import json
import os
import smtplib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from fastrelay.spool.format import FRAME_HEADER, MESSAGE, decode_segment
from fastrelay.spool.found import Found
from fastrelay.spool.scan import scan
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess
from tests.peers.strongbox import flip

SEAMED = Path(__file__).with_name("seamed_house.py")


def send(relay: RelayProcess, recipient: str, size: int = 10) -> tuple[int, bytes]:
    """The reply to the dot, or to what was refused before it."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        content = f"Subject: {recipient}\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * (size // 72 + 1)
        try:
            client.sendmail("a@x.example", recipient, content)
        except smtplib.SMTPSenderRefused as error:
            return error.smtp_code, bytes(error.smtp_error)
        except smtplib.SMTPDataError as error:
            return error.smtp_code, bytes(error.smtp_error)
    return 250, b""


def test_a_disk_that_fails_or_turned_read_only(relay: Callable[..., RelayProcess]) -> None:
    """The message under way hears 451, those behind it 452 at MAIL; what was queued goes out; service resumes."""
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1)
    one.start(program=[sys.executable, SEAMED, one.config, "troubled"])
    for n in range(5):
        assert send(one, f"{n}@x.example")[0] == 250
    marker = one.folder / "trouble"

    def refused(trouble: str) -> None:
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            client.ehlo("c.example")
            for command in ("MAIL FROM:<a@x.example>", "RCPT TO:<never@x.example>", "DATA"):
                assert client.docmd(command)[0] in (250, 354)
            marker.write_text(trouble)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert client.getreply() == (451, b"4.3.0 Temporary failure while storing the message")
        assert send(one, "never@x.example")[0] == 452

    def taken_again(recipient: str) -> None:
        debian.wait_until(lambda: send(one, recipient)[0] == 250, 20, "mail to be taken again")

    refused("EROFS")
    with box:
        assert len(box.wait(5)) == 5, "trouble with the disk kept mail from going out"
        debian.wait_until(lambda: "new mail is refused with 452: " in one.said(), 20, "the operator to be told")
        assert "Read-only file system" in one.said()
        for n, next_trouble in enumerate(("EIO", "")):
            marker.unlink()
            taken_again(f"{5 + n}@x.example")
            if next_trouble:
                refused(next_trouble)
        box.wait(7)
        one.wait_empty()
        assert one.stop() == 0, one.said()
        one.start()
        one.wait_empty()
        assert one.stop() == 0
    assert sorted(arrived.recipients[0][:2] for arrived in box.arrived) == [f"{n}@" for n in range(7)]
    assert "Traceback" not in one.said()


def test_a_sync_of_a_second_holds_up_its_own_mail_alone(relay: Callable[..., RelayProcess]) -> None:
    """Twenty messages share syncs; meanwhile other sessions are answered and the loop stands still for nobody."""
    with Mailbox() as box:
        one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1)
        one.start(program=[sys.executable, SEAMED, one.config, "troubled"])
        assert send(one, "first@x.example")[0] == 250
        (one.folder / "trouble").write_text("slow")
        codes: list[int] = []

        def note(recipient: str) -> None:
            codes.append(send(one, recipient)[0])

        senders = [threading.Thread(target=note, args=(f"{n}@x.example",)) for n in range(20)]
        for sender in senders:
            sender.start()
        answered = 0
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            while any(sender.is_alive() for sender in senders):
                assert client.noop()[0] == 250
                answered += 1
        assert codes == [250] * 20
        assert answered > 100, "a session beside them waited for the disk"
        box.wait(21)
        one.wait_empty()
        assert not (one.folder / "on-loop").exists(), (one.folder / "on-loop").read_text()
        assert send(one, "large@x.example", size=3_000_000)[0] == 250  # a body in a file of its own
        box.wait(22)
        one.wait_empty()
        (one.folder / "trouble").unlink()
        assert not (one.folder / "on-loop").exists(), (one.folder / "on-loop").read_text()
        assert one.stop() == 0
        assert len(box.arrived) == 22 and not list(one.lines("Quarantine"))


def messages(log: Path) -> list[Found]:
    """The MESSAGE frames of a segment, in order."""
    octets = log.read_bytes()
    found = scan(lambda size, offset: octets[offset : offset + size], len(octets), decode_segment(octets))
    frames = found.frames + [frame for batch in found.tail for frame in batch]
    return [frame for frame in frames if frame.kind == MESSAGE]


def test_damage_of_every_kind_in_one_spool(relay: Callable[..., RelayProcess]) -> None:
    """Flipped bits in the header of a segment, an envelope and a body; a segment cut short, one deleted, an index gone;
    foreign files, folders and links. All mail that is whole arrives as it was, what is not is shown and never sent."""
    box = Mailbox()
    one = relay(next_hop=f"127.0.0.1:{box.port}", workers=1, spool=["segment_size = '64KiB'"]).start()
    for n in range(70):
        assert send(one, f"{n:02}@x.example", size=5000)[0] == 250
    assert one.stop() == 0
    slot = one.folder / "spool" / "slot-000"
    logs = sorted(slot.glob("segment-*.log"))
    held = [[n for n in range(70) if b"%02d@x" % n in log.read_bytes()] for log in logs]
    assert len(logs) >= 6 and all(len(numbers) > 3 for numbers in held[:6]), held
    flip(logs[0], 20)  # its header is there twice
    (logs[0].with_suffix(".index")).unlink()
    envelope, body, last = messages(logs[1])[1], messages(logs[2])[1], messages(logs[3])[-1]
    flip(logs[1], envelope.offset + FRAME_HEADER + 8)
    (logs[1].with_suffix(".index")).unlink()
    flip(logs[2], body.offset + body.length - 200)
    with logs[3].open("r+b") as file:
        file.truncate(last.offset + 100)
    logs[4].unlink()
    for folder in (one.folder / "spool", slot):
        (folder / "notes.txt").write_text("foreign")
        (folder / "segment-zz.log").write_bytes(os.urandom(500))
        (folder / "folder").mkdir()
        (folder / "link").symlink_to("/etc/passwd")
    damaged = {held[1][1], held[2][1], held[3][-1], *held[4]}
    with box:
        one.start()
        box.wait(70 - len(damaged), 30)
        debian.wait_until(lambda: len(list(one.lines("Quarantine"))) >= 4, 20, "the operator to be told")
        listed = json.loads(one.command("queue", "list", "--held", "--json").stdout)
        shown = json.dumps(listed)
        arrived = sorted(int(x.recipients[0][:2]) for x in box.arrived)
        assert arrived == [n for n in range(70) if n not in damaged]
        for x in box.arrived:
            number = x.recipients[0][:2].encode()
            assert b"Subject: " + number + b"@x.example\r\n" in x.content and x.content.endswith(b"x" * 70 + b"\r\n")
        assert all(f"{n:02}@x.example" in shown for n in damaged - {held[1][1]}), "shown with its recipient"
        assert send(one, "after@x.example")[0] == 250
        box.wait(70 - len(damaged) + 1)
        assert one.stop() == 0, one.said()
    for folder in (one.folder / "spool", slot):
        assert (folder / "notes.txt").read_text() == "foreign" and (folder / "link").is_symlink()
    assert "Traceback" not in one.said()
