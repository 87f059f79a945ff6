"""smtp/bcc.py: Bcc fields go with all their lines, whatever the case, the spacing and the cut; nothing else does."""

import pytest

from fastrelay.smtp.bcc import BccFilter, IncomingWithoutBcc
from fastrelay.smtp.terms import Terms

MESSAGES = [
    (b"Bcc: a@b\r\nSubject: x\r\n\r\nBcc: body\r\n", b"Subject: x\r\n\r\nBcc: body\r\n"),
    (b"Subject: x\r\nBCC: a@b\r\n\r\ny\r\n", b"Subject: x\r\n\r\ny\r\n"),
    (b"A: 1\r\nbcc \t :a\r\n folded,\r\n\tagain\r\n\t\r\nB: 2\r\n folded\r\n\r\n", b"A: 1\r\nB: 2\r\n folded\r\n\r\n"),
    (b"Bcc: a\r\nbCc: b\r\nResent-Bcc: c\r\nresent-bcc:\r\n\r\n", b"\r\n"),
    (b"Bcc: a\r\n b\r\n", b""),
    (b"A: 1\r\nBcc: a\r\n b\r\n", b"A: 1\r\n"),
    (b"Bcc:\r\n\r\n b\r\n", b"\r\n b\r\n"),
    (b"A: 1\r\n Bcc: folded into A\r\n\r\n", None),
    (b"XBcc: 1\r\nBccx: 2\r\nB-Bcc: 3\r\nBcc\r\nResent_Bcc: 4\r\nSubject: Bcc: 5\r\n bcc: 6\r\n\r\n", None),
    (b"\r\nBcc: body\r\n\r\nBcc: body\r\n", None),
    (b"no header\r\nBcc: a\r\nBc: b\r\n", b"no header\r\nBc: b\r\n"),
    (b"A: 1\r\n\r\nbody\r\n\r\nBcc: body\r\n", None),
    (b"", None),
    (b"\r\n", None),
    (b"Bcc: \xc3\xa4\0\xff <a@b>\r\nC: \xff\r\n\r\n", b"C: \xff\r\n\r\n"),
]


def passed(pieces: list[bytes]) -> tuple[bytes, bool]:
    one = BccFilter()
    content = b"".join(one.feed(piece, last=n == len(pieces) - 1) for n, piece in enumerate(pieces))
    return content, one.found


@pytest.mark.parametrize(("message", "kept"), MESSAGES)
def test_however_it_is_cut(message: bytes, kept: bytes | None) -> None:
    wanted = (message if kept is None else kept, kept is not None)
    assert passed([message]) == wanted
    octets = [message[n : n + 1] for n in range(len(message))]
    while b"\r" in octets:  # no CRLF is cut
        at = octets.index(b"\r")
        octets[at : at + 2] = [b"\r\n"]
    assert passed([*octets, b""]) == wanted
    for n in range(len(octets)):
        assert passed([b"".join(octets[:n]), b"".join(octets[n:])]) == wanted


def test_a_message_without_the_field_is_not_copied() -> None:
    message = b"Subject: x\r\n\r\n" + b"y" * 5000
    one = BccFilter()
    assert one.feed(message, last=False) is message
    assert one.feed(message, last=True) is message


def test_by_data_and_by_chunks_and_the_next_message_begins_anew() -> None:
    one = IncomingWithoutBcc(Terms("relay.example", remove_bcc=True))
    for _ in range(2):
        one.begin()
        assert one.feed(b"Subject: x\r\nBc") == (b"Subject: x\r\n", -1)
        assert one.feed(b"c: a\r\n") == (b"", -1)
        assert one.feed(b" b\r\n.\r\n") == (b"", 7)
        assert one.changes == {"bcc_removed": True} and one.size == len(b"Subject: x\r\nBcc: a\r\n b\r\n")
        one.begin()
        assert one.chunk(b"Bcc: a\r") + one.chunk(b"\nTo: x\r\n") + one.chunk(b"bcc:b") + one.finish() == b"To: x\r\n"
    one.begin()
    assert one.feed(b"\r\nBcc: body\r\n.\r\n") == (b"\r\nBcc: body\r\n", 16) and one.changes == {}


def test_a_line_without_end_is_not_kept_beyond_its_refusal() -> None:
    one = IncomingWithoutBcc(Terms("relay.example", remove_bcc=True))
    one.begin()
    for _ in range(100):
        assert one.feed(b"x" * 500) == (b"", -1)
    assert one.verdict is not None and len(one._filter._held) <= 1500
