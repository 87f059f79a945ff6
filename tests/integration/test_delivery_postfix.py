"""The program hands mail to a real Postfix, which knows DSN: what the sender asked for goes on, and Postfix tells."""

import email
import email.message
import email.policy
import os
import smtplib
import tempfile
from pathlib import Path

import pytest

from bench.relay import Wish
from bench.rivals.postfix import Postfix
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess


def test_postfix_tells_of_what_was_asked_here() -> None:
    """Sender -> relay -> Postfix -> a mailbox without DSN. Its words are those of the parameters, so they arrived.

    Postfix and a relay start: 3 s, 7 where the processors are busy.
    """
    debian.need("smtp-sink")
    if why := Postfix().missing():
        pytest.skip(why)
    with (
        tempfile.TemporaryDirectory(prefix="fastrelay-postfix-") as name,
        Mailbox(refuse=lambda address: "550 5.1.1 no such user" if address.startswith("bad") else "") as box,
    ):
        folder = Path(name)
        os.chmod(folder, 0o755)  # pytest's own are closed to the account Postfix changes to
        for part in ("postfix", "house"):
            (folder / part).mkdir()
        postfix = Postfix().prepare(folder / "postfix", Wish(sink=box.port))
        relay = RelayProcess(folder / "house", next_hop=f"127.0.0.1:{postfix.port}", workers=1)
        with debian.running(postfix.command, ready=lambda: debian.listens(postfix.port), env=postfix.env):
            try:
                relay.start()
                with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
                    client.sendmail(
                        "s@from.example",
                        ["good@to.example", "bad@to.example"],
                        "Subject: asked\r\n\r\nhello\r\n",
                        ["RET=FULL", "ENVID=E+2B1"],
                        ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;old+2Bone@to.example"],
                    )
                    client.sendmail("s@from.example", ["bad2@to.example"], "\r\nx\r\n", rcpt_options=["NOTIFY=NEVER"])
                relay.wait_empty()
                log = folder / "postfix" / "log"
                debian.wait_until(lambda: log.read_text().count(": removed") >= 4, 20, "two messages and two reports")
                assert relay.stop() == 0, relay.said()
            finally:
                relay.kill()
        told = dict(told_by(one.content) for one in box.arrived if not one.sender)
        assert told == {
            "good@to.example": ("relayed", "E+1", "rfc822;old+one@to.example", "text/rfc822-headers"),
            "bad@to.example": ("failed", "E+1", "rfc822;old+one@to.example", "message/rfc822"),
        }
        assert not any("notice" in event for event in relay.lines("Delivery")), "we left the telling to Postfix"
        assert log.read_text().count("notification: ") == 2, "who said NEVER was told of"


def told_by(report: bytes) -> tuple[str, tuple[str, str, str, str]]:
    """Whom a report of Postfix is about, and: action, ENVID, ORCPT, what it returns."""
    message = email.message_from_bytes(report, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    _, status, original = message.iter_parts()
    whole, one = status.get_payload()
    who = one["Final-Recipient"].removeprefix("rfc822; ")
    return who, (one["Action"], whole["Original-Envelope-Id"], one["Original-Recipient"], original.get_content_type())
