"""settlement/report.py, status.py: notices that machines read, that nobody outside can bend, and that stay bounded."""

import email
import email.message
import email.policy
import quopri
import random
from typing import Any

import pytest

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.reply import Reply, reply
from fastrelay.settlement.report import MAX_FULL, MAX_HEAD, delayed, ended, expanded
from fastrelay.settlement.status import Action, Ended, Notice, status_of

HEAD = b"Received: by relay.test\r\nFrom: a@s.test\r\nMessage-ID: <1.2@s.test>\r\nSubject: hi\r\n\r\nbody\r\n"
NO = reply(550, "5.1.1", "no such user")
YES = reply(250, "2.6.0", "queued as 7")
ROW = Ended(Recipient("x@d.test"), NO)


def a_notice(**changes: Any) -> Notice:
    more = {name: changes.pop(name) for name in ("sender", "ret", "size", "envid", "helo", "client") if name in changes}
    values = {"sender": "boss@s.test", "envid": "E1", "size": len(HEAD), **more}
    envelope = Envelope(recipients=(Recipient("x@d.test"),), created=1_700_000_000.0, **values)
    given = {
        "ident": b"\x01" * 16,
        "envelope": envelope,
        "hostname": "relay.test",
        "fresh": b"\x02" * 16,
        "now": 1_700_000_100.0,
        "head": HEAD,
    }
    return Notice(**{**given, **changes})


def parsed(octets: bytes, *, utf8: bool = False) -> email.message.EmailMessage:
    assert octets.isascii() is not utf8 and b"\n" not in octets.replace(b"\r\n", b"") and b"\0" not in octets
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage) and not message.defects
    strict = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert [part.get_content_type() for part in strict.walk()] == [part.get_content_type() for part in message.walk()]
    return message


def fields(octets: bytes, *, utf8: bool = False) -> list[dict[str, str]]:
    """The status part as machines see it: the fields of the message, then those of each recipient, none given twice."""
    part = list(parsed(octets, utf8=utf8).iter_parts())[1]
    if not utf8:
        assert part.get_content_type() == "message/delivery-status"
        blocks = [list(block.items()) for block in part.get_payload()]
    else:
        assert part.get_content_type() == "message/global-delivery-status"
        text = octets.split(b"message/global-delivery-status\r\n")[1].split(b"\r\n\r\n--=")[0].decode()
        _, *paragraphs = text.split("\r\n\r\n")
        blocks = [
            [(line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in one.split("\r\n")] for one in paragraphs
        ]
    assert all(len(dict(block)) == len(block) for block in blocks)
    return [dict(block) for block in blocks]


def kinds(octets: bytes, *, utf8: bool = False) -> list[str]:
    return [part.get_content_type() for part in parsed(octets, utf8=utf8).iter_parts()]


def test_a_bounce_is_a_report_from_nobody_to_the_sender() -> None:
    notice = a_notice(envid="E+2B1", helo="app.test", client="2001:db8::1")
    row = Ended(Recipient("x@d.test", orcpt="rfc822;y+2B1@Old.test"), NO, "mx.d.test")
    envelope, octets = ended(notice, [row])
    assert envelope == Envelope(
        "", (Recipient("boss@s.test", notify="NEVER"),), notice.now, size=len(octets), body="7BIT", smtputf8=False
    )
    message = parsed(octets)
    assert message["From"] == "Mail relay <MAILER-DAEMON@relay.test>" and message["To"] == "boss@s.test"
    assert message["Auto-Submitted"] == "auto-replied" and message["References"] == "<1.2@s.test>"
    assert message["In-Reply-To"] == "<1.2@s.test>" and message["Message-ID"] == f"<{'02' * 16}@relay.test>"
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    text, _, original = message.iter_parts()
    assert "could not be delivered" in text.get_content()
    assert "mx.d.test said: 550 5.1.1 no such user" in text.get_content()
    whole, one = fields(octets)
    assert whole == {
        "Original-Envelope-Id": "E+1",
        "Reporting-MTA": "dns; relay.test",
        "Received-From-MTA": "dns; app.test ([IPv6:2001:db8::1])",
        "Arrival-Date": "Tue, 14 Nov 2023 22:13:20 -0000",
        "X-Fastrelay-Queue-ID": "01" * 16,
    }
    assert one == {
        "Original-Recipient": "rfc822; y+1@Old.test",
        "Final-Recipient": "rfc822; x@d.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.d.test",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:15:00 -0000",
    }
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: hi" in original.get_payload() and "body" not in original.get_payload()


def test_what_nobody_said_is_left_out() -> None:
    whole, one = fields(ended(a_notice(envid=""), [Ended(Recipient("x@d.test"), Reply(0, "", ("",)), tried=False)])[1])
    assert set(whole) == {"Reporting-MTA", "Arrival-Date", "X-Fastrelay-Queue-ID"}
    assert one == {"Final-Recipient": "rfc822; x@d.test", "Action": "failed", "Status": "5.0.0"}
    assert fields(ended(a_notice(helo="c", client="unix"), [ROW])[1])[0]["Received-From-MTA"] == "dns; c"
    assert "References" not in parsed(ended(a_notice(head=HEAD.replace(b"<1", b"< 1")), [ROW])[1])
    ours = fields(ended(a_notice(), [Ended(Recipient("x@d.test"), NO)])[1])[1]
    assert ours["Diagnostic-Code"] == "x-fastrelay; 550 5.1.1 no such user" and "Remote-MTA" not in ours


def test_our_words_about_a_host_are_not_put_into_its_mouth() -> None:
    """RFC 3464 2.3.6: of type smtp is what the remote MTA said, and 2.3.5: Remote-MTA is one that reported."""
    row = Ended(Recipient("x@d.test"), reply(552, "5.3.4", "it takes 9 octets"), "mx.d.test", ours=True)
    octets = ended(a_notice(), [row])[1]
    text, _, _ = parsed(octets).iter_parts()
    assert "mx.d.test: 552 5.3.4 it takes 9 octets" in text.get_content() and "mx.d.test said" not in text.get_content()
    one = fields(octets)[1]
    assert one["Diagnostic-Code"] == "x-fastrelay; 552 5.3.4 it takes 9 octets" and "Remote-MTA" not in one


def test_a_delay_says_until_when() -> None:
    row = Ended(Recipient("x@d.test"), reply(451, "4.4.1", "no answer"))
    _, octets = delayed(a_notice(), [row], 1_700_100_000.0)
    one = fields(octets)[1]
    assert (one["Action"], one["Status"]) == ("delayed", "4.4.1")
    assert one["Will-Retry-Until"] == "Thu, 16 Nov 2023 02:00:00 -0000"
    assert "Thu, 16 Nov 2023 02:00:00 -0000" in next(parsed(octets).iter_parts()).get_content()


def test_one_notice_tells_of_all_who_end_together() -> None:
    rows = [
        Ended(Recipient("r@d.test"), YES, "mx.d.test", action=Action.RELAYED),
        Ended(Recipient("f@d.test"), NO, "mx.d.test"),
        Ended(Recipient("d@d.test"), YES, "box.d.test", action=Action.DELIVERED),
    ]
    _, octets = ended(a_notice(), rows)
    assert parsed(octets)["Subject"] == "Undelivered mail returned to sender"
    _, *told = fields(octets)
    assert [(one["Final-Recipient"], one["Action"], one["Status"]) for one in told] == [
        ("rfc822; r@d.test", "relayed", "2.6.0"),
        ("rfc822; f@d.test", "failed", "5.1.1"),
        ("rfc822; d@d.test", "delivered", "2.6.0"),
    ]
    assert told[0]["Diagnostic-Code"] == "smtp; 250 2.6.0 queued as 7" and told[2]["Remote-MTA"] == "dns; box.d.test"
    text = next(parsed(octets).iter_parts()).get_content()
    order = [text.index(words) for words in ("could not", "<f@", "was delivered", "<d@", "handed on", "<r@")]
    assert order == sorted(order)
    assert parsed(ended(a_notice(), rows[:1])[1])["Subject"] == "Mail relayed"
    assert parsed(ended(a_notice(), rows[2:])[1])["Subject"] == "Mail delivered"


def test_a_name_that_stands_for_several() -> None:
    row = Ended(Recipient("all@us.test", "SUCCESS"), reply(250, "2.1.5", ""), tried=False)
    _, octets = expanded(a_notice(), [row])
    one = fields(octets)[1]
    assert (one["Action"], one["Status"], one["Final-Recipient"]) == ("expanded", "2.1.5", "rfc822; all@us.test")
    assert "Last-Attempt-Date" not in one


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mx.d.test", "dns; mx.d.test"),
        ("192.0.2.1", "dns; [192.0.2.1]"),
        ("2001:db8::1", "dns; [IPv6:2001:db8::1]"),
        ("unix:/run/lmtp", "x-local; /run/lmtp"),
    ],
)
def test_who_said_it(host: str, shown: str) -> None:
    assert fields(ended(a_notice(), [Ended(Recipient("x@d.test"), NO, host)])[1])[1]["Remote-MTA"] == shown


@pytest.mark.parametrize(
    ("said", "expired", "action", "status"),
    [
        (NO, False, Action.FAILED, "5.1.1"),
        (reply(450, "4.2.2", "full"), True, Action.FAILED, "5.4.7"),
        (reply(450, "4.2.2", "full"), False, Action.DELAYED, "4.2.2"),
        (reply(550, "", "no"), False, Action.FAILED, "5.0.0"),
        (reply(550, "4.1.1", "odd"), False, Action.FAILED, "5.1.1"),
        (reply(550, "5.x.1\r\nAction: delivered", "odd"), False, Action.FAILED, "5.0.0"),
        (reply(550, "5.١.1", "odd"), False, Action.FAILED, "5.0.0"),
        (YES, False, Action.RELAYED, "2.6.0"),
        (reply(250, "", "ok"), False, Action.DELIVERED, "2.0.0"),
        (reply(250, "5.1.1", "odd"), False, Action.RELAYED, "2.1.1"),
    ],
)
def test_the_class_of_the_status_agrees_with_the_action(
    said: Reply, expired: bool, action: Action, status: str
) -> None:
    assert status_of(Ended(Recipient("x@d.test"), said, "", expired, action)) == status


EVIL = "x\r\nAction: delivered\r\n\r\n--=02020202020202020202020202020202=--\r\n\x00\x1b[31m\u2028\u202eé\udc80"


@pytest.mark.parametrize("sender", ["boss@s.test", "bøss@s.test"])
@pytest.mark.parametrize("kind", ["rfc822", "utf-8"])
def test_nothing_a_stranger_says_ends_a_field_or_a_part(sender: str, kind: str) -> None:
    utf8 = not sender.isascii()
    rows = [Ended(Recipient(EVIL + "@d.test", orcpt=f"{kind};{EVIL}"), Reply(550, "5.1.1", (EVIL,)), EVIL)]
    head = b"Subject: a\r\n--=02020202020202020202020202020202=--\x00\xff\nBcc: b\r\n\r\n"
    octets = ended(a_notice(sender=sender, envid=EVIL, helo=EVIL, client=EVIL, head=head), rows)[1]
    _whole, one = fields(octets, utf8=utf8)
    assert one["Action"] == "failed"
    assert one["Final-Recipient"].startswith("utf-8; x" + ("??Action" if utf8 else "\\x{0D}\\x{0A}Action"))
    assert "\u202e" not in octets.decode() and "\u2028" not in octets.decode()
    assert kinds(octets, utf8=utf8)[2:] == ["text/rfc822-headers"]


def test_the_boundary_of_the_notice_cannot_be_guessed_from_the_original() -> None:
    assert b'boundary="=' + b"02" * 16 in ended(a_notice(), [ROW])[1]


@pytest.mark.parametrize(
    ("ret", "content", "failed", "what"),
    [
        ("FULL", "headers", True, ["message/rfc822"]),
        ("FULL", "nothing", True, ["message/rfc822"]),
        ("FULL", "headers", False, ["text/rfc822-headers"]),
        ("HDRS", "full", True, ["text/rfc822-headers"]),
        ("HDRS", "nothing", True, ["text/rfc822-headers"]),
        ("", "full", True, ["message/rfc822"]),
        ("", "full", False, ["text/rfc822-headers"]),
        ("", "headers", True, ["text/rfc822-headers"]),
        ("", "nothing", True, []),
    ],
)
def test_how_much_goes_back_is_for_the_sender_to_say(ret: str, content: str, failed: bool, what: list[str]) -> None:
    row = ROW if failed else ROW._replace(action=Action.RELAYED)
    octets = ended(a_notice(ret=ret, content=content), [row])[1]
    assert kinds(octets)[2:] == what
    if what == ["message/rfc822"]:
        assert list(parsed(octets).iter_parts())[2].get_payload(0).as_bytes().replace(b"\n", b"\r\n") == HEAD


def test_a_full_original_is_sent_back_only_where_it_fits() -> None:
    def third(**changes: Any) -> list[str]:
        return kinds(ended(a_notice(ret="FULL", **changes), [ROW])[1])[2:]

    assert third(head=HEAD[:-4]) == ["text/rfc822-headers"]  # not all of it is at hand
    eight = HEAD.replace(b"body", b"b\xc3\xa9d")
    assert third(head=eight, size=len(eight)) == ["text/rfc822-headers"]
    long = HEAD + b"x" * 999 + b"\r\n"
    assert third(head=long, size=len(long)) == ["text/rfc822-headers"]
    large = HEAD + (b"x" * 70 + b"\r\n") * 910
    assert len(large) > MAX_FULL and third(head=large, size=len(large)) == ["text/rfc822-headers"]
    assert third(head=b"") == []


def test_addresses_beyond_ascii_in_seven_bits() -> None:
    """RFC 6533 3: the folded form in the status, the readable one for people; any next hop takes this notice."""
    head = "Subject: Grüße aus Łódź\r\nTo: jo\r\n\r\nbody\r\n".encode()
    row = Ended(Recipient("josé+a@d.test", orcpt=r"utf-8;j\x{F6}rg\x{2B}a@x.test"), reply(550, "5.1.1", "kenn é nicht"))
    envelope, octets = ended(a_notice(head=head), [row])
    assert (envelope.smtputf8, envelope.body) == (False, "7BIT")
    one = fields(octets)[1]
    assert one["Final-Recipient"] == r"utf-8; jos\x{E9}\x{2B}a@d.test"
    assert one["Original-Recipient"] == r"utf-8; j\x{F6}rg\x{2B}a@x.test"
    assert one["Diagnostic-Code"] == "x-fastrelay; 550 5.1.1 kenn ? nicht"
    text, _, original = parsed(octets).iter_parts()
    assert "<josé+a@d.test>:" in text.get_content() and "kenn é nicht" in text.get_content()
    assert original.get_content_type() == "message/global-headers"
    assert original["Content-Transfer-Encoding"] == "quoted-printable"
    shown = octets.split(b"message/global-headers\r\n")[1].split(b"\r\n\r\n", 1)[1].split(b"\r\n--=")[0]
    assert quopri.decodestring(shown).decode().splitlines()[:2] == ["Subject: Grüße aus Łódź", "To: jo"]


def test_a_sender_beyond_ascii_gets_a_notice_of_its_kind() -> None:
    head = "Subject: Grüße\r\n\r\nbody é\r\n".encode()
    row = Ended(Recipient("josé@d.test", orcpt=r"utf-8;j\x{F6}rg@x.test"), reply(550, "5.1.1", "kenn é nicht"), "mx.d")
    notice = a_notice(sender="bøss@s.test", head=head, size=len(head))
    envelope, octets = ended(notice, [row])
    assert (envelope.smtputf8, envelope.body, envelope.recipients[0].address) == (True, "8BITMIME", "bøss@s.test")
    one = fields(octets, utf8=True)[1]
    assert one["Final-Recipient"] == "utf-8; josé@d.test" and one["Original-Recipient"] == "utf-8; jörg@x.test"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 kenn é nicht"
    message = parsed(octets, utf8=True)
    assert message["Content-Type"].params["report-type"] == "global-delivery-status"
    assert "To: <bøss@s.test>\r\n".encode() in octets
    assert kinds(octets, utf8=True) == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "\r\n\r\nSubject: Grüße\r\n".encode() in octets and b"body" not in octets
    whole = ended(notice._replace(content="full"), [row])[1]
    assert kinds(whole, utf8=True)[2] == "message/global" and head + b"\r\n--=" in whole
    latin = HEAD.replace(b"body", b"b\xe9dy")  # no UTF-8 at all, and yet it goes back octet for octet
    whole = ended(a_notice(sender="bøss@s.test", ret="FULL", head=latin, size=len(latin)), [row])[1]
    assert latin + b"\r\n--=" in whole


@pytest.mark.parametrize("sender", ["boss@s.test", "bøss@s.test"])
def test_a_notice_is_bounded_whatever_it_is_about(sender: str, chance: random.Random) -> None:
    words = Reply(550, "5.1.1", ("lông " * 1000,))
    rows = [Ended(Recipient("é" * 32 + "@" + "d" * 250, orcpt="utf-8;" + "é" * 80), words, "h" * 300)] * 1000
    head = bytes(chance.choice(b"ab: \r\n\t\x80") for _ in range(10_000)) * 20
    octets = ended(a_notice(sender=sender, head=head), rows)[1]
    parsed(octets, utf8=sender != "boss@s.test")
    assert len(octets) <= MAX_HEAD + 2 * MAX_FULL + 1000 * 3072
    head = ("Subject: " + "é" * 2000 + "\r\n").encode() * 20
    parsed(ended(a_notice(sender=sender, head=head), rows[:1])[1], utf8=sender != "boss@s.test")
