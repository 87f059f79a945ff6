import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.submission import Submission, prepare


def prepared(text: bytes, sender: str = "a@x.example") -> bytes:
    return prepare(text, sender, ("b@y.example", "c@y.example"), wall=0.0, host="h.example", token="t0ken")


def test_a_bare_text_becomes_the_body() -> None:
    content = prepared(b"hello\nworld")
    head, _, body = content.partition(b"\r\n\r\n")
    assert body == b"hello\r\nworld\r\n"
    assert b"Message-ID: <t0ken@h.example>" in head and b"To: <b@y.example>, <c@y.example>" in head
    assert b"From: <a@x.example>" in head and b"Date: " in head


def test_only_what_is_missing_is_added() -> None:
    content = prepared(b"from: Me <me@x.example>\r\nSubject: long\r\n\tDate: not a field\r\n\r\nTo: in the body\r\n")
    head = content.partition(b"\r\n\r\n")[0]
    assert b"From: <a@x.example>" not in head and head.count(b"\r\nDate: ") + head.startswith(b"Date: ") == 1
    assert b"To: <b@y.example>" in head and content.endswith(b"\r\n\r\nTo: in the body\r\n")


@pytest.mark.parametrize("text", [b"", b"x", b"\nx", b"a\rb\nc\r\nd", b"Subject: x", b"Subject: x\n\n"])
def test_every_line_ends_in_crlf_and_a_header_is_there(text: bytes) -> None:
    content = prepared(text)
    assert content.endswith(b"\r\n") and b"\r\n\r\n" in content + b"\r\n"
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


def test_null_sender_gets_no_from() -> None:
    assert b"From:" not in prepared(b"x", sender="")


@pytest.mark.parametrize("address", ["a", "a@b\r\nDATA", "<a@b>", "a b@c"])
def test_addresses_that_could_break_out(address: str) -> None:
    with pytest.raises(MisuseError):
        Submission("a@b", (address,), b"")
    with pytest.raises(MisuseError):
        Submission(address, ("a@b",), b"")
