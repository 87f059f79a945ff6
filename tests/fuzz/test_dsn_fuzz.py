"""DSN parameters and notices under octets nobody meant: the error of the grammar, or a notice that is one anyhow."""

import email
import email.policy
import re

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.reply import Reply
from fastrelay.settlement.report import delayed, ended, expanded
from fastrelay.settlement.status import Action, Ended, Notice
from fastrelay.smtp import dsn
from fastrelay.smtp.grammar import Malformed
from tests.fuzz.effort import effort

SNARES = ["+", "+2B", "+0A", "=", "\\", "\\x{", "\\x{E9}", "\\x{2028}", "}", " ", "\t", "\r\n", "\n", "\0", "--", "=02"]
OTHERS = [
    "é",
    "\u2028",
    "\u202e",
    "\U0001f600",
    "a",
    "B",
    ";",
    ":",
    ",",
    "rfc822;",
    "utf-8;",
    "NEVER",
    "SUCCESS",
    "FULL",
]
BITS = st.sampled_from(SNARES) | st.sampled_from(OTHERS)
TEXT = st.lists(BITS, max_size=30).map("".join) | st.text(max_size=40)
OCTETS = st.lists(BITS.map(str.encode) | st.binary(max_size=5), max_size=40).map(b"".join)
ONE_WORD = re.compile(r"[^\x00-\x20\x7f-\x9f\u2028\u2029]+\Z")


@effort(200)
@given(text=TEXT | TEXT.map("rfc822;".__add__) | TEXT.map("utf-8;".__add__))
def test_what_is_let_in_is_one_word_and_can_be_read(text: str) -> None:
    for check in (dsn.ret, dsn.envid, dsn.notify, dsn.orcpt):
        try:
            kept = check(text)
        except Malformed as error:
            assert str(error).isascii() and "\n" not in str(error)
            continue
        assert kept == (text if check in (dsn.envid, dsn.orcpt) else text.upper())
        if kept:
            assert ONE_WORD.match(kept) and "=" not in kept
        if check is dsn.orcpt:
            kind, address = dsn.original(kept)
            assert kind and address and not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", address)
            again = dsn.Asked(Envelope("", (), 0.0), [Recipient("x", orcpt=kept)], smtputf8=False)
            assert again.rcpt[0].isascii()
            assert dsn.original(again.rcpt[0].removeprefix(" ORCPT=")) == (kind, address)


@effort(80)
@given(
    texts=st.lists(TEXT, min_size=8, max_size=8),
    head=OCTETS,
    ret=st.sampled_from(["", "FULL", "HDRS"]),
    code=st.sampled_from([0, 250, 450, 550]),
    kind=st.sampled_from(Action),
    beyond=st.booleans(),
)
def test_a_notice_is_one_whatever_was_said(
    texts: list[str], head: bytes, ret: str, code: int, kind: Action, beyond: bool
) -> None:
    envid, helo, client, address, orcpt, enhanced, words, host = texts
    sender = "bøss@s.test" if beyond else "boss@s.test"
    envelope = Envelope(
        sender, (Recipient(address, orcpt=orcpt),), 1e9, envid=envid, helo=helo, client=client, ret=ret, size=len(head)
    )
    notice = Notice(b"\1" * 16, envelope, "relay.test", b"\2" * 16, 1e9, head)
    row = Ended(envelope.recipients[0], Reply(code, enhanced, (words,)), host, action=kind)
    compose = {Action.DELAYED: lambda: delayed(notice, [row], 2e9), Action.EXPANDED: lambda: expanded(notice, [row])}
    letter, octets = compose.get(kind, lambda: ended(notice, [row]))()
    assert letter.size == len(octets) and letter.smtputf8 is beyond
    assert beyond or octets.isascii()
    assert octets.endswith(b"\r\n") and not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    parts = octets.split(b"\r\n--=" + b"02" * 16 + b"=")
    assert 4 <= len(parts) <= 5 and parts[-1] == b"--\r\n"
    status = email.message_from_bytes(parts[2].lstrip(b"\r\n"), policy=email.policy.compat32)
    blocks = parts[2].split(b"\r\n\r\n")[1:]
    assert len(blocks) == 2 and status.get_content_maintype() == "message"
    for block, first, last in zip(
        blocks, (b"Reporting-MTA", b"Final-Recipient"), (b"Arrival-Date", b"Status"), strict=True
    ):
        names = [line.partition(b":")[0] for line in block.split(b"\r\n") if line]
        assert len(set(names)) == len(names) and first in names and last in names
        assert all(re.fullmatch(rb"[A-Za-z0-9-]+", name) for name in names)
