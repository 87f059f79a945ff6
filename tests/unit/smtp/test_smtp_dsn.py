r"""smtp/dsn.py: what RFC 3461 and RFC 6533 let in, what it means, and that it goes on as it came."""

import random

import pytest

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.smtp import dsn
from fastrelay.smtp.grammar import Malformed, xtext

PLAIN = Recipient("b@there.example")


@pytest.mark.parametrize(
    ("value", "kind", "address"),
    [
        ("rfc822;Bob@There.example", "rfc822", "Bob@There.example"),
        ("rfc822;a+2Bb+3Dc@x.example", "rfc822", "a+b=c@x.example"),
        ("RFC822;+22two+20words+22@x.example", "RFC822", '"two words"@x.example'),
        ("rfc822;jos+C3+A9@x.example", "utf-8", "josé@x.example"),  # Postfix, for every recipient beyond ASCII
        ("x-pager;5550123", "x-pager", "5550123"),
        ("utf-8;plain@x.example", "utf-8", "plain@x.example"),
        (r"utf-8;jos\x{E9}\x{2B}1@x.example", "utf-8", "josé+1@x.example"),
        (r"UTF-8;\x{1F600}\x{5C}\x{10FFFD}@x.example", "UTF-8", "\U0001f600\\\U0010fffd@x.example"),
        ("utf-8;jos\u00e9@x.example", "utf-8", "jos\u00e9@x.example"),
        ("rfc822;" + "x" * 493, "rfc822", "x" * 493),
    ],
)
def test_an_orcpt_is_kept_and_can_be_read(value: str, kind: str, address: str) -> None:
    assert dsn.orcpt(value) == value
    assert dsn.original(value) == (kind, address)


@pytest.mark.parametrize(
    "value",
    [
        "rfc822",
        "rfc822;",
        ";b@x.example",
        "rfc 822;b@x.example",
        "rfc822;jos\u00e9@x.example",  # only type utf-8 goes beyond ASCII
        "rfc822;b+0D+0Ax@x.example",
        "rfc822;b+E9@x.example",
        "rfc822;b+E2+80+AE@x.example",
        "rfc822;b+4@x.example",
        "rfc822;b+aa@x.example",
        "rfc822;" + "x" * 494,
        "utf-8;" + "\u00e9" * 83,  # 504 characters in the form that goes on without SMTPUTF8
        "utf-8;a b@x.example",
        "utf-8;a+2Bb@x.example",
        "utf-8;a=b@x.example",
        "utf-8;a\\b@x.example",
        r"utf-8;\x{41}@x.example",  # what is printable ASCII stands for itself
        r"utf-8;\x{D800}@x.example",
        r"utf-8;\x{110000}@x.example",
        r"utf-8;\x{0E9}@x.example",
        r"utf-8;\x{e9}@x.example",
        r"utf-8;\x{}@x.example",
        r"utf-8;\x{0A}@x.example",
        r"utf-8;\x{1}@x.example",
        r"utf-8;\x{85}@x.example",
        r"utf-8;\x{2028}@x.example",
        "utf-8;\u2029@x.example",
        "utf-8;a\u202eb@x.example",
        r"utf-8;a\x{202E}b@x.example",
    ],
)
def test_an_orcpt_that_is_none(value: str) -> None:
    with pytest.raises(Malformed):
        dsn.orcpt(value)


def test_what_is_folded_to_ascii_unfolds_again(chance: random.Random) -> None:
    characters = [chr(n) for n in (*range(0x20, 0x7F), 0xE9, 0xFF, 0x100, 0x7FF, 0x800, 0xD7FF, 0xE000, 0x1F600)]
    for _ in range(500):
        address = "".join(chance.choices(characters, k=chance.randint(1, 40)))
        folded = dsn.utf8_xtext(address)
        assert folded.isascii() and " " not in folded
        assert dsn.original(dsn.orcpt(f"utf-8;{folded}")) == ("utf-8", address)
        if address.isascii():
            assert xtext(dsn.xtext(address)) == address
            assert dsn.original(dsn.orcpt(dsn.typed(address))) == ("rfc822", address)


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ("", ("FAILURE", "DELAY")),
        ("NEVER", ()),
        ("SUCCESS", ("SUCCESS",)),
        ("SUCCESS,FAILURE", ("SUCCESS", "FAILURE")),
        ("DELAY", ("DELAY",)),
    ],
)
def test_whom_to_tell(notify: str, told: tuple[str, ...]) -> None:
    recipient = Recipient("x@d.test", notify=notify)
    assert tuple(event for event in dsn.EVENTS if dsn.wants(recipient, event)) == told  # type: ignore[arg-type]


def test_an_expanded_name_is_told_of_once_and_its_failures_are_not_lost() -> None:
    both = dsn.expand(Recipient("all@us.example", notify="SUCCESS,FAILURE", orcpt="rfc822;x@y"), ["a@b.c", "d@e.f"])
    assert both == (Recipient("a@b.c", "FAILURE", "rfc822;x@y"), Recipient("d@e.f", "FAILURE", "rfc822;x@y"))
    assert dsn.expand(Recipient("a+ll@us.example", notify="SUCCESS"), ["a@b.c"]) == (
        Recipient("a@b.c", "NEVER", "rfc822;a+2Bll@us.example"),
    )
    assert dsn.expand(Recipient("\u00e4@us.example"), ["a@b.c"])[0] == Recipient(
        "a@b.c", "", r"utf-8;\x{E4}@us.example"
    )
    assert dsn.expand(Recipient("+" * 64 + "@" + "=" * 150), ["a@b.c"])[0].orcpt == ""  # longer than an ORCPT may be


def test_only_what_the_sender_gave_goes_on() -> None:
    one = dsn.Asked(Envelope("a@b.c", (PLAIN,), 0.0, envid="Q+2B"), [PLAIN], smtputf8=False)
    assert (one.mail, one.rcpt) == (" ENVID=Q+2B", [""])
    recipients = [PLAIN, Recipient("c@there.example", "DELAY,SUCCESS", "rfc822;Z+41@y.example")]
    one = dsn.Asked(Envelope("a@b.c", tuple(recipients), 0.0, ret="FULL"), recipients, smtputf8=False)
    assert one.mail == " RET=FULL"
    assert one.rcpt == ["", " NOTIFY=DELAY,SUCCESS ORCPT=rfc822;Z+41@y.example"]


def test_an_address_beyond_ascii_goes_on_as_the_next_hop_takes_it() -> None:
    recipients = [Recipient("c@d.example", orcpt="utf-8;jos\u00e9\\x{2B}1@x.example")]
    envelope = Envelope("a@b.c", tuple(recipients), 0.0)
    for smtputf8, sent in ((True, "utf-8;jos\u00e9\\x{2B}1@x.example"), (False, r"utf-8;jos\x{E9}\x{2B}1@x.example")):
        one = dsn.Asked(envelope, recipients, smtputf8=smtputf8)
        assert one.rcpt == [f" ORCPT={sent}"]
