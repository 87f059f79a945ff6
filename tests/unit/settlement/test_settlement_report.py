"""settlement/report.py: notices that machines read, that nobody outside can bend, and that stay bounded."""

import email
import email.policy
import random

import pytest

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.reply import Reply, reply
from fastrelay.settlement.report import MAX_FULL, MAX_HEAD, Ended, Notice, bounce, delayed, status_of, wants

HEAD = b"Received: by relay.test\r\nFrom: a@s.test\r\nSubject: hi\r\n\r\nbody\r\n"
NO = reply(550, "5.1.1", "no such user")


def a_notice(**changes: object) -> Notice:
    envelope = Envelope("boss@s.test", (Recipient("x@d.test"),), 1_700_000_000.0, envid="E1", size=len(HEAD))
    values = {
        "ident": b"\x01" * 16,
        "envelope": envelope,
        "hostname": "relay.test",
        "fresh": b"\x02" * 16,
        "now": 1_700_000_100.0,
        "head": HEAD,
    }
    return Notice(**{**values, **changes})  # type: ignore[arg-type]


def parsed(octets: bytes) -> email.message.EmailMessage:
    assert octets.isascii() and b"\n" not in octets.replace(b"\r\n", b"") and b"\0" not in octets
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    return message


def test_a_bounce_is_a_report_from_nobody_to_the_sender() -> None:
    envelope, octets = bounce(a_notice(), [Ended(Recipient("x@d.test", orcpt="rfc822;y@old.test"), NO, "mx.d.test")])
    assert envelope.sender == "" and [one.address for one in envelope.recipients] == ["boss@s.test"]
    assert envelope.recipients[0].notify == "NEVER" and envelope.size == len(octets)
    message = parsed(octets)
    assert message.get_content_type() == "multipart/report" and message["Auto-Submitted"] == "auto-replied"
    text, status, original = message.iter_parts()
    assert "mx.d.test said: 550 5.1.1 no such user" in text.get_content()
    whole, one = status.get_payload()
    assert whole["Reporting-MTA"] == "dns; relay.test" and whole["Original-Envelope-Id"] == "E1"
    assert (one["Action"], one["Status"]) == ("failed", "5.1.1")
    assert one["Final-Recipient"] == "rfc822; x@d.test" and one["Original-Recipient"] == "rfc822; y@old.test"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user" and one["Remote-MTA"] == "dns; mx.d.test"
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: hi" in original.get_payload() and "body" not in original.get_payload()


def test_a_delay_says_until_when() -> None:
    _, octets = delayed(a_notice(), [Ended(Recipient("x@d.test"), reply(451, "4.4.1", "no answer"))], 1_700_100_000.0)
    one = list(parsed(octets).iter_parts())[1].get_payload()[1]
    assert (one["Action"], one["Status"]) == ("delayed", "4.4.1") and one["Will-Retry-Until"]


@pytest.mark.parametrize(
    ("said", "expired", "action", "status"),
    [
        (NO, False, "failed", "5.1.1"),
        (reply(450, "4.2.2", "full"), True, "failed", "5.4.7"),
        (reply(450, "4.2.2", "full"), False, "delayed", "4.2.2"),
        (reply(550, "", "no"), False, "failed", "5.0.0"),
        (reply(550, "4.1.1", "odd"), False, "failed", "5.1.1"),
        (reply(550, "5.x.1\r\nAction: delivered", "odd"), False, "failed", "5.0.0"),
        (reply(550, "5.١.1", "odd"), False, "failed", "5.0.0"),
    ],
)
def test_the_class_of_the_status_agrees_with_the_action(said: Reply, expired: bool, action: str, status: str) -> None:
    assert status_of(Ended(Recipient("x@d.test"), said, "", expired), action) == status


def test_nothing_a_stranger_says_ends_a_field_or_a_part() -> None:
    evil = "x\r\nAction: delivered\r\n\r\n--=02020202020202020202020202020202=--\r\n\x00\x1b[31m\u2028é\udc80"
    envelope = Envelope("boss@s.test", (Recipient("x@d.test"),), 1.0, envid=evil)
    rows = [Ended(Recipient(evil + "@d.test", orcpt=evil), Reply(550, "5.1.1", (evil,)), evil)]
    head = b"Subject: a\r\n--=02020202020202020202020202020202=--\x00\xff\nBcc: b\r\n\r\n"
    message = parsed(bounce(a_notice(envelope=envelope, head=head), rows)[1])
    _, status, original = message.iter_parts()
    _whole, one = status.get_payload()
    assert one.get_all("Action") == ["failed"] and one["Final-Recipient"].startswith("rfc822; x??Action")
    assert original.get_content_type() == "text/rfc822-headers"


def test_the_boundary_of_the_notice_cannot_be_guessed_from_the_original() -> None:
    assert b'boundary="=' + b"02" * 16 in bounce(a_notice(), [Ended(Recipient("x@d.test"), NO)])[1]


def test_a_full_original_is_sent_back_where_it_fits_and_was_not_declined() -> None:
    def parts(**changes: object) -> list[str]:
        octets = bounce(a_notice(content="full", **changes), [Ended(Recipient("x@d.test"), NO)])[1]
        return [one.get_content_type() for one in parsed(octets).iter_parts()]

    assert parts()[2] == "message/rfc822"
    assert parts(head=HEAD[:-4])[2] == "text/rfc822-headers"  # not all of it is at hand
    assert parts(head=HEAD.replace(b"body", b"b\xc3\xa9d"))[2] == "text/rfc822-headers"
    declined = Envelope("boss@s.test", (Recipient("x@d.test"),), 1.0, ret="HDRS", size=len(HEAD))
    assert parts(envelope=declined)[2] == "text/rfc822-headers"
    assert len(parts(head=b"")) == 2
    octets = bounce(a_notice(content="nothing"), [Ended(Recipient("x@d.test"), NO)])[1]
    assert b"Subject: hi" not in octets


def test_a_notice_is_bounded_whatever_it_is_about(chance: random.Random) -> None:
    rows = [Ended(Recipient("x" * 64 + "@" + "d" * 250), Reply(550, "5.1.1", ("long " * 1000,)), "h" * 300)] * 1000
    head = bytes(chance.choice(b"ab: \r\n\t\x80") for _ in range(10_000)) * 20
    octets = bounce(a_notice(head=head), rows)[1]
    parsed(octets)
    assert len(octets) <= MAX_HEAD + 2 * MAX_FULL + 1000 * 1536


@pytest.mark.parametrize(
    ("notify", "failure", "delay"),
    [("", True, True), ("NEVER", False, False), ("success", False, False), ("SUCCESS,FAILURE", True, False)],
)
def test_whom_to_tell(notify: str, failure: bool, delay: bool) -> None:
    recipient = Recipient("x@d.test", notify=notify)
    assert (wants(recipient, "FAILURE"), wants(recipient, "DELAY")) == (failure, delay)
